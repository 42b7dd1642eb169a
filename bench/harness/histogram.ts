import { build, type Histogram } from "hdr-histogram-js";
import type { Range } from "./paired.ts";

const NS_PER_MS = 1e6;

/** Times of one kind, with a precision of three digits from a microsecond to an hour. */
export class Times {
  readonly #histogram: Histogram = build({
    lowestDiscernibleValue: 1_000,
    highestTrackableValue: 3_600_000_000_000,
    numberOfSignificantValueDigits: 3,
  });

  add(ns: number | bigint): void {
    this.#histogram.recordValue(Math.max(1, Number(ns)));
  }

  get count(): number {
    return this.#histogram.totalCount;
  }

  /** @param percent 50 for the median. */
  percentileMs(percent: number): number {
    return this.#histogram.getValueAtPercentile(percent) / NS_PER_MS;
  }

  get range(): Range {
    return { least: this.#histogram.minNonZeroValue / NS_PER_MS, most: this.maxMs };
  }

  get maxMs(): number {
    return this.#histogram.maxValue / NS_PER_MS;
  }
}
