import assert from "node:assert/strict";
import type { RateMetric } from "../../policy/compiled-policy.ts";
import type { BucketCharge } from "../decision/bucket-charge.ts";
import type { Cost } from "../decision/facts.ts";
import type { Charges } from "../decision/verdict.ts";
import { ARRIVAL_NS_MAX } from "./arrival.ts";
import { ROW_LONG, SHARE_LONG } from "./layout.ts";
import { noteRateLimited } from "./rate-share.ts";
import { rowLong, shareLong } from "./rows.ts";
import { UNIT, type UnitSet, unlimitedUnits } from "./standing.ts";
import type { Table } from "./table.ts";

// What a request may spend is taken before it goes upstream and given back when it has ended.
//
// M1. A balance is never below zero: it is lowered by compare-exchange only, and only to zero or more.
// M2. Lent = balance + held + spent, for each account, whenever no call is under way.
// M3. A `reserve` that does not succeed leaves every cell as if it had not been called.
// M4. A bucket's theoretical arrival time is never raised beyond `now + tolerance`, nor beyond what a cell holds.

/** Which account does not cover its charge. Not a refusal yet: more may be had by asking. */
export type Shortage = "usd" | "tokens" | "calls" | "overrun";

export type Reservation =
  /** Done. `taken` is what was charged: the cost, but zero in units that the row has no limit in. */
  { readonly taken: Cost } | { readonly short: Shortage } | Limited;

/** A bucket that has run dry. `asked` would pass in `retryAfterMs`; `fits` would have passed now. */
export type Limited = {
  readonly limited: RateMetric;
  readonly retryAfterMs: number;
  readonly asked: bigint;
  readonly fits: bigint;
  /** It is a bucket of what was lent to the row, of which it may be lent more. */
  readonly lent?: true;
};

/**
 * Takes all charges from the row's buckets and accounts and the node's overrun account, or nothing.
 *
 * Cells are first looked at and then taken in ascending index; a cell that has meanwhile run short
 * makes those before it be given back in reverse. The look ahead keeps a request that cannot succeed
 * from taking, for some nanoseconds, what another could use.
 *
 * The caller keeps `taken` for `settle` or `release`: whether a unit has a limit may change while the
 * request runs, and then only what was taken may come back.
 *
 * @param row Pinned by the caller.
 * @param nowNs Monotonic clock.
 */
export function reserve(table: Table, row: number, charges: Charges, nowNs: bigint): Reservation {
  const first = rowLong(table, row);
  const buckets = inOrder(charges.buckets);
  const taken = withoutUnits(charges.cost, unlimitedUnits(table, row));
  const refusal =
    emptyBucket(table, row, buckets, nowNs) ??
    shortAccount(table, first, taken, charges.overrunMicros);
  if (refusal) return refusal;
  const { longs } = table;
  const share = shareLong(table, row);
  for (let i = 0; i < buckets.length; i++) {
    const charge = buckets[i] as BucketCharge;
    const cell = bucketCell(share, first, charge);
    const seen = SEEN[i] as bigint;
    // As it was a moment ago, nearly always: what was worked out then need not be worked out again.
    if (Atomics.compareExchange(longs, cell, seen, NEXT[i] as bigint) === seen) continue;
    const waitNs = takeBucket(table, cell, charge, nowNs);
    if (waitNs === 0n) continue;
    refundFirst(table, row, buckets, i);
    return limitedFor(table, row, charge, waitNs);
  }
  const short = takeAccounts(table, first, taken, charges.overrunMicros);
  if (!short) return { taken };
  refundFirst(table, row, buckets, buckets.length);
  return { short };
}

/** What the buckets held in the look ahead of this `reserve`, and are to hold after it: it is one turn's. */
const SEEN: bigint[] = [];
const NEXT: bigint[] = [];

/** Undoes a `reserve` whose request never went upstream. */
export function release(
  table: Table,
  row: number,
  reserved: { readonly taken: Cost; readonly charges: Charges },
): void {
  const { charges, taken } = reserved;
  const first = rowLong(table, row);
  add(table, table.layout.overrunAt, charges.overrunMicros);
  add(table, first + ROW_LONG.calls, taken.calls);
  add(table, first + ROW_LONG.tokens, taken.tokens);
  add(table, first + ROW_LONG.usd, taken.usdMicros);
  refundBuckets(table, row, charges.buckets);
}

/**
 * Gives back what a request charged to its buckets and did not use; `amount` is the unused part.
 *
 * Over any time that starts with a full bucket and no open holds, what was charged and kept stays
 * within `burst + rate * time`. A refund of an old charge may let one later burst be longer by it.
 */
export function refundBuckets(table: Table, row: number, buckets: readonly BucketCharge[]): void {
  const ordered = inOrder(buckets);
  refundFirst(table, row, ordered, ordered.length);
}

export type Settlement = {
  /** `taken` of the reservation. */
  readonly held: Cost;
  readonly spent: Cost;
  readonly overrunHeldMicros: bigint;
  /** What of the money spent is charged to the overrun account instead of the row. */
  readonly overrunSpentMicros: bigint;
};

