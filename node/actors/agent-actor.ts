import {
  closeLeases,
  coverExpired,
  hasExpired,
  interimSettlements,
  isNothing,
  minus,
  NOTHING,
  payDebt,
  spend,
  takenBack,
} from "./account-book.ts";
import {
  type AgentMessage,
  type AgentState,
  andThen,
  type Effect,
  quiet,
  type StepEnv,
  type StepResult,
} from "./agent-state.ts";
import { climb, fall, type LadderStep, raisedByMesh, revived } from "./ladder.ts";
import { onLeased, onNotLeased, onTopUp, serve } from "./top-ups.ts";

/** One turn. Synchronous and pure: what is outside comes in through the message and `env`. */
export function step(state: AgentState, message: AgentMessage, env: StepEnv): StepResult {
  switch (message.t) {
    case "top_up":
      return onTopUp(state, message, env);
    case "leased":
      return onLeased(state, message, env);
    case "not_leased":
      return onNotLeased(state, message, env);
    case "settled":
      return onSettled(state, message, env);
    case "taken_back":
      return onTakenBack(state, message, env);
    case "limits_changed":
      return onLimitsChanged(state);
    case "event":
      return onEvent(state, message, env);
    case "mesh_standing":
      return env.ladder === undefined
        ? quiet(state)
        : onLadder(state, raisedByMesh(state.ladder, message.standing, env.ladder, env.nowMs));
    case "revived":
      return onLadder(state, revived(state.ladder, env.nowMs));
    case "tick":
      return onTick(state, message.report, env);
  }
}

function onSettled(
  state: AgentState,
  message: Extract<AgentMessage, { t: "settled" }>,
  env: StepEnv,
): StepResult {
  const book = spend(state.book, message, env.nowNs);
  // What a request gave back may be money of a lease that has ended since.
  const effects: Effect[] = hasExpired(book, env.nowNs) ? [{ t: "take_back" }] : [];
  const durable = !isNothing(minus(book.debt, state.book.debt));
  return { state: { ...state, book }, effects, durable };
}

function onTakenBack(
  state: AgentState,
  { amount, giveBack }: Extract<AgentMessage, { t: "taken_back" }>,
  env: StepEnv,
): StepResult {
  const book = takenBack(state.book, amount, env.nowNs);
  const taken = { state: { ...state, book }, effects: [], durable: !isNothing(amount) };
  const kept = andThen(taken, (next) => keepBooks(next, env, giveBack));
  return andThen(kept, (next) => serve(next, env));
}

/** What one knew of limits counts no more; leases stand: they were within the limits of their time. */
function onLimitsChanged(state: AgentState): StepResult {
  const limits = { unlimited: NOTHING, untilNs: 0n, no: state.limits.no + 1 };
  return {
    state: { ...state, limits, refusal: undefined },
    effects: [{ t: "unlimited", units: NOTHING }],
    durable: false,
  };
}

function onEvent(
  state: AgentState,
  { allowed, cause }: Extract<AgentMessage, { t: "event" }>,
  env: StepEnv,
): StepResult {
  const counted = allowed
    ? { ...state, allowed: state.allowed + 1 }
    : { ...state, refused: state.refused + 1 };
  if (cause === undefined || env.ladder === undefined) return quiet(counted);
  return onLadder(counted, climb(state.ladder, cause, env.ladder, env.nowMs));
}

function onTick(state: AgentState, report: boolean, env: StepEnv): StepResult {
  const fallen =
    env.ladder === undefined
      ? quiet(state)
      : onLadder(state, fall(state.ladder, env.ladder, env.nowMs));
  const kept = andThen(fallen, (next) => keepBooks(next, env, false));
  return report ? andThen(kept, reportSpending) : kept;
}

function onLadder(state: AgentState, { state: ladder, change }: LadderStep): StepResult {
  const next = { ...state, ladder };
  if (change === undefined) return quiet(next);
  return { state: next, effects: [{ t: "standing", change }], durable: true };
}

/** Ends what has run out: the right not to count a unit, leases, debts that can be paid. */
function keepBooks(state: AgentState, env: StepEnv, giveBack: boolean): StepResult {
  const covered = coverExpired(payDebt(state.book, env.nowNs), env.nowNs);
  const { book, settlements } = closeLeases(covered, { nowNs: env.nowNs, giveBack });
  const effects = settlements.map((settlement): Effect => ({ t: "settle", settlement }));
  const { limits } = state;
  const hasEnded = env.nowNs >= limits.untilNs && !isNothing(limits.unlimited);
  if (hasEnded) effects.push({ t: "unlimited", units: NOTHING });
  return {
    state: { ...state, book, limits: hasEnded ? { ...limits, unlimited: NOTHING } : limits },
    effects,
    durable: book !== state.book,
  };
}

function reportSpending(state: AgentState): StepResult {
  const { book, settlements } = interimSettlements(state.book);
  const effects = settlements.map((settlement): Effect => ({ t: "settle", settlement }));
  return { state: { ...state, book }, effects, durable: false };
}
