import type { Cost } from "../decision/facts.ts";
import {
  atLeastZero,
  type Book,
  closeLeases,
  coverExpired,
  cutLeases,
  hasExpired,
  interimSettlements,
  isNothing,
  minus,
  NOTHING,
  payDebt,
  plus,
  spend,
  takenBack,
} from "./account-book.ts";
import {
  type AccountNews,
  type AgentMessage,
  type AgentState,
  andThen,
  type Effect,
  quiet,
  type StepEnv,
  type StepResult,
} from "./agent-state.ts";
import { withSpent } from "./budget-share.ts";
import {
  budgetSpent,
  climb,
  fall,
  isGrave,
  kernelEvidence,
  killHeard,
  type LadderState,
  type LadderStep,
  othersReport,
  revived,
} from "./ladder.ts";
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
    case "evidence":
      return env.ladder === undefined
        ? quiet(state)
        : onLadder(state, kernelEvidence(state.ladder, message.count, env.ladder, env.nowMs));
    case "news":
      return onNews(state, message, env);
    case "kill_heard":
      return onLadder(state, { state: killHeard(state.ladder), change: undefined });
    case "revived":
      return onLadder(state, revived(state.ladder, env.ladder, env.nowMs));
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
  const spent = { state: { ...state, book }, effects, durable };
  if (env.ladder === undefined || state.ladder.uses.length === 0) return spent;
  const uses = withSpent(state.ladder.uses, message.spent, env.nowMs);
  const { requestId } = message;
  const step = budgetSpent(state.ladder, uses, env.ladder, { nowMs: env.nowMs, requestId });
  return andThen(spent, (next) => onLadder(next, step));
}

/** Of nearly every agent nobody says anything, and its account has no limit of its own. */
export function isNews({ ladder }: AgentState, { uses, others }: AccountNews): boolean {
  const isUnlimited = ladder.uses.length === 0 && (uses?.length ?? 0) === 0;
  return !isUnlimited || ladder.rung !== 0 || others !== ladder.others;
}

/** The ledger counts what it was told; what this node has spent since is added to that. */
function onNews(
  state: AgentState,
  news: Extract<AgentMessage, { t: "news" }>,
  env: StepEnv,
): StepResult {
  const { uses, others } = news;
  if (!isNews(state, news)) return quiet(state);
  const heard = onLadder(state, othersReport(state.ladder, others, env.nowMs));
  const { ladder: policy, nowMs } = env;
  if (uses === undefined || policy === undefined) return heard;
  const known = withSpent(uses, untold(state.book), nowMs);
  return andThen(heard, (next) =>
    onLadder(next, budgetSpent(next.ladder, known, policy, { nowMs })),
  );
}

function untold({ leases, debt }: Book): Cost {
  return leases.reduce((sum, { spent, told }) => plus(sum, atLeastZero(minus(spent, told))), debt);
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
  { allowed, offence, more = 0 }: Extract<AgentMessage, { t: "event" }>,
  env: StepEnv,
): StepResult {
  const counted = allowed
    ? { ...state, allowed: state.allowed + 1 + more }
    : { ...state, refused: state.refused + 1 + more };
  if (offence === undefined || env.ladder === undefined) return quiet(counted);
  return onLadder(counted, climb(state.ladder, offence, env.ladder, env.nowMs));
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
  const before = state.ladder;
  const effects: Effect[] = change === undefined ? [] : [{ t: "standing", change }];
  if (isReportable(before, ladder)) effects.push({ t: "report" });
  const isKept = ladder.level === before.level && ladder.killFor === before.killFor;
  return { state: { ...state, ladder }, effects, durable: change !== undefined || !isKept };
}

/** The mesh hears of what is grave, of its end, and of a kill that is to be asked for. */
function isReportable(before: LadderState, after: LadderState): boolean {
  const isNews = before.level !== after.level && (isGrave(before.level) || isGrave(after.level));
  return isNews || (after.killFor !== undefined && after.killFor !== before.killFor);
}

/** Ends what has run out: the right not to count a unit, leases, debts that can be paid. */
function keepBooks(state: AgentState, env: StepEnv, giveBack: boolean): StepResult {
  const covered = coverExpired(payDebt(state.book, env.nowNs), env.nowNs);
  const closed = closeLeases(covered, { nowNs: env.nowNs, giveBack });
  const { book, settlements } = cutLeases(closed.book, { nowNs: env.nowNs, giveBack });
  const effects = [...closed.settlements, ...settlements].map(
    (settlement): Effect => ({ t: "settle", settlement }),
  );
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