/** What was spent and could be charged nowhere: all zero unless the overrun bound is broken. */
export type Uncovered = Cost & { readonly overrunMicros: bigint };

/**
 * Ends a hold: returns what was held and not spent.
 *
 * Spending above the hold is taken from the overrun account as far as the caller says so, the rest from
 * the row's own balance down to zero (M1), and what is left is returned: it must be recorded as debt,
 * never dropped. A unit without a hold and without a limit is not charged.
 */
export function settle(table: Table, row: number, settlement: Settlement): Uncovered {
  const { held, spent, overrunHeldMicros, overrunSpentMicros } = settlement;
  const first = rowLong(table, row);
  const unlimited = unlimitedUnits(table, row);
  const excess = spent.usdMicros - held.usdMicros;
  const ownSpent =
    excess > 0n ? spent.usdMicros - min(excess, overrunSpentMicros) : spent.usdMicros;
  return {
    usdMicros: giveBack(
      table,
      first + ROW_LONG.usd,
      held.usdMicros,
      ownSpent,
      unlimited & UNIT.usd,
    ),
    tokens: giveBack(
      table,
      first + ROW_LONG.tokens,
      held.tokens,
      spent.tokens,
      unlimited & UNIT.tokens,
    ),
    calls: giveBack(table, first + ROW_LONG.calls, held.calls, spent.calls, unlimited & UNIT.calls),
    overrunMicros: giveBack(
      table,
      table.layout.overrunAt,
      overrunHeldMicros,
      overrunSpentMicros,
      0,
    ),
  };
}

/** Adds `held - spent`, or takes what is spent above the hold; returns what could not be taken. */
function giveBack(
  table: Table,
  cell: number,
  held: bigint,
  spent: bigint,
  unlimited: UnitSet,
): bigint {
  assert(held >= 0n && spent >= 0n, "a settlement's amounts are not negative");
  if (held >= spent) {
    add(table, cell, held - spent);
    return 0n;
  }
  return unlimited ? 0n : spent - held - takeUpTo(table, cell, spent - held);
}

function takeUpTo({ longs }: Table, cell: number, wanted: bigint): bigint {
  for (;;) {
    const balance = Atomics.load(longs, cell);
    const part = min(balance, wanted);
    if (part === 0n) return 0n;
    if (Atomics.compareExchange(longs, cell, balance, balance - part) === balance) return part;
  }
}

function emptyBucket(
  table: Table,
  row: number,
  buckets: readonly BucketCharge[],
  nowNs: bigint,
): Limited | undefined {
  const { longs } = table;
  const share = shareLong(table, row);
  const first = rowLong(table, row);
  for (let i = 0; i < buckets.length; i++) {
    const charge = buckets[i] as BucketCharge;
    const cell = bucketCell(share, first, charge);
    let arrivalNs = longs[cell] as bigint;
    let nextNs = (arrivalNs > nowNs ? arrivalNs : nowNs) + charge.stepNs;
    if (waitUntil(nextNs, charge, nowNs) > 0n) {
      arrivalNs = Atomics.load(longs, cell);
      nextNs = (arrivalNs > nowNs ? arrivalNs : nowNs) + charge.stepNs;
      const waitNs = waitUntil(nextNs, charge, nowNs);
      if (waitNs > 0n) return limitedFor(table, row, charge, waitNs);
    }
    SEEN[i] = arrivalNs;
    NEXT[i] = nextNs;
  }
  return undefined;
}

function shortAccount(
  { longs, layout }: Table,
  first: number,
  { usdMicros, tokens, calls }: Cost,
  overrunMicros: bigint,
): Reservation | undefined {
  if (isBelow(longs, first + ROW_LONG.usd, usdMicros)) return { short: "usd" };
  if (isBelow(longs, first + ROW_LONG.tokens, tokens)) return { short: "tokens" };
  if (isBelow(longs, first + ROW_LONG.calls, calls)) return { short: "calls" };
  if (isBelow(longs, layout.overrunAt, overrunMicros)) return { short: "overrun" };
  return undefined;
}

function takeAccounts(
  table: Table,
  first: number,
  cost: Cost,
  overrunMicros: bigint,
): Shortage | undefined {
  if (!take(table, first + ROW_LONG.usd, cost.usdMicros)) return "usd";
  if (!take(table, first + ROW_LONG.tokens, cost.tokens)) {
    add(table, first + ROW_LONG.usd, cost.usdMicros);
    return "tokens";
  }
  if (!take(table, first + ROW_LONG.calls, cost.calls)) {
    add(table, first + ROW_LONG.tokens, cost.tokens);
    add(table, first + ROW_LONG.usd, cost.usdMicros);
    return "calls";
  }
  if (!take(table, table.layout.overrunAt, overrunMicros)) {
    add(table, first + ROW_LONG.calls, cost.calls);
    add(table, first + ROW_LONG.tokens, cost.tokens);
    add(table, first + ROW_LONG.usd, cost.usdMicros);
    return "overrun";
  }
  return undefined;
}

