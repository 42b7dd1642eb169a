/** Unknown keys one source may try at once, and how many more each second. */
export const LOOKUP_BURST = 100;
export const LOOKUPS_PER_SECOND = 20;
/** Sources that are told apart. Those beyond share one allowance until older ones have rested. */
export const LOOKUP_SOURCES_MAX = 10_000;

const PERIOD_NS = BigInt(1e9 / LOOKUPS_PER_SECOND);
const TOLERANCE_NS = PERIOD_NS * BigInt(LOOKUP_BURST);
/** Sources looked at for having rested, per lookup that meets a full map. */
const SWEEP_COUNT = 8;

/**
 * Bounds how often a source may be told that a key is not known.
 *
 * Whoever guesses keys gets few answers; whoever has a good one is never kept from it. The bucket is
 * the same cell rate algorithm as the table's.
 */
export class LookupLimit {
  /** Theoretical arrival time of each source's next lookup; the one untouched longest is first. */
  readonly #arrivals = new Map<string, bigint>();
  #othersNs = 0n;

  /** Takes one lookup from the source's allowance; false when there is none left. */
  admit(source: string, nowNs: bigint): boolean {
    const known = this.#arrivals.get(source);
    if (known === undefined && !this.#hasRoom(nowNs)) {
      const next = nextArrival(this.#othersNs, nowNs);
      if (next !== undefined) this.#othersNs = next;
      return next !== undefined;
    }
    const next = nextArrival(known ?? 0n, nowNs);
    if (next === undefined) return false;
    this.#arrivals.delete(source);
    this.#arrivals.set(source, next);
    return true;
  }

  get sourceCount(): number {
    return this.#arrivals.size;
  }

  #hasRoom(nowNs: bigint): boolean {
    if (this.#arrivals.size < LOOKUP_SOURCES_MAX) return true;
    let looked = 0;
    for (const [source, arrivalNs] of this.#arrivals) {
      // A source whose bucket is full again is as good as one never seen.
      if (arrivalNs <= nowNs) this.#arrivals.delete(source);
      looked += 1;
      if (looked >= SWEEP_COUNT) break;
    }
    return this.#arrivals.size < LOOKUP_SOURCES_MAX;
  }
}

function nextArrival(arrivalNs: bigint, nowNs: bigint): bigint | undefined {
  const next = (arrivalNs > nowNs ? arrivalNs : nowNs) + PERIOD_NS;
  return next - nowNs > TOLERANCE_NS ? undefined : next;
}
