import { eachMetric, RATE_WHOLE, type RateParts } from "../mesh/rate-share.ts";
import { type BucketCharge, bucketCharge } from "./decision/bucket-charge.ts";
import type { Reserved } from "./decision/commit.ts";
import type { Facts } from "./decision/facts.ts";
import { METRIC_AT } from "./decision/stages/13-rate.ts";
import type { LoopContext } from "./loop-context.ts";
import { noteRateUse, rateSharesOf } from "./table/rate-share.ts";
import { refundBuckets, release } from "./table/reserve.ts";
import type { Table } from "./table/table.ts";

type In = Pick<LoopContext, "table" | "clock">;

/** Undoes the reservation of a request that has waited since, and of which nothing went upstream. */
export function releaseUnsent(
  loop: In,
  row: number,
  { facts, reserved }: { readonly facts: Facts; readonly reserved: Reserved },
): void {
  const { charges } = reserved;
  const buckets = unusedNow(loop, row, charges.buckets, facts.rateShares);
  release(loop.table, row, { ...reserved, charges: { ...charges, buckets } });
}

/** Gives back what a request charged to its buckets and did not use. */
export function refundUnused(
  loop: In,
  row: number,
  unused: readonly BucketCharge[],
  { rateShares }: Facts,
): void {
  refundBuckets(loop.table, row, unusedNow(loop, row, unused, rateShares));
}

function unusedNow(
  { table, clock }: In,
  row: number,
  unused: readonly BucketCharge[],
  before: RateParts | undefined,
): readonly BucketCharge[] {
  if (before === undefined) return unused;
  noteUse(table, row, unused, { shares: before, sign: -1 });
  return atShares(unused, before, rateSharesOf(table, row, clock.monoNs()));
}

/** What was taken, or with a negative sign given back, of what is lent: the agent's need of it is told by it. */
export function noteUse(
  table: Table,
  row: number,
  charges: readonly BucketCharge[],
  { shares, sign }: { readonly shares: RateParts; readonly sign: 1 | -1 },
): void {
  const us: [number, number, number] = [0, 0, 0];
  for (const { lent, metric, stepNs } of charges) {
    const at = METRIC_AT[metric];
    if (lent) us[at] = (sign * Number(stepNs) * shares[at]) / (RATE_WHOLE * NS_PER_US);
  }
  noteRateUse(
    table,
    row,
    eachMetric((at) => us[at]),
  );
}

const NS_PER_US = 1_000;

/**
 * Charges as they count by the shares that the row has now. A share that has grown since counts the same
 * amount as less time; giving back the time that was taken would give back more than that.
 */
function atShares(
  charges: readonly BucketCharge[],
  before: RateParts,
  now: RateParts,
): readonly BucketCharge[] {
  return charges.map((charge) => {
    const at = METRIC_AT[charge.metric];
    if (!charge.lent || now[at] <= before[at]) return charge;
    const unitPicos = (charge.unitPicos * BigInt(before[at])) / BigInt(now[at]);
    return bucketCharge({ ...charge, unitPicos });
  });
}
