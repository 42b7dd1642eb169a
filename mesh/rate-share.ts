/** Parts of the whole of a rate. */
export const RATE_WHOLE = 65_536;

/** The buckets of a rate, in the order in which lags are told. */
export const RATE_METRICS = ["requests", "tokens", "usd_micros"] as const;

/**
 * How far buckets are from full, by metric: the time that they take to fill up. It is the same for
 * every share of a rate, since a share has its part of the burst and refills at its part of the rate.
 */
export type RateLags = readonly [requests: number, tokens: number, usdMicros: number];

export const FULL_BUCKETS: RateLags = [0, 0, 0];

/** The lags that parts of one rate have together: what is in them adds up, and is rounded down. */
export function mergeLags(
  one: { readonly share: number; readonly lags: RateLags },
  other: { readonly share: number; readonly lags: RateLags },
): RateLags {
  const share = one.share + other.share;
  if (share === 0) return FULL_BUCKETS;
  const merged = (at: 0 | 1 | 2): number =>
    Math.ceil((one.share * one.lags[at] + other.share * other.lags[at]) / share);
  return [merged(0), merged(1), merged(2)];
}

/** The lags after a time in which nothing was taken, and any time before is negative. */
export function lagsAfter(lags: RateLags, passed: number): RateLags {
  const later = (lag: number): number => Math.max(0, Math.ceil(lag - passed));
  return [later(lags[0]), later(lags[1]), later(lags[2])];
}
