import type { PriceEntry } from "../../policy/compiled-policy.ts";
import type { Cost } from "../decision/facts.ts";
import { certainTokens } from "./meter.ts";
import { type TokenUsage, usageCost } from "./token-prices.ts";

/** What was held for a request. */
export type Held = { readonly cost: Cost; readonly overrunMicros: bigint };

/** How a request's answer ended. */
export type Outcome =
  /** Nothing went upstream: the connection was never made or the request never written. */
  | { readonly kind: "not_sent" }
  /** A session that the provider refused to open: what is paid for is an open one. */
  | { readonly kind: "unopened" }
  /** The provider refused the request as it stood (HTTP 4xx) and so did no work for it. */
  | { readonly kind: "rejected" }
  /** The answer came to its own end. */
  | ({ readonly kind: "complete" } & Seen)
  /** Cut, broken off, given up, or HTTP 5xx: providers may charge for what nobody received. */
  | ({ readonly kind: "incomplete" } & Seen);

/** What passed of an answer. */
type Seen = {
  readonly usage: TokenUsage | undefined;
  /** Text of the answer, UTF-8 bytes: it bounds from below what was written. */
  readonly textBytes: number;
};

export type Settlement = {
  /** Charged to the request's account. Money is at most what was held; tokens are as reported. */
  readonly spent: Cost;
  /** Charged to the overrun account: the bill above the hold. */
  readonly overrunSpentMicros: bigint;
  /**
   * The bill over the hold, thousandths, rounded up, when that is more than the price entry allows
   * for: its distrust has to be raised to this.
   */
  readonly distrustMilli: number | undefined;
};

/**
 * What a request is charged.
 *
 * S1. Not sent: nothing. Not opened: the call. Rejected: the call and the fixed charge, and the hold otherwise returns.
 * S2. Complete and counted to its end by the provider: that count, and never less than the text that passed.
 * S3. Anything else is charged in full, or by the count so far where that is more.
 * S4. `spent.usdMicros + overrunSpentMicros` is the whole bill; the first never exceeds the hold.
 */
export function settle(held: Held, outcome: Outcome, price: PriceEntry): Settlement {
  if (outcome.kind === "not_sent") return { spent: NO_COST, ...NO_OVERRUN };
  if (outcome.kind === "unopened") {
    return { spent: { ...NO_COST, calls: held.cost.calls }, ...NO_OVERRUN };
  }
  if (outcome.kind === "rejected") {
    const usdMicros = BigInt(price.fixedMicros);
    return { spent: { usdMicros, tokens: 0n, calls: held.cost.calls }, ...NO_OVERRUN };
  }
  const { usage, textBytes } = outcome;
  // A count below its own text is no bill either: a budget must not last longer for it.
  const seen = usage && {
    ...usage,
    outputTokens: Math.max(usage.outputTokens, certainTokens(textBytes)),
  };
  const counted = plausible(held, seen && usageCost(seen, price));
  if (outcome.kind === "complete" && counted !== undefined) return charge(held, counted, price);
  return charge(held, larger(held.cost, counted ?? held.cost), price);
}

/**
 * A count so far above any bound is a provider's mistake, not a bill: charging it would empty the
 * overrun account of the whole mesh for one answer. It counts as no report, so the hold is charged.
 */
function plausible(held: Held, bill: Cost | undefined): Cost | undefined {
  if (bill === undefined) return undefined;
  return bill.tokens > held.cost.tokens * COUNT_OVER_BOUND_MAX ? undefined : bill;
}

/** Reported tokens above this many times the bound that was held are not believed. */
const COUNT_OVER_BOUND_MAX = 100n;

function charge(held: Held, bill: Cost, price: PriceEntry): Settlement {
  const limit = held.cost.usdMicros;
  if (bill.usdMicros <= limit) return { spent: bill, ...NO_OVERRUN };
  // Something was held, or the same prices could not have made a bill.
  const ratio = ceilDiv(bill.usdMicros * 1000n, max(limit, 1n));
  return {
    spent: { ...bill, usdMicros: limit },
    overrunSpentMicros: bill.usdMicros - limit,
    distrustMilli: ratio > BigInt(price.distrustMilli) ? Number(ratio) : undefined,
  };
}

const NO_COST: Cost = { usdMicros: 0n, tokens: 0n, calls: 0n };
const NO_OVERRUN = { overrunSpentMicros: 0n, distrustMilli: undefined } as const;

function larger(one: Cost, other: Cost): Cost {
  return {
    usdMicros: max(one.usdMicros, other.usdMicros),
    tokens: max(one.tokens, other.tokens),
    calls: max(one.calls, other.calls),
  };
}

function max(one: bigint, other: bigint): bigint {
  if (one > other) return one;
  return other;
}

function ceilDiv(dividend: bigint, divisor: bigint): bigint {
  return (dividend + divisor - 1n) / divisor;
}
