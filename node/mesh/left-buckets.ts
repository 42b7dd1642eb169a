import type { Rate } from "../../authority/rate.ts";
import type { BucketArrivals } from "../table/bucket-arrivals.ts";

/** Contracts of which it is remembered at once what their buckets hold. */
export const LEFT_BUCKETS_MAX = 8_192;

/** What the buckets of a row held when it was given up, and the rate that they were filled by. */
export type LeftBucket = { readonly arrivals: BucketArrivals; readonly rate: Rate };

/**
 * What root contracts have left in their buckets while no row serves them. A root begins with full ones; one that
 * has spent its burst, falls asleep and comes back must not have it again.
 */
export class LeftBuckets {
  readonly #left = new Map<string, LeftBucket>();
  /** Until then buckets that were forgotten may not have been full, monotonic ns. */
  #forgottenUntilNs = 0n;

  keep(contractId: string, left: LeftBucket): void {
    this.#left.delete(contractId);
    for (const [oldest, { arrivals }] of this.#left) {
      if (this.#left.size < LEFT_BUCKETS_MAX) break;
      this.#left.delete(oldest);
      for (const ns of arrivals) if (ns > this.#forgottenUntilNs) this.#forgottenUntilNs = ns;
    }
    this.#left.set(contractId, left);
  }

  /** What it begins with. `empty`: it may be one of those that had to be forgotten. */
  take(contractId: string, nowNs: bigint): LeftBucket | "full" | "empty" {
    const left = this.#left.get(contractId);
    this.#left.delete(contractId);
    return left ?? (nowNs < this.#forgottenUntilNs ? "empty" : "full");
  }
}
