import { type BucketCharge, bucketCharge } from "./decision/bucket-charge.ts";
import type { Reserved } from "./decision/commit.ts";
import type { Facts } from "./decision/facts.ts";
import type { LoopContext } from "./loop-context.ts";
import { rateShareOf } from "./table/rate-share.ts";
import { release } from "./table/reserve.ts";

/** Undoes the reservation of a request that has waited since, and of which nothing went upstream. */
export function releaseUnsent(
  { table, clock }: Pick<LoopContext, "table" | "clock">,
  row: number,
  { facts, reserved }: { readonly facts: Facts; readonly reserved: Reserved },
): void {
  const shareNow = rateShareOf(table, row, clock.monoNs());
  const buckets = atShare(reserved.charges.buckets, facts.rateShare, shareNow);
  release(table, row, { ...reserved, charges: { ...reserved.charges, buckets } });
}

/**
 * Charges as they count by the share that the row has now. A share that has grown since counts the same
 * amount as less time; giving back the time that was taken would give back more than that.
 */
export function atShare(
  charges: readonly BucketCharge[],
  before: number | undefined,
  now: number,
): readonly BucketCharge[] {
  if (before === undefined || now <= before) return charges;
  return charges.map((charge) => {
    const unitPicos = (charge.unitPicos * BigInt(before)) / BigInt(now);
    return bucketCharge({ ...charge, unitPicos });
  });
}
