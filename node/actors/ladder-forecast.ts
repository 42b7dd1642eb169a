import type { LadderPolicy } from "../../policy/compiled-policy.ts";
import { STANDINGS } from "../decision/facts.ts";
import { fall, type LadderState, type Level } from "./ladder.ts";

/** A level that the agent's own offences will have let go of by then. */
export type Fall = {
  readonly to: Level;
  /** Wall clock, ms since the Unix epoch. */
  readonly atMs: number;
};

/** Beyond it nobody plans; scores that last longer than that are of a policy that wants it so. */
const HORIZON_MS = 400 * 24 * 3_600_000;
const STEP_MS = 1;

/**
 * When the levels that an agent's own offences led to will fall, if it offends no more.
 *
 * Asks the ladder itself, so that what is said here is what will happen. A level that an operator alone
 * ends does not fall, nor do those below it.
 */
export function forecast(state: LadderState, policy: LadderPolicy, nowMs: number): readonly Fall[] {
  const falls: Fall[] = [];
  let last = STANDINGS.indexOf(levelAt(state, policy, nowMs));
  while (last > 0) {
    const atMs = firstBelow(state, policy, { level: last, nowMs });
    if (atMs === undefined) return falls;
    const to = levelAt(state, policy, atMs);
    falls.push({ to, atMs });
    last = STANDINGS.indexOf(to);
  }
  return falls;
}

/** Whether no time ends the level that the agent's own offences led to. */
export function needsOperator(state: LadderState, policy: LadderPolicy): boolean {
  return state.level === "block" && policy.blockUntil === "operator";
}

function levelAt(state: LadderState, policy: LadderPolicy, atMs: number): Level {
  return fall(state, policy, atMs).state.level;
}

/** Levels only fall with time, so the first instant below one is found by halving. */
function firstBelow(
  state: LadderState,
  policy: LadderPolicy,
  of: { readonly level: number; readonly nowMs: number },
): number | undefined {
  const isBelow = (atMs: number) => STANDINGS.indexOf(levelAt(state, policy, atMs)) < of.level;
  let low = of.nowMs;
  let high = of.nowMs + HORIZON_MS;
  if (!isBelow(high)) return undefined;
  while (high - low > STEP_MS) {
    const middle = Math.floor((low + high) / 2);
    if (isBelow(middle)) high = middle;
    else low = middle;
  }
  return high;
}
