import assert from "node:assert/strict";
import { RATE_WHOLE, type RateLags } from "../../mesh/rate-share.ts";
import { ROW_INT, ROW_LONG } from "./layout.ts";
import { isRetiredSince, type RowRef, rowInt, rowLong } from "./rows.ts";
import type { Table } from "./table.ts";

// The part of its rate that an agent has on this node. The control thread writes it under its pin;
// requests of policy alone scale their charges by it. A share of one half has half of the burst and
// refills half as fast, so how long a bucket takes to fill up does not depend on it.

const NS_PER_US = 1_000n;
const BUCKETS = [ROW_LONG.bucketRequests, ROW_LONG.bucketTokens, ROW_LONG.bucketUsd] as const;

/** Parts of the whole; 0 when nothing was lent, or it has ended by `nowNs`. */
export function rateShareOf(table: Table, row: number, nowNs: bigint): number {
  const until = Atomics.load(table.longs, rowLong(table, row) + ROW_LONG.rateUntil);
  if (nowNs >= until) return 0;
  return Atomics.load(table.ints, rowInt(table, row) + ROW_INT.rateShare);
}

/** How far the row's buckets are from full, microseconds. */
export function rateLagsOf(table: Table, row: number, nowNs: bigint): RateLags {
  const first = rowLong(table, row);
  const lag = (cell: number): number => {
    const aheadNs = Atomics.load(table.longs, first + cell) - nowNs;
    return aheadNs <= 0n ? 0 : Number((aheadNs + NS_PER_US - 1n) / NS_PER_US);
  };
  return [lag(BUCKETS[0]), lag(BUCKETS[1]), lag(BUCKETS[2])];
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
  readonly share: number;
  readonly untilNs: bigint;
  /** Of `share`, what the row's buckets count already. */
  readonly before: number;
  /** How full the rest is, microseconds. */
  readonly addedLags: RateLags;
};

/**
 * Puts a share in force. What was added is counted in before the larger share is: a request in between
 * finds less in its bucket than there is, never more.
 */
export function setRateShare(table: Table, row: number, lent: LentRate, nowNs: bigint): void {
  const { share, untilNs, before, addedLags } = lent;
  assert(share >= 0 && share <= RATE_WHOLE, `a share of ${share}`);
  const added = share - before;
  const first = rowLong(table, row);
  if (added > 0) {
    for (const [at, cell] of BUCKETS.entries()) {
      addLag(table, first + cell, { before, added, addedUs: addedLags[at] ?? 0 }, nowNs);
    }
  }
  Atomics.store(table.ints, rowInt(table, row) + ROW_INT.rateShare, share);
  Atomics.store(table.longs, first + ROW_LONG.rateUntil, untilNs);
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
