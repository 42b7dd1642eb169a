import type { Cost } from "../decision/facts.ts";
import type { LeaseSettlement } from "./account-book.ts";
import type { Level } from "./ladder.ts";

/** The coordinator's ledger as a node's actors see it. Rejects only for bugs of ours. */
export type LedgerPort = {
  /**
   * Borrows at least `need` of an account, `want` if it can be had. One call an account at a time.
   *
   * `exhausted` is the ledger's word that it does not fit; `unavailable` means that nobody answered.
   * A question that nobody answered may have been granted all the same: the next call repeats it
   * first, under its own id, and a lease that it finds is the answer.
   */
  lease(account: string, need: Cost, want: Cost): Promise<LeaseAnswer>;
  /** Repeats the question that nobody answered; undefined when every question was answered. */
  again(account: string): Promise<LeaseAnswer | undefined>;
  /** False: not known to have arrived; it is sent again. Sending it twice does nothing. */
  settle(settlement: LeaseSettlement): Promise<boolean>;
  /** Reports this node's own view of an agent. False: it is not known to have been heard. */
  standing(report: StandingReport): Promise<boolean>;
};

/** The tightest limit of those that a need did not fit. */
export type Shortfall = {
  /** As the ledger names it: the agent's, its contract's, its team's, or the mesh's overrun. */
  readonly account: string;
  /** `total`, `month:2026-11`, `day:2026-11-22` or `hour:2026-11-22T09`. */
  readonly window: string;
  /** Ms since the Unix epoch; undefined: it does not end. */
  readonly endsAtMs: number | undefined;
};

export type StandingReport = {
  readonly agentId: string;
  /** Where its offences on this node alone put it. */
  readonly standing: Level;
  /** Where it stands, all things considered: for people who look at it. */
  readonly standsAt: Level;
  readonly cause: string;
  /** Thousandths. */
  readonly scoreMilli: number;
  /** Policy names the cause for an automatic kill. */
  readonly askKill: boolean;
};

export type LeaseAnswer =
  | {
      readonly outcome: "granted";
      readonly leaseId: string;
      readonly epoch: number;
      readonly amount: Cost;
      /** Counted from before the request was sent, milliseconds. */
      readonly ttlMs: number;
      /** 1 in units that have no limit, 0 in the others. Undefined: granted some time ago. */
      readonly unlimited: Cost | undefined;
    }
  /** It does not fit; `available` would have. A coordinator of an earlier version names no limit. */
  | {
      readonly outcome: "exhausted";
      readonly available: Cost;
      readonly shortfall: Shortfall | undefined;
    }
  | { readonly outcome: "unavailable" };
