import type { CompiledPolicy } from "../../policy/compiled-policy.ts";
import type { Clock } from "../../ports/clock.ts";
import type { Store } from "../../ports/store.ts";
import type { LadderChange } from "./ladder.ts";
import type { LedgerPort } from "./ledger-port.ts";
import type { CrashProof, LogMark } from "./table-mark.ts";
import type { Till } from "./till.ts";

/** What the host of all actors works with. */
export type ActorHostDeps = {
  readonly store: Store;
  readonly ledger: LedgerPort;
  readonly clock: Clock;
  readonly policy: () => CompiledPolicy | undefined;
  /** Where an account's money lies while requests may spend it. */
  readonly tillOf: (account: string) => Till;
  /** Where the loops' logs end now; absent: no log can prove anything of a crash. */
  readonly logMark?: (() => LogMark) | undefined;
  /** What the log says of the run before, where it is whole. */
  readonly crashProof?: CrashProof | undefined;
  /** Settlements that brought money back to the ledger, counted since the start. */
  readonly onReturned: (count: number) => void;
  readonly onStanding: (agentId: string, change: LadderChange, scoreMilli: number) => void;
  readonly onFault: (error: unknown) => void;
};
