import assert from "node:assert/strict";
import {
  eachMetric,
  NO_PARTS,
  RATE_WHOLE,
  type RateLags,
  type RateParts,
} from "../../mesh/rate-share.ts";
import { SHARE_INT, SHARE_LONG } from "./layout.ts";
import { isRetiredSince, type RowRef, shareInt, shareLong } from "./rows.ts";
import type { Table } from "./table.ts";

// What was lent to a row of the rates that policy gives its agent, by metric. The control thread writes it
// under its pin; requests scale their charges by it. A share of one half has half of the burst and refills
// half as fast, so how long a bucket takes to fill up does not depend on it.

const NS_PER_US = 1_000n;
const SHARES = [SHARE_INT.requests, SHARE_INT.tokens, SHARE_INT.usd] as const;
const USED = [SHARE_INT.usedRequests, SHARE_INT.usedTokens, SHARE_INT.usedUsd] as const;
const BUCKETS = [SHARE_LONG.bucketRequests, SHARE_LONG.bucketTokens, SHARE_LONG.bucketUsd] as const;

/** Parts of the whole; 0 where nothing was lent, or it has ended by `nowNs`. */
export function rateSharesOf(table: Table, row: number, nowNs: bigint): RateParts {
  const until = Atomics.load(table.longs, shareLong(table, row) + SHARE_LONG.until);
  if (nowNs >= until) return NO_PARTS;
  const first = shareInt(table, row);
  const { ints } = table;
  // Each request asks for them three times.
  return [
    Atomics.load(ints, first + SHARES[0]),
    Atomics.load(ints, first + SHARES[1]),
    Atomics.load(ints, first + SHARES[2]),
  ];
}

/** How far the row's lent buckets are from full, microseconds. */
export function rateLagsOf(table: Table, row: number, nowNs: bigint): RateLags {
  const first = shareLong(table, row);
  return eachMetric((at) => {
    const aheadNs = Atomics.load(table.longs, first + BUCKETS[at]) - nowNs;
    return aheadNs <= 0n ? 0 : Number((aheadNs + NS_PER_US - 1n) / NS_PER_US);
  });
}

/**
 * The same of a row that was given up, as long as it is nobody else's. Whoever clears it at this moment
 * makes it look fuller than it was.
 */
export function retiredRateLags(table: Table, ref: RowRef, nowNs: bigint): RateLags | undefined {
  if (!isRetiredSince(table, ref)) return undefined;
  const lags = rateLagsOf(table, ref.row, nowNs);
  return isRetiredSince(table, ref) ? lags : undefined;
}

/** What was lent, and what the row had of it before. */
export type LentRate = {
  readonly shares: RateParts;
  readonly untilNs: bigint;
  /** Of `shares`, what the row's buckets count already. */
  readonly before: RateParts;
  /** How full the rest is, microseconds. */
  readonly addedLags: RateLags;
};

/**
 * Puts shares in force. What was added is counted in before the larger share is: a request in between
 * finds less in its bucket than there is, never more.
 */
export function setRateShares(table: Table, row: number, lent: LentRate, nowNs: bigint): void {
  const { shares, untilNs, before, addedLags } = lent;
  const buckets = shareLong(table, row);
  const ints = shareInt(table, row);
  for (const [at, share] of shares.entries()) {
    assert(share >= 0 && share <= RATE_WHOLE, `a share of ${share}`);
    const had = before[at] ?? 0;
    if (share > had) {
      const added = { before: had, added: share - had, addedUs: addedLags[at] ?? 0 };
      addLag(table, buckets + (BUCKETS[at] ?? 0), added, nowNs);
    }
    Atomics.store(table.ints, ints + (SHARES[at] ?? 0), share);
  }
  Atomics.store(table.longs, buckets + SHARE_LONG.until, untilNs);
}

type Added = { readonly before: number; readonly added: number; readonly addedUs: number };

function addLag({ longs }: Table, cell: number, of: Added, nowNs: bigint): void {
  const { before, added, addedUs } = of;
  for (;;) {
    const arrivalNs = Atomics.load(longs, cell);
    const ownNs = arrivalNs > nowNs ? arrivalNs - nowNs : 0n;
    const share = BigInt(before + added);
    const sum = ownNs * BigInt(before) + BigInt(addedUs) * NS_PER_US * BigInt(added);
    const next = nowNs + (sum + share - 1n) / share;
    if (Atomics.compareExchange(longs, cell, arrivalNs, next) === arrivalNs) return;
  }
}

/** What a request took of the whole rates; microseconds that they take to give it back. */
export function noteRateUse(table: Table, row: number, us: RateLags): void {
  const first = shareInt(table, row);
  for (const [at, one] of us.entries()) {
    if (one !== 0) Atomics.add(table.ints, first + (USED[at] ?? 0), Math.round(one) | 0);
  }
}

/** A request found too little in a lent bucket, or more than it was lent was needed. */
export function noteRateLimited(table: Table, row: number): void {
  Atomics.add(table.ints, shareInt(table, row) + SHARE_INT.limited, 1);
}

/** Counts since the row was allotted, running over at 2^32. */
export type RateUse = { readonly usedUs: RateLags; readonly limited: number };

export function rateUseOf(table: Table, row: number): RateUse {
  const first = shareInt(table, row);
  return {
    usedUs: eachMetric((at) => Atomics.load(table.ints, first + USED[at])),
    limited: Atomics.load(table.ints, first + SHARE_INT.limited),
  };
}
