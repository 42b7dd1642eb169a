import type { RateMetric } from "../../policy/compiled-policy.ts";

/** A bucket charge: the cost of the request in the bucket's own metric. */
export type BucketCharge = {
  readonly metric: RateMetric;
  /** Of policy's rate, of which a part was lent to the row; else of the row's own, a contract's. */
  readonly lent?: true;
  readonly amount: bigint;
  /** Nanoseconds that one unit takes to come back, times 1000 so that fractions survive. */
  readonly unitPicos: bigint;
  /** What `amount` takes to come back, nanoseconds: worked out once, and the same when it is undone. */
  readonly stepNs: bigint;
  /** How far the theoretical arrival time may lie ahead, nanoseconds. */
  readonly toleranceNs: bigint;
};

/** A charge of `amount`, whose units take `unitPicos` each. */
export function bucketCharge(of: Omit<BucketCharge, "stepNs">): BucketCharge {
  const { metric, amount, unitPicos, toleranceNs, lent } = of;
  const stepNs = stepNsOf(amount, unitPicos);
  if (lent) return { metric, amount, unitPicos, stepNs, toleranceNs, lent };
  return { metric, amount, unitPicos, stepNs, toleranceNs };
}

/** Rounded up, so that rounding never lets more through; a refund rounds the same way. */
export function stepNsOf(amount: bigint, unitPicos: bigint): bigint {
  return (amount * unitPicos + 999n) / 1000n;
}
