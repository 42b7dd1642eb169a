import type { LadderCause, LadderPolicy } from "../../policy/compiled-policy.ts";
import { STANDINGS, type Standing } from "../decision/facts.ts";
import { type BudgetRung, type BudgetUse, budgetRung, largestShare } from "./budget-share.ts";
import { addPoints, type CauseScore, totalScore } from "./cause-scores.ts";

/**
 * The ladder of enforcement, as a pure function of what is known of an agent.
 *
 * An agent stands at the highest of three levels: the one its own offences led to, the one its spent
 * budget leads to, and the one that other nodes report. Each of them falls on its own terms.
 *
 * L1. Levels climb by events alone; time only lets them fall.
 * L2. A level is left below its `leave` mark, which lies under its `enter` mark: it does not flap.
 * L3. A block that a score led to lasts at least its cool-down, whatever the score; where policy says
 *     so, until an operator lifts it.
 * L4. `kill` is not a level of this machine: it is scope state, and an operator's revive ends it. The
 *     ladder only remembers that a kill is to be asked for, until the mesh has heard it.
 * L5. A block by a spent budget ends when the budget is no longer spent, and by nothing else.
 * L6. What other nodes report stands as long as they report it.
 */

export type Level = Exclude<Standing, "kill">;

/** What a change of level comes from: an event, time, or another's word. */
export type ChangeCause = LadderCause | "decay" | "budget_lifted" | "mesh" | "mesh_lifted";

/** What the ladder remembers of one agent. Plain data; stored as it is. */
export type LadderState = {
  /** The highest of `level`, what `rung` stands for, and `others`. */
  readonly standing: Level;
  /** When `standing` was reached, wall clock, ms since the Unix epoch. */
  readonly sinceMs: number;
  /** What `standing` came from. */
  readonly cause: ChangeCause | "none";
  /** The request that did it; undefined where none did. */
  readonly requestId: string | undefined;
  /** Where its own offences put it. */
  readonly level: Level;
  /** When `level` was reached. */
  readonly levelSinceMs: number;
  readonly scores: readonly CauseScore[];
  /** After an operator's revive `level` is at least warning until then; 0: no longer. */
  readonly watchedUntilMs: number;
  /** Where its budget puts it: nothing, warning, throttle, block. */
  readonly rung: BudgetRung;
  readonly uses: readonly BudgetUse[];
  /** The highest level that other nodes report. */
  readonly others: Level;
  /** Policy names this cause for an automatic kill, and the mesh has not heard it yet. */
  readonly killFor: LadderCause | undefined;
  /** Reports of the kernel since `sinceMs`. */
  readonly evidence: { readonly sinceMs: number; readonly count: number };
};

export type LadderChange = {
  readonly from: Level;
  readonly to: Level;
  readonly cause: ChangeCause;
  readonly requestId: string | undefined;
};

export type LadderStep = {
  readonly state: LadderState;
  readonly change: LadderChange | undefined;
};

/** Something that an agent did. */
export type Offence = {
  readonly cause: LadderCause;
  /** Where the agent stood when the request was judged. */
  readonly judgedAt: Standing;
  readonly requestId: string | undefined;
};

type Because = { readonly cause: ChangeCause; readonly requestId?: string | undefined };

const BUDGET_LEVELS = ["normal", "warning", "throttle", "block"] as const;
const BUDGET_CAUSES = [
  "budget_lifted",
  "budget_warning",
  "budget_throttle",
  "budget_block",
] as const;

/** An agent that never did anything. */
export function newLadder(nowMs: number): LadderState {
  return {
    standing: "normal",
    sinceMs: nowMs,
    cause: "none",
    requestId: undefined,
    level: "normal",
    levelSinceMs: nowMs,
    scores: [],
    watchedUntilMs: 0,
    rung: 0,
    uses: [],
    others: "normal",
    killFor: undefined,
    evidence: { sinceMs: nowMs, count: 0 },
  };
}

