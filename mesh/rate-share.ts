/** Parts of the whole of a rate. */
export const RATE_WHOLE = 65_536;

/** The buckets of a rate, in the order in which all that is said of each is told. */
export const RATE_METRICS = ["requests", "tokens", "usd_micros"] as const;

/** One number for each bucket of a rate. */
export type PerMetric = readonly [requests: number, tokens: number, usdMicros: number];

/** What a node serves an agent in: under policy alone, "", or under one of its contracts. */
export type RateRow = {
  /** `agent/<t>/<a>` */
  readonly account: string;
  readonly contract: string;
};

/** Parts of `RATE_WHOLE`, by metric. A metric without a limit has the whole. */
export type RateParts = PerMetric;

/** What a node says of a row's rate, and what it may have of it. */
export type RateQuestion = RateRow & {
  readonly held: RateParts;
  /** The least that is of use: one request's worth. And what would be used if it were there. */
  readonly needs: RateParts;
  readonly wants: RateParts;
  readonly lags: RateLags;
  readonly release: boolean;
};

export type RateAnswer = {
  readonly shares: RateParts;
  readonly ttlMs: number;
  readonly addedLags: RateLags;
  /** Above 0: less than is needed or could be had is lent, and asking again makes sense after so long. */
  readonly retryMs: number;
};

/**
 * How far buckets are from full, by metric: the time that they take to fill up, microseconds. It is the
 * same for every share of a rate, since a share has its part of the burst and refills at its part of the rate.
 */
export type RateLags = PerMetric;

export const FULL_BUCKETS: RateLags = [0, 0, 0];
export const NO_PARTS: RateParts = [0, 0, 0];
export const WHOLE_PARTS: RateParts = [RATE_WHOLE, RATE_WHOLE, RATE_WHOLE];

/** The same of each metric. */
export function eachMetric(of: (at: 0 | 1 | 2) => number): PerMetric {
  return [of(0), of(1), of(2)];
}

/** The lags after a time in which nothing was taken, and any time before is negative. */
export function lagsAfter(lags: RateLags, passed: number): RateLags {
  return eachMetric((at) => Math.max(0, Math.ceil(lags[at] - passed)));
}
