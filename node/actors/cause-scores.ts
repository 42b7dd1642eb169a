import type { LadderCause, LadderPolicy } from "../../policy/compiled-policy.ts";

/**
 * What an agent did, as one score for each cause.
 *
 * S1. An event counts in full for at least a window, so as many events as a mark has points reach it
 *     however they are spaced within one.
 * S2. It never counts for more than its points, so fewer events never reach the mark.
 * S3. After its window it halves with each half-life of its cause.
 *
 * Events of one cause that come close together share a slot, so what is kept of an agent is bounded
 * whatever it does.
 */
export type CauseScore = {
  readonly cause: LadderCause;
  /** Events since the score was last zero. */
  readonly count: number;
  /** The last of them, wall clock, ms since the Unix epoch. */
  readonly lastAtMs: number;
  /** Points that count in full, by the time their slot began; oldest first. */
  readonly fresh: readonly Slot[];
  /** What is left of older ones at `decayedAtMs`, thousandths, not rounded. */
  readonly decayed: number;
  readonly decayedAtMs: number;
};

type Slot = { readonly sinceMs: number; readonly milli: number };

type Decay = Pick<LadderPolicy, "windowMs" | "halfLifeMs" | "halfLifeMsOf">;

/** Slots that a window is cut into. An event counts in full for a window and at most one slot more. */
const SLOTS_PER_WINDOW = 12;
const SCORE_MILLI_MAX = Number.MAX_SAFE_INTEGER;

/** Adds an event's points to those of its cause. */
export function addPoints(
  scores: readonly CauseScore[],
  event: { readonly cause: LadderCause; readonly milli: number; readonly nowMs: number },
  policy: Decay,
): readonly CauseScore[] {
  const { cause, milli, nowMs } = event;
  const alive = scores.filter((one) => causeScore(one, policy, nowMs) > 0 || one.cause === cause);
  const before = alive.find((one) => one.cause === cause) ?? nothing(cause, nowMs);
  const isOver = causeScore(before, policy, nowMs) === 0;
  const settled = settle(before, policy, nowMs);
  const after = {
    ...settled,
    count: isOver ? 1 : before.count + 1,
    lastAtMs: nowMs,
    fresh: withPoints(settled.fresh, { milli, nowMs, slotMs: slotMsOf(policy) }),
  };
  return [...alive.filter((one) => one.cause !== cause), after];
}

/** The score of all causes together now, thousandths. A clock that stepped back adds nothing. */
export function totalScore(scores: readonly CauseScore[], policy: Decay, nowMs: number): number {
  const total = scores.reduce((sum, one) => sum + causeScore(one, policy, nowMs), 0);
  return Math.min(total, SCORE_MILLI_MAX);
}

/** What one cause adds to the score now, thousandths. */
export function causeScore(score: CauseScore, policy: Decay, nowMs: number): number {
  const { fresh, decayed } = settle(score, policy, nowMs);
  return Math.min(
    Math.floor(fresh.reduce((sum, { milli }) => sum + milli, decayed)),
    SCORE_MILLI_MAX,
  );
}

/** The half-life that the cause decays with, milliseconds. */
export function halfLifeOf(cause: LadderCause, { halfLifeMs, halfLifeMsOf }: Decay): number {
  return halfLifeMsOf.get(cause) ?? halfLifeMs;
}

/** Moves slots whose window is over among what decays, and lets that decay until now. */
function settle(score: CauseScore, policy: Decay, nowMs: number): CauseScore {
  const halfLifeMs = halfLifeOf(score.cause, policy);
  const fullMs = policy.windowMs + slotMsOf(policy);
  let decayed = halved(score.decayed, nowMs - score.decayedAtMs, halfLifeMs);
  const fresh = score.fresh.filter(({ sinceMs, milli }) => {
    const overMs = nowMs - sinceMs - fullMs;
    if (overMs < 0) return true;
    decayed += halved(milli, overMs, halfLifeMs);
    return false;
  });
  return { ...score, fresh, decayed, decayedAtMs: Math.max(score.decayedAtMs, nowMs) };
}

function withPoints(
  fresh: readonly Slot[],
  of: { readonly milli: number; readonly nowMs: number; readonly slotMs: number },
): readonly Slot[] {
  const last = fresh.at(-1);
  if (last === undefined || of.nowMs - last.sinceMs >= of.slotMs) {
    return [...fresh, { sinceMs: of.nowMs, milli: of.milli }];
  }
  // A slot lasts a window after its own end, so whoever comes last in it still has a whole one. One
  // that a clock set back has left in the future takes what comes until it is over.
  const milli = Math.min(last.milli + of.milli, SCORE_MILLI_MAX);
  return [...fresh.slice(0, -1), { ...last, milli }];
}

function slotMsOf({ windowMs }: Decay): number {
  return Math.ceil(windowMs / SLOTS_PER_WINDOW);
}

function halved(milli: number, elapsedMs: number, halfLifeMs: number): number {
  return milli * 2 ** (-Math.max(0, elapsedMs) / halfLifeMs);
}

function nothing(cause: LadderCause, nowMs: number): CauseScore {
  return { cause, count: 0, lastAtMs: nowMs, fresh: [], decayed: 0, decayedAtMs: nowMs };
}