/** Adds an offence's points and climbs as far as the score now reaches. */
export function climb(
  state: LadderState,
  { cause, judgedAt, requestId }: Offence,
  policy: LadderPolicy,
  nowMs: number,
): LadderStep {
  // What time has let fall is judged first, by the score before this event.
  const stands = fallenLevel(state, policy, nowMs);
  const own = withPoints(state.scores, cause, policy, nowMs);
  const reached = levelOf(totalScore(own, policy, nowMs), policy.enter);
  // Whoever was told that it is in quarantine and offends again has not been stopped by it.
  const isBreach = judgedAt === "quarantine";
  const scores = isBreach ? withPoints(own, "quarantine_breach", policy, nowMs) : own;
  const level = Math.max(levelOf(totalScore(scores, policy, nowMs), policy.enter), stands);
  const because = isBreach && level > Math.max(reached, stands) ? "quarantine_breach" : cause;
  const next = atLevel({ ...state, scores }, level, nowMs);
  const before = indexOf(state.standing);
  const fell = indexOf(standingOf(next)) < before;
  const step = stand(next, { cause: fell ? "decay" : because, requestId }, nowMs);
  const causes = isBreach ? [cause, "quarantine_breach" as const] : [cause];
  return { ...step, state: askingKill(step.state, causes, policy) };
}

/** Lets time pass: levels fall as their scores sink, and with the ends of budget windows. */
export function fall(state: LadderState, policy: LadderPolicy, nowMs: number): LadderStep {
  const fallen = atLevel(state, fallenLevel(state, policy, nowMs), nowMs);
  const rung = budgetRung(largestShare(state.uses, nowMs), state.rung, policy);
  // Time alone raises nothing: a share that has come above a mark came there by news.
  const lower = Math.min(rung, state.rung) as BudgetRung;
  const isBudget = lower < state.rung && BUDGET_LEVELS[state.rung] === state.standing;
  const isWanted = state.killFor !== undefined && policy.autoKill.has(state.killFor);
  const killFor = isWanted ? state.killFor : undefined;
  const watchedUntilMs = nowMs < state.watchedUntilMs ? state.watchedUntilMs : 0;
  const cause = isBudget ? "budget_lifted" : "decay";
  return stand({ ...fallen, rung: lower, killFor, watchedUntilMs }, { cause }, nowMs);
}

/** What of its budgets the agent has spent is known anew. */
export function budgetSpent(
  state: LadderState,
  uses: readonly BudgetUse[],
  policy: LadderPolicy,
  { nowMs, requestId }: { readonly nowMs: number; readonly requestId?: string | undefined },
): LadderStep {
  const rung = budgetRung(largestShare(uses, nowMs), state.rung, policy);
  const cause = rung > state.rung ? BUDGET_CAUSES[rung] : "budget_lifted";
  const step = stand({ ...state, uses, rung }, { cause, requestId }, nowMs);
  if (rung <= state.rung || rung === 0) return step;
  return { ...step, state: askingKill(step.state, [BUDGET_CAUSES[rung] as LadderCause], policy) };
}

/** Other nodes' highest level, as the coordinator has it now. */
export function othersReport(state: LadderState, others: Level, nowMs: number): LadderStep {
  const cause = indexOf(others) > indexOf(state.others) ? "mesh" : "mesh_lifted";
  return stand({ ...state, others }, { cause }, nowMs);
}

/** The kernel saw traffic that no honest agent sends. A little of it is taken for an accident. */
export function kernelEvidence(
  state: LadderState,
  count: number,
  policy: LadderPolicy,
  nowMs: number,
): LadderStep {
  const isOver = nowMs - state.evidence.sinceMs >= policy.windowMs;
  const seen = (isOver ? 0 : state.evidence.count) + count;
  if (seen <= policy.evidenceFloor) {
    const sinceMs = isOver ? nowMs : state.evidence.sinceMs;
    return { state: { ...state, evidence: { sinceMs, count: seen } }, change: undefined };
  }
  // Counted from zero again, so that each further offence takes as much as the first.
  const evidence = { sinceMs: nowMs, count: 0 };
  const offence = {
    cause: "kernel_evidence" as const,
    judgedAt: state.standing,
    requestId: undefined,
  };
  return climb({ ...state, evidence }, offence, policy, nowMs);
}

/**
 * An operator revived the agent or lifted its standing: its score is gone, and it is watched for as
 * long as a score would take to halve. A spent budget stays spent.
 */
