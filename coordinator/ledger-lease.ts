import type { LedgerAmounts, LedgerUnit } from "./ledger-window.ts";

/** A part of an account's limits that one node may spend for a while. */
export type Lease = {
  readonly id: string;
  /** Fencing token of the coordinator's run that granted it. */
  readonly epoch: number;
  /** The account and those above it, as they were when it was granted. */
  readonly chain: readonly string[];
  readonly node: string;
  readonly bootId: string;
  readonly requestId: string;
  /** What it charges until it is final. Only ever falls, to what its node says it can still spend. */
  amount: LedgerAmounts;
  readonly unlimited: readonly LedgerUnit[];
  /** Milliseconds from the node's request to the end of its right to spend. */
  readonly ttlMs: number;
  /** The ledger's wall clock at the grant, ms since the Unix epoch: it says which windows pay. */
  readonly grantedAtMs: number;
  /** Reported so far; never falls. At most `amount`. */
  spent: LedgerAmounts;
  /**
   * `open`: the node may spend. `expired`: it no longer may, and what it did not report counts as
   * spent. `final`: the node said what it spent; the rest went back.
   */
  status: "open" | "expired" | "final";
  /** Monotonic ms of this process: the grant, or the start that found the lease in the store. */
  readonly knownSinceMs: number;
};

/** What identifies the request behind a lease, so that a repetition finds the same lease. */
export type LeaseRequest = Pick<Lease, "node" | "bootId" | "requestId">;

/** The same as one text. */
export function memoKey({ node, bootId, requestId }: LeaseRequest): string {
  return `${node}|${bootId}|${requestId}`;
}
