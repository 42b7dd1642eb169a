import { RATE_WHOLE } from "../mesh/rate-share.ts";

// One rate of one metric, an agent's or a team's, of which parts are lent.
//
// P1. What claims hold and what is free add up to the whole, in refill and in burst.
// P2. Tokens move with parts: what comes back is as full as it is said to be, and what is lent is as
//     full as what was free. So nobody's burst is there twice.
// P3. Whoever lacks some has those recalled that hold more than is left to them: each now and then at
//     most, and not again before it was heard of.

/** Parts of the whole: of what comes back, and of what may be had at once. */
export type Parts = { readonly rate: number; readonly burst: number };

export const NO_PARTS_OF_POOL: Parts = { rate: 0, burst: 0 };

/** What somebody has of a pool, and what they need of it. */
type Claim = {
  held: Parts;
  /** Below this it is of no use. */
  min: number;
  want: number;
  /** When it said so; and until when it counts though it holds nothing. */
  atMs: number;
  untilMs: number;
  /** It has less than it may have. */
  lacks: boolean;
  recalledMs: number;
};

/** What everybody may have: what they need, then up to `level` beyond it, then `spare` more. */
type Levels = { readonly level: number; readonly spare: number; readonly isShort: boolean };

/** What everybody may have is worked out anew so often, where there are many. */
const LEVELS_MS = 250;
const FEW = 64;
/** One claim is recalled so often at most, and makes room within this time or at its next renewal. */
const RECALL_MS = 200;
const ROOM_WITHIN_MS = 300;
/** Those that hold most beyond what is left to them, for one that lacks some. */
const RECALLED_AT_ONCE = 8;
/** Nobody is recalled for less than this part of what it may hold. */
const RECALL_SLACK = 1 / 64;

export class RatePool {
  readonly #claims = new Map<string, Claim>();
  /** Kept free for whoever comes next, so that it need not wait for others to hear of it. */
  readonly #reserve: number;
  /** How long the empty bucket takes to fill up, milliseconds. */
  #emptyMs: number;
  #free: { rate: number; burst: number; level: number };
  #freeAtMs: number;
  #levels: Levels | undefined;
  #levelsAtMs = 0;

  /** @param isFull Otherwise nobody knows what was taken, and all of it counts as taken. */
  constructor(of: {
    readonly emptyMs: number;
    readonly reserve: number;
    readonly isFull: boolean;
    readonly nowMs: number;
  }) {
    this.#emptyMs = of.emptyMs;
    this.#reserve = of.reserve;
    this.#free = { rate: RATE_WHOLE, burst: RATE_WHOLE, level: of.isFull ? RATE_WHOLE : 0 };
    this.#freeAtMs = of.nowMs;
  }

  /** Policy may change how fast it fills up; what is in it stays. */
  set emptyMs(emptyMs: number) {
    this.#emptyMs = emptyMs;
  }

  /** Nobody claims anything, and it is full: as if it had never been. */
  isIdle(nowMs: number): boolean {
    this.#refill(nowMs);
    this.#forgetOld(nowMs);
    return this.#claims.size === 0 && this.#free.level === RATE_WHOLE;
  }

  get free(): Parts {
    return this.#free;
  }

