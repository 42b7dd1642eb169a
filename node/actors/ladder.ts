import type { LadderCause, LadderPolicy } from "../../policy/compiled-policy.ts";
import { STANDINGS, type Standing } from "../decision/facts.ts";

/**
 * The ladder of enforcement, as a pure function of what an agent did.
 *
 * L1. Levels climb by events alone; time only lets them fall.
 * L2. A level is left below its `leave` mark, which lies under its `enter` mark: it does not flap.
 * L3. Block lasts at least its cool-down, whatever the score.
 * L4. `kill` is not a level of this machine: it is scope state, and an operator's revive ends it.
 */

export type Level = Exclude<Standing, "kill">;

/** What a level comes from: an event, time, or another node's word. */
export type ChangeCause = LadderCause | "decay" | "mesh";

/** What the ladder remembers of one agent. Plain data; stored as it is. */
export type LadderState = {
  readonly standing: Level;
  /** Score at `scoreAtMs`, thousandths; it has decayed since. */
  readonly scoreMilli: number;
  /** Wall clock, ms since the Unix epoch. */
  readonly scoreAtMs: number;
  /** When the current level was reached, ms since the Unix epoch. */
  readonly sinceMs: number;
  /** What the last change came from. */
  readonly cause: ChangeCause | "none";
};

export type LadderChange = {
  readonly from: Standing;
  readonly to: Standing;
  readonly cause: ChangeCause;
};

export type LadderStep = {
  readonly state: LadderState;
  readonly change: LadderChange | undefined;
};

/** An agent that never did anything. */
export function newLadder(nowMs: number): LadderState {
  return { standing: "normal", scoreMilli: 0, scoreAtMs: nowMs, sinceMs: nowMs, cause: "none" };
}

/** The score now: halved every half-life. A clock that stepped back leaves it as it was. */
export function scoreNow(state: LadderState, policy: LadderPolicy, nowMs: number): number {
  const elapsedMs = Math.max(0, nowMs - state.scoreAtMs);
  return Math.floor(state.scoreMilli * 2 ** (-elapsedMs / policy.halfLifeMs));
}

/** Adds an event's points and climbs as far as the score now reaches. */
export function climb(
  state: LadderState,
  cause: LadderCause,
  policy: LadderPolicy,
  nowMs: number,
): LadderStep {
  const points = policy.points.get(cause) ?? 0;
  const scoreMilli = Math.min(scoreNow(state, policy, nowMs) + points, Number.MAX_SAFE_INTEGER);
  // What time has let fall is judged first, by the score before this event.
  const stands = fallenLevel(state, policy, nowMs);
  const level = Math.max(levelOf(scoreMilli, policy.enter), stands);
  const scored = { ...state, scoreMilli, scoreAtMs: nowMs };
  const fell = level < STANDINGS.indexOf(state.standing);
  return stepTo(scored, level, fell ? "decay" : cause, nowMs);
}

/** Lets time pass: falls one level for each mark the score has sunk below. */
export function fall(state: LadderState, policy: LadderPolicy, nowMs: number): LadderStep {
  return stepTo(state, fallenLevel(state, policy, nowMs), "decay", nowMs);
}

/** An operator revived the agent: the score is gone, and it stays watched. */
export function revived(state: LadderState, nowMs: number): LadderStep {
  const cleared = { ...state, scoreMilli: 0, scoreAtMs: nowMs };
  return stepTo(cleared, STANDINGS.indexOf("warning"), "operator", nowMs);
}

/**
 * Another node reported a higher level: the mesh's highest stands.
 *
 * The score is raised to that level's mark, so that it is left the way every level is (L2).
 */
export function raisedByMesh(
  state: LadderState,
  standing: Level,
  policy: LadderPolicy,
  nowMs: number,
): LadderStep {
  const level = STANDINGS.indexOf(standing);
  if (level <= STANDINGS.indexOf(state.standing)) return { state, change: undefined };
  const mark = policy.enter[level - 1] as number;
  const scoreMilli = Math.max(scoreNow(state, policy, nowMs), mark);
  return stepTo({ ...state, scoreMilli, scoreAtMs: nowMs }, level, "mesh", nowMs);
}

function fallenLevel(state: LadderState, policy: LadderPolicy, nowMs: number): number {
  const score = scoreNow(state, policy, nowMs);
  let level = STANDINGS.indexOf(state.standing);
  while (level > 0 && score < (policy.leave[level - 1] as number)) {
    const cooling = nowMs - state.sinceMs < policy.blockCoolDownMs;
    if (STANDINGS[level] === "block" && cooling) break;
    level -= 1;
  }
  return level;
}

function levelOf(scoreMilli: number, enter: LadderPolicy["enter"]): number {
  let level = 0;
  while (level < enter.length && scoreMilli >= (enter[level] as number)) level += 1;
  return level;
}

function stepTo(state: LadderState, level: number, cause: ChangeCause, nowMs: number): LadderStep {
  const standing = STANDINGS[level] as Level;
  if (standing === state.standing) return { state, change: undefined };
  return {
    state: { ...state, standing, sinceMs: nowMs, cause },
    change: { from: state.standing, to: standing, cause },
  };
}
