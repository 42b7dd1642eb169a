import type { RateAnswer, RateQuestion, RateRow } from "../mesh/rate-share.ts";
import type { AgentRate } from "./policy-rates.ts";

// What is said of a row's shares of rates, and what is answered.

export type RateShareSettings = {
  /** How long a share lasts unless it is asked for again. */
  readonly ttlMs: number;
  /** How often nodes ask again. */
  readonly renewMs: number;
  /** How much slower a node's clock may run, thousandths. */
  readonly driftMilli: number;
  readonly guardMs: number;
  /** Rates that are known at once, and rows; beyond it nothing is lent to others. */
  readonly poolsMax: number;
  readonly rowsMax: number;
  /** Rows of one node, so that none keeps the others from theirs. */
  readonly rowsOfNodeMax: number;
};

export type RateAsk = RateQuestion & { readonly node: string; readonly bootId: string };

export type RateEnv = {
  /** Monotonic clock, ms. */
  readonly nowMs: number;
  readonly rate: AgentRate;
  /** No other node could have a share of anything. */
  readonly isAlone: boolean;
};

export type RateLoan = RateAnswer & {
  /** Rows that have more of what this one lacks than is left to them: their nodes are to ask now. */
  readonly recalls: readonly LentRow[];
};

export type LentRow = RateRow & { readonly node: string };
