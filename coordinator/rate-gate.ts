/** So many passes at once, and so many more in each span, for every name of its own. */
export type RateGateLimits = { readonly burst: number; readonly perMinute: number };

/** Names that are counted at once; a name that had its burst back is forgotten first. */
const NAMES_MAX = 10_000;

/** Token buckets by name, on a clock that the caller reads. */
export class RateGate {
  readonly #limits: RateGateLimits;
  readonly #buckets = new Map<string, { tokens: number; atMs: number }>();

  constructor(limits: RateGateLimits) {
    this.#limits = limits;
  }

  /** Takes one pass of that name; false when there is none. */
  pass(name: string, nowMonoMs: number): boolean {
    const { burst, perMinute } = this.#limits;
    const known = this.#buckets.get(name) ?? { tokens: burst, atMs: nowMonoMs };
    const earned = ((nowMonoMs - known.atMs) * perMinute) / 60_000;
    const tokens = Math.min(burst, known.tokens + earned);
    const isAllowed = tokens >= 1;
    this.#buckets.delete(name);
    this.#buckets.set(name, { tokens: isAllowed ? tokens - 1 : tokens, atMs: nowMonoMs });
    for (const oldest of this.#buckets.keys()) {
      if (this.#buckets.size <= NAMES_MAX) break;
      this.#buckets.delete(oldest);
    }
    return isAllowed;
  }
}
