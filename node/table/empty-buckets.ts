import type { Bucket, Rate } from "../../authority/rate.ts";
import { arrivalWithin } from "./arrival.ts";
import { ROW_LONG } from "./layout.ts";
import { rowLong } from "./rows.ts";
import type { Table } from "./table.ts";

const NS_PER_S = 1_000_000_000n;

/**
 * Empties the buckets of a row that nobody has used yet.
 *
 * What a delegator has in its bucket it keeps, so what it delegates begins with nothing and fills at
 * its own rate. Were it born full, delegating again and again would make a burst of each.
 *
 * @param nowNs Monotonic clock.
 */
export function emptyBuckets(table: Table, row: number, rate: Rate, nowNs: bigint): void {
  const first = rowLong(table, row);
  const cells = [
    [ROW_LONG.bucketRequests, rate.req],
    [ROW_LONG.bucketTokens, rate.tok],
    [ROW_LONG.bucketUsd, rate.usd_u],
  ] as const;
  for (const [cell, bucket] of cells) {
    Atomics.store(table.longs, first + cell, arrivalWithin(nowNs + fillNs(bucket)));
  }
}

/** How long an empty bucket takes to be full. One that is never filled serves nobody anyway. */
function fillNs({ burst, amount, seconds }: Bucket): bigint {
  if (amount === 0) return 0n;
  return (BigInt(burst) * BigInt(seconds) * NS_PER_S) / BigInt(amount);
}
