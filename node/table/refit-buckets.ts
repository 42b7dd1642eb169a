import type { Bucket, Rate } from "../../authority/rate.ts";
import { arrivalWithin } from "./arrival.ts";
import { ROW_LONG } from "./layout.ts";
import { rowLong } from "./rows.ts";
import type { Table } from "./table.ts";

const NANOS = 1_000_000_000n;

/**
 * Fits a row's buckets to another rate: each holds what it held, as far as it can, and no more.
 *
 * A cell holds a time, the one at which the bucket is full. Read by a slower rate, that time would be worth fewer
 * requests than are owed, and whoever gives its refill away would have its burst once more; read by a faster
 * one, time that went by at the slower rate would count as if it had been the faster.
 *
 * A time is never set back: policy, which the rate is met with, may be slower than either.
 *
 * @param nowNs Monotonic clock.
 */
export function refitBuckets(
  table: Table,
  row: number,
  { before, after }: { readonly before: Rate; readonly after: Rate },
  nowNs: bigint,
): void {
  const first = rowLong(table, row);
  const cells = [
    [ROW_LONG.bucketRequests, before.req, after.req],
    [ROW_LONG.bucketTokens, before.tok, after.tok],
    [ROW_LONG.bucketUsd, before.usd_u, after.usd_u],
  ] as const;
  for (const [cell, was, is] of cells) {
    if (!isSame(was, is)) raise(table, first + cell, (ns) => fitted(ns - nowNs, was, is) + nowNs);
  }
}

function isSame(one: Bucket, other: Bucket): boolean {
  const isPaced = one.amount === other.amount && one.seconds === other.seconds;
  return isPaced && one.burst === other.burst;
}

/** How far ahead a bucket is full that held what it did when it was full that far ahead, nanoseconds. */
function fitted(aheadNs: bigint, was: Bucket, is: Bucket): bigint {
  // It serves nobody, so what it holds does not matter; and whoever has it back begins with nothing.
  if (is.amount === 0) return 0n;
  const missing = BigInt(is.burst) * NANOS - heldNanos(aheadNs, was);
  if (missing <= 0n) return 0n;
  const amount = BigInt(is.amount);
  return (missing * BigInt(is.seconds) + amount - 1n) / amount;
}

/** What it holds in billionths, so that being fitted often costs nobody a request. */
function heldNanos(aheadNs: bigint, { burst, amount, seconds }: Bucket): bigint {
  if (amount === 0) return 0n;
  const whole = BigInt(burst) * NANOS;
  if (aheadNs <= 0n) return whole;
  const per = BigInt(seconds);
  const held = whole - (aheadNs * BigInt(amount) + per - 1n) / per;
  return held > 0n ? held : 0n;
}

function raise({ longs }: Table, cell: number, to: (arrivalNs: bigint) => bigint): void {
  for (;;) {
    const before = Atomics.load(longs, cell);
    const after = arrivalWithin(to(before));
    if (after <= before) return;
    if (Atomics.compareExchange(longs, cell, before, after) === before) return;
  }
}
