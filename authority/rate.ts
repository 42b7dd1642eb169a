import type { Dimension } from "./dimension.ts";

/** A token bucket: `burst` at once, `amount` per `seconds` for ever. Integers >= 0, `seconds` >= 1. */
export type Bucket = {
  readonly burst: number;
  readonly amount: number;
  readonly seconds: number;
};

export const RATE_METRICS = ["req", "tok", "usd_u"] as const;
export type RateMetric = (typeof RATE_METRICS)[number];

/** One bucket for requests, tokens and micro-dollars each. An empty bucket is bottom. */
export type Rate = { readonly [M in RateMetric]: Bucket };

const EMPTY: Bucket = { burst: 0, amount: 0, seconds: 1 };

/**
 * Buckets, ordered by their arrival curves `burst + amount / seconds * t`: the lower one lets through
 * nothing that the other would not.
 *
 * Fractions are compared crosswise in BigInt, so neither division nor overflow can round a child up.
 * The meet takes the smaller burst and the slower refill. That is the greatest single bucket below
 * both, which may be tighter than asking the two one after the other, never wider.
 */
export const rate: Dimension<Rate> = {
  normal: (value) => eachMetric((metric) => normalBucket(value[metric])),
  leq: (child, parent) =>
    RATE_METRICS.every(
      (metric) =>
        child[metric].burst <= parent[metric].burst && isSlower(child[metric], parent[metric]),
    ),
  meet: (one, other) =>
    eachMetric((metric) => {
      const [a, b] = [one[metric], other[metric]];
      const { amount, seconds } = isSlower(a, b) ? a : b;
      // Both are normal, so their fractions are as short as they can be.
      const burst = Math.min(a.burst, b.burst);
      return burst === 0 ? EMPTY : { burst, amount, seconds };
    }),
};

/** True when the first refills at most as fast as the second. */
export function isSlower(one: Bucket, other: Bucket): boolean {
  return BigInt(one.amount) * BigInt(other.seconds) <= BigInt(other.amount) * BigInt(one.seconds);
}

function eachMetric(bucketOf: (metric: RateMetric) => Bucket): Rate {
  return { req: bucketOf("req"), tok: bucketOf("tok"), usd_u: bucketOf("usd_u") };
}

function normalBucket({ burst, amount, seconds }: Bucket): Bucket {
  // A bucket that can hold nothing serves nothing, however fast it is filled.
  if (burst === 0) return EMPTY;
  const divisor = commonDivisor(amount, seconds);
  return { burst, amount: amount / divisor, seconds: seconds / divisor };
}

function commonDivisor(one: number, other: number): number {
  return other === 0 ? one : commonDivisor(other, one % other);
}
