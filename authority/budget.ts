import type { Dimension } from "./dimension.ts";

export const BUDGET_UNITS = ["calls", "tok", "usd_u"] as const;
export type BudgetUnit = (typeof BUDGET_UNITS)[number];

/**
 * Calls, tokens and micro-dollars that may be spent in all. Nothing of each is bottom.
 *
 * The number in a contract bounds what may be asked for. What is there to be spent is the ledger's to
 * say: no signature can keep two copies of one contract from spending twice.
 */
export type Budget = { readonly [U in BudgetUnit]: number };

export const budget: Dimension<Budget> = {
  normal: ({ calls, tok, usd_u }) => ({ calls, tok, usd_u }),
  leq: (child, parent) => BUDGET_UNITS.every((unit) => child[unit] <= parent[unit]),
  meet: (one, other) => ({
    calls: Math.min(one.calls, other.calls),
    tok: Math.min(one.tok, other.tok),
    usd_u: Math.min(one.usd_u, other.usd_u),
  }),
};