export function revived(
  state: LadderState,
  policy: Pick<LadderPolicy, "halfLifeMs"> | undefined,
  nowMs: number,
): LadderStep {
  const cleared: LadderState = {
    ...newLadder(nowMs),
    standing: state.standing,
    sinceMs: state.sinceMs,
    cause: state.cause,
    requestId: state.requestId,
    uses: state.uses,
    rung: state.rung,
    level: "warning",
    watchedUntilMs: nowMs + (policy?.halfLifeMs ?? 0),
  };
  return stand(cleared, { cause: "operator" }, nowMs);
}

/** The mesh has heard that this agent is to be killed. */
export function killHeard(state: LadderState): LadderState {
  return { ...state, killFor: undefined };
}

/** The level of the ladder that a rung of the budget stands for. */
export function levelOfRung(rung: BudgetRung): Level {
  return BUDGET_LEVELS[rung];
}

/** Nothing is known against the agent, so nothing need be kept of it. */
export function isCalm(
  state: LadderState,
  policy: LadderPolicy | undefined,
  nowMs: number,
): boolean {
  if (state.standing !== "normal" || state.killFor !== undefined) return false;
  return policy === undefined || totalScore(state.scores, policy, nowMs) === 0;
}

/** Time alone changes nothing of it. */
export function isAtRest(state: LadderState): boolean {
  const { standing, level, rung, scores, killFor, watchedUntilMs } = state;
  if (standing !== "normal" || level !== "normal" || rung !== 0) return false;
  return scores.length === 0 && killFor === undefined && watchedUntilMs === 0;
}

/** Quarantine and block are told to the mesh; what is milder stays on its node. */
export function isGrave(level: Level): boolean {
  return level === "quarantine" || level === "block";
}

function withPoints(
  scores: readonly CauseScore[],
  cause: LadderCause,
  policy: LadderPolicy,
  nowMs: number,
): readonly CauseScore[] {
  const milli = policy.points.get(cause) ?? 0;
  return milli === 0 ? scores : addPoints(scores, { cause, milli, nowMs }, policy);
}

/** A kill is for agents that quarantine at least: whoever is only watched is not killed. */
function askingKill(
  state: LadderState,
  causes: readonly LadderCause[],
  { autoKill }: LadderPolicy,
): LadderState {
  const killFor = causes.find((cause) => autoKill.has(cause));
  if (killFor === undefined || !isGrave(state.standing)) return state;
  return { ...state, killFor };
}

function fallenLevel(state: LadderState, policy: LadderPolicy, nowMs: number): number {
  const score = totalScore(state.scores, policy, nowMs);
  const floor = nowMs < state.watchedUntilMs ? indexOf("warning") : 0;
  let level = indexOf(state.level);
  while (level > floor && score < (policy.leave[level - 1] as number)) {
    if (STANDINGS[level] === "block" && !mayLeaveBlock(state, policy, nowMs)) break;
    level -= 1;
  }
  return level;
}

function mayLeaveBlock(
  { levelSinceMs }: LadderState,
  { blockUntil, blockCoolDownMs }: LadderPolicy,
  nowMs: number,
): boolean {
  return blockUntil === "cool_down" && nowMs - levelSinceMs >= blockCoolDownMs;
}

function levelOf(scoreMilli: number, enter: LadderPolicy["enter"]): number {
  let level = 0;
  while (level < enter.length && scoreMilli >= (enter[level] as number)) level += 1;
  return level;
}

function atLevel(state: LadderState, index: number, nowMs: number): LadderState {
  const level = STANDINGS[index] as Level;
  return level === state.level ? state : { ...state, level, levelSinceMs: nowMs };
}

function stand(state: LadderState, { cause, requestId }: Because, nowMs: number): LadderStep {
  const standing = standingOf(state);
  if (standing === state.standing) return { state, change: undefined };
  return {
    state: { ...state, standing, sinceMs: nowMs, cause, requestId },
    change: { from: state.standing, to: standing, cause, requestId },
  };
}

function standingOf({ level, rung, others }: LadderState): Level {
  const highest = Math.max(indexOf(level), indexOf(BUDGET_LEVELS[rung]), indexOf(others));
  return STANDINGS[highest] as Level;
}

function indexOf(level: Standing): number {
  return STANDINGS.indexOf(level);
}
