import type { LogPolicy } from "../../audit/log-policy.ts";
import { parseVkey, type VerifierKey } from "../../audit/signed-note.ts";
import { type CommandContext, CommandError } from "../command-context.ts";
import type { CheckpointFile } from "./log-place.ts";

/**
 * Every log that must exist as the coordinator knows them: keys, and what it cosigned last. The path of
 * a checkpoint is the log's origin.
 */
export async function knownLogs(
  context: CommandContext,
): Promise<{ readonly policy: LogPolicy; readonly checkpoints: readonly CheckpointFile[] }> {
  const answer = await context.coordinator().calls.listLogs({});
  const keyOf = (text: string): VerifierKey => {
    const key = parseVkey(text);
    if (!key.ok) throw new CommandError(`the coordinator's list: ${key.flaw}: ${text}`);
    return key.value;
  };
  const logs = answer.logs.map(({ vkey }) => keyOf(vkey));
  const checkpoints = answer.logs.flatMap(({ origin, checkpoint }) =>
    checkpoint === "" ? [] : [{ path: origin, bytes: Buffer.from(checkpoint, "utf8") }],
  );
  return {
    policy: { logs, witnesses: [keyOf(answer.witnessVkey)], quorum: undefined },
    checkpoints,
  };
}