function take({ longs }: Table, cell: number, amount: bigint): boolean {
  if (amount === 0n) return true;
  assert(amount > 0n, "a charge is not negative");
  let balance = longs[cell] as bigint;
  if (balance < amount) balance = Atomics.load(longs, cell);
  while (balance >= amount) {
    const found = Atomics.compareExchange(longs, cell, balance, balance - amount);
    if (found === balance) return true;
    balance = found;
  }
  return false;
}

function isBelow(longs: Table["longs"], cell: number, amount: bigint): boolean {
  return (longs[cell] as bigint) < amount && Atomics.load(longs, cell) < amount;
}

function add({ longs }: Table, cell: number, amount: bigint): void {
  assert(amount >= 0n, "what is given back is not negative");
  if (amount > 0n) Atomics.add(longs, cell, amount);
}

/** 0: taken. Otherwise nanoseconds until the same charge would pass. */
function takeBucket({ longs }: Table, cell: number, charge: BucketCharge, nowNs: bigint): bigint {
  for (;;) {
    const arrivalNs = Atomics.load(longs, cell);
    const nextNs = (arrivalNs > nowNs ? arrivalNs : nowNs) + charge.stepNs;
    const waitNs = waitUntil(nextNs, charge, nowNs);
    if (waitNs > 0n) return waitNs;
    if (Atomics.compareExchange(longs, cell, arrivalNs, nextNs) === arrivalNs) return 0n;
  }
}

/**
 * The generic cell rate algorithm: a charge conforms while the arrival time it leads to lies at most
 * `tolerance` ahead.
 *
 * @see https://www.itu.int/rec/T-REC-I.371 (annex A, virtual scheduling)
 */
function waitUntil(nextNs: bigint, { toleranceNs }: BucketCharge, nowNs: bigint): bigint {
  // M4: a cell that ran over would be a full bucket. What takes a century to come back is not lent.
  if (nextNs > ARRIVAL_NS_MAX) return nextNs - nowNs;
  const ahead = nextNs - nowNs;
  return ahead > toleranceNs ? ahead - toleranceNs : 0n;
}

function refundFirst(
  table: Table,
  row: number,
  buckets: readonly BucketCharge[],
  count: number,
): void {
  const [share, first] = [shareLong(table, row), rowLong(table, row)];
  for (let i = count - 1; i >= 0; i--) {
    const charge = buckets[i] as BucketCharge;
    Atomics.sub(table.longs, bucketCell(share, first, charge), charge.stepNs);
  }
}

/** @param share First of the row's cells for what is lent. @param first The same of its own. */
function bucketCell(share: number, first: number, { lent, metric }: BucketCharge): number {
  return lent ? share + lentCell(metric) : first + ownCell(metric);
}

function lentCell(metric: RateMetric): number {
  if (metric === "requests") return SHARE_LONG.bucketRequests;
  return metric === "tokens" ? SHARE_LONG.bucketTokens : SHARE_LONG.bucketUsd;
}

function ownCell(metric: RateMetric): number {
  if (metric === "requests") return ROW_LONG.bucketRequests;
  return metric === "tokens" ? ROW_LONG.bucketTokens : ROW_LONG.bucketUsd;
}

/** By cell, what is lent before a contract's own; charges usually are in order and are returned as they are. */
function inOrder(buckets: readonly BucketCharge[]): readonly BucketCharge[] {
  for (let i = 1; i < buckets.length; i++) {
    const [before, here] = [buckets[i - 1] as BucketCharge, buckets[i] as BucketCharge];
    assert(placeOf(before) !== placeOf(here), "two charges on one bucket");
    if (placeOf(before) > placeOf(here)) return buckets.toSorted((a, b) => placeOf(a) - placeOf(b));
  }
  return buckets;
}

function placeOf({ lent, metric }: BucketCharge): number {
  return lent ? lentCell(metric) : OWN_AFTER_LENT + ownCell(metric);
}

const OWN_AFTER_LENT = 8;

/** What has to be waited for is the part of the charge that did not fit; a part of a unit does not. */
function limitedFor(table: Table, row: number, charge: BucketCharge, waitNs: bigint): Limited {
  const { metric, amount, unitPicos } = charge;
  if (charge.lent) noteRateLimited(table, row);
  const over = unitPicos === 0n ? amount : (waitNs * 1000n + unitPicos - 1n) / unitPicos;
  return {
    limited: metric,
    retryAfterMs: Number((waitNs + 999_999n) / 1_000_000n),
    asked: amount,
    fits: max(0n, amount - over),
    ...(charge.lent && { lent: true }),
  };
}

function withoutUnits(cost: Cost, units: UnitSet): Cost {
  if (units === 0) return cost;
  return {
    usdMicros: units & UNIT.usd ? 0n : cost.usdMicros,
    tokens: units & UNIT.tokens ? 0n : cost.tokens,
    calls: units & UNIT.calls ? 0n : cost.calls,
  };
}

function min(a: bigint, b: bigint): bigint {
  return a < b ? a : b;
}

function max(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}
