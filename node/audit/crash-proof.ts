import { errorMessage } from "../../ports/error-message.ts";
import type { CrashProof, LogMark } from "../actors/table-mark.ts";
import type { WalRecovery } from "./recover-wal.ts";
import { usedInWal } from "./used-since.ts";

export type CrashProofOptions = {
  readonly disk: Parameters<typeof usedInWal>[0];
  /** From where on the log has to say what was used, by account, of a run that has ended. */
  readonly moneyMarks: (run: string) => ReadonlyMap<string, LogMark["ends"]>;
  readonly onFault: (message: string) => void;
};

/**
 * What the WAL proves of the money that the last run left in the table; call it before anybody deletes of
 * that WAL.
 *
 * The kernel keeps what a process wrote for as long as it runs itself: only then nothing is missing. So
 * another boot, an unknown one, a torn frame and a damaged one, also where an earlier start has cut it away,
 * each prove nothing, and everything that was lent counts as spent (docs/adr/0036).
 */
export function crashProofIn(
  { disk, moneyMarks, onFault }: CrashProofOptions,
  walDir: string,
  { lastRun: run, sameKernelBoot, tornBytes, damagedBytes, wasCut }: WalRecovery,
): CrashProof | undefined {
  if (run === undefined || !sameKernelBoot) return undefined;
  if (tornBytes > 0 || damagedBytes > 0 || wasCut) return undefined;
  try {
    return { run, used: usedInWal(disk, walDir, { run, marks: moneyMarks(run) }) };
  } catch (error) {
    onFault(`what was spent before the crash is not proven: ${errorMessage(error)}`);
    return undefined;
  }
}
