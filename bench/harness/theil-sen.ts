import { median } from "./paired.ts";

export type TimedValue = { readonly atS: number; readonly value: number };

export type Trend = {
  /** The middle of the slopes between any two samples, per second. */
  readonly slope: number;
  /** The true slope lies between these with a confidence of 95 %. */
  readonly low: number;
  readonly high: number;
};

/** Two-sided 95 % of the normal distribution. */
const Z = 1.96;
const SAMPLES_MIN = 8;

/**
 * Theil and Sen's slope with Sen's confidence interval: up to a quarter of the samples may be anything,
 * such as a collector that has just run or a machine that was busy, without moving it.
 *
 * @throws RangeError Fewer than eight samples, or two of one moment.
 * @see https://doi.org/10.1080/01621459.1968.10480934
 */
export function theilSen(samples: readonly TimedValue[]): Trend {
  const n = samples.length;
  if (n < SAMPLES_MIN) throw new RangeError(`${n} samples are no trend`);
  const slopes: number[] = [];
  for (const [i, one] of samples.entries()) {
    for (const other of samples.slice(i + 1)) {
      const seconds = other.atS - one.atS;
      if (!(seconds > 0)) throw new RangeError("samples are in the order of time");
      slopes.push((other.value - one.value) / seconds);
    }
  }
  slopes.sort((left, right) => left - right);
  // The variance of Kendall's score: how many pairs may rise by chance where nothing does.
  const spread = Z * Math.sqrt((n * (n - 1) * (2 * n + 5)) / 18);
  const last = slopes.length - 1;
  const rank = (of: number) => slopes[Math.min(last, Math.max(0, Math.round(of)))] as number;
  return {
    slope: median(slopes),
    low: rank((slopes.length - spread) / 2),
    high: rank((slopes.length + spread) / 2),
  };
}
