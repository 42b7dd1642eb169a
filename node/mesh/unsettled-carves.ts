import type { Rate } from "../../authority/rate.ts";
import { rateLeft } from "../../authority/rate-left.ts";

// Rates that may have been moved out of contracts by delegations of which this node does not know all.
//
// U1. From before the ledger is asked until its answer is in, a child's rate is not its delegator's.
// U2. Where no answer comes it stays so, until the ledger was asked again what is left, and said so.
// U3. What was asked before a delegation ended may have been answered before the ledger heard of it: such an
//     answer is no word on what is left.

/** Delegations from one contract at once; more are refused. As many as a ledger lets be open below one. */
export const CARVES_UNSETTLED_MAX = 32;

/** What a contract's requests may use when more may have been moved than it has. */
const NOTHING: Rate = {
  req: { burst: 0, amount: 0, seconds: 1 },
  tok: { burst: 0, amount: 0, seconds: 1 },
  usd_u: { burst: 0, amount: 0, seconds: 1 },
};

/** One delegation, as far as it is known. */
export type Carve = {
  readonly keySha256: string;
  /** What the child was to have. */
  readonly rate: Rate;
};

type OfKey = {
  /** Without an end: the ledger is being asked. */
  readonly open: Map<Carve, number | undefined>;
  /** When the last one ended that may have moved something. */
  lastEnd: number;
};

/** Delegations that are under way, or of which nobody said how they ended, by their delegator's key. */
export class UnsettledCarves {
  readonly #ofKey = new Map<string, OfKey>();
  /** Counts ends. */
  #time = 0;

  /** U1. `undefined`: too many are not settled. */
  begin(carve: Carve): Carve | undefined {
    const known = this.#ofKey.get(carve.keySha256) ?? { open: new Map(), lastEnd: 0 };
    if (known.open.size >= CARVES_UNSETTLED_MAX) return undefined;
    known.open.set(carve, undefined);
    this.#ofKey.set(carve.keySha256, known);
    return carve;
  }

  /** `carved` and `refused` are the ledger's word; `unknown`: nothing came that says either (U2). */
  end(carve: Carve, how: "carved" | "refused" | "unknown"): void {
    const known = this.#ofKey.get(carve.keySha256);
    if (!known?.open.has(carve)) return;
    if (how !== "refused") known.lastEnd = ++this.#time;
    if (how === "unknown") known.open.set(carve, this.#time);
    else known.open.delete(carve);
  }

  /** To be read before the ledger is asked what is left. */
  now(): number {
    return this.#time;
  }

  /**
   * Takes in that the ledger said what is left.
   *
   * @param askedAt What `now` was before it was asked.
   * @returns Whether that is the last word (U3).
   */
  isAnswered(keySha256: string, askedAt: number): boolean {
    const known = this.#ofKey.get(keySha256);
    if (known === undefined) return true;
    if (known.lastEnd > askedAt) return false;
    for (const [carve, end] of known.open) if (end !== undefined) known.open.delete(carve);
    if (known.open.size === 0) this.#ofKey.delete(keySha256);
    return true;
  }

  /** U1, U2: what of a rate is its holder's for certain. */
  left(keySha256: string, rate: Rate): Rate {
    const open = this.#ofKey.get(keySha256)?.open;
    if (open === undefined || open.size === 0) return rate;
    const given = [...open.keys()].map((carve) => carve.rate);
    return rateLeft(rate, given) ?? NOTHING;
  }

  /** Nothing is kept of that contract any more: who serves it again asks first. */
  forget(keySha256: string): void {
    const ends = [...(this.#ofKey.get(keySha256)?.open.values() ?? [])];
    if (ends.every((end) => end !== undefined)) this.#ofKey.delete(keySha256);
  }
}