  claim(key: string, of: { readonly min: number; readonly want: number }, when: When): void {
    const claim = this.#claims.get(key) ?? {
      ...{ ...of, ...when, held: NO_PARTS_OF_POOL },
      ...{ lacks: false, recalledMs: Number.NEGATIVE_INFINITY },
    };
    this.#claims.set(key, Object.assign(claim, of, when));
  }

  /** Parts that the claim may hold by what everybody needs; what is free is another matter. */
  fairFor(key: string, nowMs: number): number {
    const claim = this.#claims.get(key);
    if (claim === undefined) return 0;
    const { level, spare, isShort } = this.#levelsAt(nowMs);
    if (!isShort) return claim.min + Math.min(claim.want - claim.min, level) + spare;
    // More need some of it than it can serve at once: whoever had it makes room for whoever waits.
    if (claim.held.burst === 0) return claim.min;
    return this.isWaitedFor(key) ? 0 : Math.max(claim.held.rate, claim.held.burst);
  }

  /** Others need some of it, and have none. */
  isWaitedFor(key: string): boolean {
    for (const [one, { held }] of this.#claims) if (one !== key && held.burst === 0) return true;
    return false;
  }

  /** Others have less than they may have. */
  isWanted(key: string): boolean {
    for (const [one, { lacks }] of this.#claims) if (one !== key && lacks) return true;
    return this.isWaitedFor(key);
  }

  noteLack(key: string, lacks: boolean): void {
    const claim = this.#claims.get(key);
    if (claim !== undefined) claim.lacks = lacks;
  }

  /**
   * P3. Adds to `recalled` whose nodes are to be asked.
   *
   * @returns Whether any has been, and may still make room.
   */
  recall(key: string, recalled: Set<string>, nowMs: number): boolean {
    // Where not even everybody's need fits, they take turns at their renewals.
    if (!this.#claims.get(key)?.lacks || this.#levelsAt(nowMs).isShort) return false;
    const over: { readonly one: string; readonly claim: Claim; readonly by: number }[] = [];
    for (const [one, claim] of this.#claims) {
      const { held } = claim;
      const fair = this.fairFor(one, nowMs);
      const by = Math.max(held.rate, held.burst) - fair;
      if (one !== key && by > fair * RECALL_SLACK + 1) over.push({ one, claim, by });
    }
    over.sort((a, b) => b.by - a.by);
    for (const { one, claim } of over.slice(0, RECALLED_AT_ONCE)) {
      if (claim.recalledMs > claim.atMs || nowMs - claim.recalledMs < RECALL_MS) continue;
      claim.recalledMs = nowMs;
      recalled.add(one);
    }
    return over.some(({ claim }) => nowMs - claim.recalledMs < ROOM_WITHIN_MS);
  }

  /** P1, P2. What of the added burst is there, in parts of the whole. */
  take(key: string, added: Parts, nowMs: number): number {
    const claim = this.#claims.get(key);
    if (claim === undefined) throw new Error("invariant broken: what is lent was claimed");
    this.#refill(nowMs);
    const { rate, burst, level } = this.#free;
    const moved = burst === 0 ? 0 : (level * added.burst) / burst;
    this.#free = { rate: rate - added.rate, burst: burst - added.burst, level: level - moved };
    claim.held = { rate: claim.held.rate + added.rate, burst: claim.held.burst + added.burst };
    return moved;
  }

  /** P1, P2. `level` is what is left of the burst that comes back, in parts of the whole. */
  giveBack(key: string, back: Parts & { readonly level: number }, nowMs: number): void {
    const claim = this.#claims.get(key);
    if (claim === undefined) throw new Error("invariant broken: what comes back was lent");
    this.#refill(nowMs);
    const { rate, burst, level } = this.#free;
    const free = { rate: rate + back.rate, burst: burst + back.burst };
    this.#free = { ...free, level: Math.min(free.burst, level + Math.min(back.level, back.burst)) };
    claim.held = { rate: claim.held.rate - back.rate, burst: claim.held.burst - back.burst };
  }

  /** Whoever holds nothing any more asks for nothing either. */
  drop(key: string): void {
    this.#claims.delete(key);
  }

  /** When others that hold some of it will have been heard of, at the earliest. */
  heardNextMs(key: string, renewMs: number, nowMs: number): number {
    let next = nowMs + renewMs;
    for (const [one, { held, atMs }] of this.#claims) {
      if (one === key || held.burst === 0) continue;
      next = Math.min(next, Math.max(atMs + renewMs, nowMs));
    }
    return next;
  }

  #refill(nowMs: number): void {
    const { rate, burst, level } = this.#free;
    const came = (rate * (nowMs - this.#freeAtMs)) / this.#emptyMs;
    this.#free.level = Math.min(burst, level + Math.max(0, came));
    this.#freeAtMs = nowMs;
  }

  #forgetOld(nowMs: number): void {
    for (const [key, { held, untilMs }] of this.#claims) {
      if (held.rate === 0 && held.burst === 0 && nowMs >= untilMs) this.drop(key);
    }
  }

  #levelsAt(nowMs: number): Levels {
    const isYoung = this.#claims.size > FEW && nowMs - this.#levelsAtMs < LEVELS_MS;
    if (this.#levels !== undefined && isYoung) return this.#levels;
    this.#forgetOld(nowMs);
    this.#levelsAtMs = nowMs;
    this.#levels = levelsOf([...this.#claims.values()], RATE_WHOLE - this.#reserve);
    return this.#levels;
  }
}

type When = { readonly atMs: number; readonly untilMs: number };

/** Everybody's need, then the rest evenly to whoever wants more, then what is left evenly to all. */
function levelsOf(claims: readonly { min: number; want: number }[], whole: number): Levels {
  const needed = claims.reduce((sum, { min }) => sum + min, 0);
  if (needed > whole) return { level: 0, spare: 0, isShort: needed > RATE_WHOLE };
  let rest = whole - needed;
  const more = claims.map(({ min, want }) => Math.max(0, want - min)).sort((a, b) => a - b);
  for (const [at, one] of more.entries()) {
    const level = rest / (more.length - at);
    if (one > level) return { level, spare: 0, isShort: false };
    rest -= one;
  }
  return { level: RATE_WHOLE, spare: rest / Math.max(1, claims.length), isShort: false };
}
