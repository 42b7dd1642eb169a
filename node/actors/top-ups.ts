import type { Cost } from "../decision/facts.ts";
import type { TopUpAnswer } from "../thread-messages.ts";
import {
  addLease,
  atLeastZero,
  byUnit,
  closeLeases,
  coverExpired,
  coversCost,
  isNothing,
  largest,
  least,
  lendable,
  lendFrom,
  minus,
  NOTHING,
  payDebt,
  plus,
} from "./account-book.ts";
import {
  type AgentMessage,
  type AgentState,
  type Asking,
  andThen,
  type Effect,
  type StepEnv,
  type StepResult,
  UNAVAILABLE,
  unlimitedNow,
  type Waiting,
} from "./agent-state.ts";
import type { Shortfall } from "./ledger-port.ts";

// How requests that found the table short get their money, or the ledger's no.
//
// T1. `exhausted` is said only on the ledger's word for no more than was asked, not older than
//     REFUSAL_BELIEVED_NS nor than the last settlement of this node that brought money back, and not
//     after the end of the window that was short. Whatever else goes wrong is `unavailable`.
// T2. `ok` is said to no more top-ups than the table and what is lent now can serve together.
// T3. The unheld balance of an account is at most CHUNK once the requests that asked have their holds.
// T4. The ledger's no carries what would have fitted: whoever may lower its output limit that far draws
//     it, and everybody else is told.
// T5. Every top-up is answered: it leaves `waiting` only with a reply.

/** Money that one top-up lends beyond what is asked, so that the next requests need not ask. */
export const CHUNK: Cost = { usdMicros: 1_000_000n, tokens: 200_000n, calls: 100n };
/** Top-ups that may wait for one answer of the ledger; more are refused at once. */
export const TOP_UPS_WAITING_MAX = 1_024;
/** How long a no of the ledger stands for whoever needs as much or more, nanoseconds. */
export const REFUSAL_BELIEVED_NS = 200_000_000n;
const NS_PER_MS = 1_000_000n;
/** Questions to the ledger for one top-up; what it was lent may be gone to others each time. */
export const ASKS_PER_TOP_UP_MAX = 6;
/** Amounts beyond it have no place on the wire, and no limit reaches it. */
const AMOUNT_MAX = BigInt(Number.MAX_SAFE_INTEGER);
const MOST: Cost = { usdMicros: AMOUNT_MAX, tokens: AMOUNT_MAX, calls: AMOUNT_MAX };
const ONE: Cost = { usdMicros: 1n, tokens: 1n, calls: 1n };

export function onTopUp(
  state: AgentState,
  { id, need, floor }: Extract<AgentMessage, { t: "top_up" }>,
  env: StepEnv,
): StepResult {
  if (state.waiting.length >= TOP_UPS_WAITING_MAX) {
    return { state, effects: [unavailable({ id })], durable: false };
  }
  const one: Waiting = { id, need, floor, asks: 0, drawn: false };
  return serve({ ...state, waiting: [...state.waiting, one] }, env);
}

export function onLeased(
  state: AgentState,
  { lease, unlimited, answers }: Extract<AgentMessage, { t: "leased" }>,
  env: StepEnv,
): StepResult {
  const { limits } = state;
  const asking = answers ? state.asking : undefined;
  const paid = payDebt(addLease(state.book, lease), env.nowNs);
  const { book, settlements } = closeLeases(coverExpired(paid, env.nowNs), {
    nowNs: env.nowNs,
    giveBack: false,
  });
  const isNews = unlimited !== undefined && asking?.limitsNo === limits.no;
  const wasDrawn = asking?.kind === "draw";
  const next: AgentState = {
    ...state,
    book,
    limits: isNews ? { unlimited, untilNs: lease.deadlineNs, no: limits.no } : limits,
    asking: answers ? undefined : state.asking,
    refusal: wasDrawn ? withoutDrawn(state.refusal, lease.amount) : undefined,
    waiting: wasDrawn ? drawn(state.waiting, asking.id) : state.waiting,
  };
  const effects: Effect[] = settlements.map((settlement) => ({ t: "settle", settlement }));
  effects.push({ t: "unlimited", units: unlimitedNow(next, env.nowNs) });
  const taken: StepResult = { state: next, effects, durable: true };
  // It ended before it came, and whoever asked had it asked for again: asking on would only empty it.
  if (answers && env.nowNs >= lease.deadlineNs) return andThen(taken, allUnavailable);
  return andThen(taken, (served) => serve(served, env));
}

/** The ledger said no to the one it was asked for; the others may need less. */
export function onNotLeased(
  state: AgentState,
  { answer, returned }: Extract<AgentMessage, { t: "not_leased" }>,
  env: StepEnv,
): StepResult {
  const { asking } = state;
  const next = { ...state, asking: undefined };
  if (answer.outcome === "unavailable" || asking === undefined) return allUnavailable(next);
  const one = state.waiting.find(({ id }) => id === asking.id);
  const mayAskAgain = one !== undefined && one.asks < ASKS_PER_TOP_UP_MAX;
  const isStale = asking.limitsNo !== state.limits.no || (mayAskAgain && returned !== env.returned);
  if (isStale) return serve(next, env);
  const refusal = {
    need: asking.need,
    available: answer.available,
    shortfall: answer.shortfall,
    returned: env.returned,
    untilNs: env.nowNs + believedNs(answer.shortfall, env.nowMs),
  };
  // Others were quicker than a draw; it is not tried again, so that its request gets its answer.
  const waiting = asking.kind === "draw" ? drawn(state.waiting, asking.id) : state.waiting;
  return serve({ ...next, refusal, waiting }, env);
}

/**
 * How long the ledger's no may be repeated: what a window's end makes untrue ends with it. A clock that
 * differs from the ledger's by more than that says nothing about the end, and makes nobody ask for ever.
 */
function believedNs(shortfall: Shortfall | undefined, nowMs: number): bigint {
  const leftMs = (shortfall?.endsAtMs ?? 0) - nowMs;
  const leftNs = leftMs > 0 ? BigInt(Math.ceil(leftMs)) * NS_PER_MS : REFUSAL_BELIEVED_NS;
  return min(leftNs, REFUSAL_BELIEVED_NS);
}

/** Answers whoever can be answered, and asks the ledger for the first of the others. */
export function serve(state: AgentState, env: StepEnv): StepResult {
  const sorted = sort(state, env);
  const stillShort = atLeastZero(minus(sorted.given, env.balance));
  const room = lendable(state.book, env.nowNs);
  const amount = byUnit((unit) =>
    stillShort[unit] === 0n ? 0n : min(room[unit], max(stillShort[unit], CHUNK[unit])),
  );
  const isLent = !isNothing(amount);
  const book = isLent ? lendFrom(state.book, amount, env.nowNs) : state.book;
  const effects: Effect[] = [
    ...(isLent ? [{ t: "lend" as const, amount }] : []),
    ...sorted.replies,
  ];
  const asking = state.asking ?? sorted.asking;
  if (asking !== undefined && state.asking === undefined) effects.push(asked(asking));
  const waiting = sorted.waiting.map((one) =>
    state.asking === undefined && one.id === asking?.id ? { ...one, asks: one.asks + 1 } : one,
  );
  return { state: { ...state, book, waiting, asking }, effects, durable: isLent };
}

type Sorted = {
  readonly replies: readonly Effect[];
  readonly waiting: readonly Waiting[];
  /** What those who are answered may take out of the table together. */
  readonly given: Cost;
  readonly asking: Asking | undefined;
};

function sort(state: AgentState, env: StepEnv): Sorted {
  const unlimited = unlimitedNow(state, env.nowNs);
  const needOf = (one: Waiting) => masked(one.need, unlimited);
  const replies: Effect[] = [];
  const waiting: Waiting[] = [];
  const refused: Waiting[] = [];
  let have = plus(env.balance, lendable(state.book, env.nowNs));
  let given = NOTHING;
  for (const one of state.waiting) {
    const need = needOf(one);
    const outcome = outcomeOf(one, have, state, env);
    if (outcome === undefined) waiting.push(one);
    else if (outcome === "exhausted") refused.push(one);
    else replies.push({ t: "reply", id: one.id, answer: { outcome } });
    if (outcome !== "ok") continue;
    have = minus(have, need);
    given = plus(given, need);
  }
  const asking = questionFor(waiting, have, state, env);
  // Last, so that nobody goes without for what these may not even use.
  for (const one of refused) {
    const need = needOf(one);
    const part = least(have, need);
    replies.push({ t: "reply", id: one.id, answer: noTo(one, have, state, env) });
    if (one.floor === undefined) continue;
    have = minus(have, part);
    given = plus(given, part);
  }
  return { replies, waiting, given, asking };
}

/** The no, and what would have fitted: what lies here, and the ledger's where it is only to be told. */
function noTo(one: Waiting, have: Cost, state: AgentState, env: StepEnv): TopUpAnswer {
  const need = masked(one.need, unlimitedNow(state, env.nowNs));
  const { refusal } = state;
  const isTold = one.floor === undefined && refusal !== undefined && env.nowNs < refusal.untilNs;
  const part = least(isTold ? plus(have, refusal.available) : have, need);
  return { outcome: "exhausted", left: plus(part, minus(one.need, need)) };
}

/** The question for the first who waits; a need that is asked for is asked for all who lack it. */
function questionFor(
  waiting: readonly Waiting[],
  have: Cost,
  state: AgentState,
  env: StepEnv,
): Asking | undefined {
  const unlimited = unlimitedNow(state, env.nowNs);
  const shortOf = (one: Waiting) => atLeastZero(minus(masked(one.need, unlimited), have));
  const [first] = waiting;
  if (first === undefined) return undefined;
  const need = shortOf(first);
  if (isRefused(need, state, env)) return drawFor(first, have, state, env);
  const want = wanted(need, waiting.map(shortOf).reduce(plus, NOTHING));
  return { id: first.id, kind: "need", need, want, limitsNo: state.limits.no };
}

function outcomeOf(
  one: Waiting,
  have: Cost,
  state: AgentState,
  env: StepEnv,
): "ok" | "exhausted" | "unavailable" | undefined {
  const { refusal, asking } = state;
  const need = masked(one.need, unlimitedNow(state, env.nowNs));
  const short = atLeastZero(minus(need, have));
  if (isNothing(short)) return "ok";
  if (asking?.kind === "draw" && asking.id === one.id) return undefined;
  if (one.drawn || !coversCost(MOST, short)) return "exhausted";
  if (refusal !== undefined && isRefused(short, state, env)) {
    const mayDraw = one.floor !== undefined && one.asks < ASKS_PER_TOP_UP_MAX;
    const draw = mayDraw ? drawFor(one, have, state, env) : undefined;
    return draw && coversCost(refusal.available, draw.need) ? undefined : "exhausted";
  }
  return one.asks >= ASKS_PER_TOP_UP_MAX ? "unavailable" : undefined;
}

/** True while the ledger's word stands that this much, or less, does not fit. */
function isRefused(short: Cost, { refusal }: AgentState, env: StepEnv): boolean {
  if (refusal === undefined || env.nowNs >= refusal.untilNs) return false;
  return refusal.returned === env.returned && coversCost(short, refusal.need);
}

/** In units that are short: what all who wait lack, and at least a chunk, so that it is worth it. */
function wanted(short: Cost, shortInAll: Cost): Cost {
  return byUnit((unit) =>
    short[unit] === 0n ? 0n : min(AMOUNT_MAX, max(CHUNK[unit], shortInAll[unit])),
  );
}

/** What to ask for once the need was refused: enough for the lowered output limit, all there is at best. */
function drawFor(one: Waiting, have: Cost, state: AgentState, env: StepEnv): Asking {
  const unlimited = unlimitedNow(state, env.nowNs);
  const lacking = (cost: Cost) => atLeastZero(minus(masked(cost, unlimited), have));
  const short = lacking(one.need);
  const need = largest(lacking(one.floor ?? NOTHING), least(short, ONE));
  return { id: one.id, kind: "draw", need, want: short, limitsNo: state.limits.no };
}

function allUnavailable(state: AgentState): StepResult {
  const effects = state.waiting.map(unavailable);
  return { state: { ...state, waiting: [] }, effects, durable: false };
}

function unavailable({ id }: { readonly id: number }): Effect {
  return { t: "reply", id, answer: UNAVAILABLE };
}

function asked(asking: Asking): Effect {
  return { t: "ask", asking };
}

function drawn(waiting: readonly Waiting[], id: number): readonly Waiting[] {
  return waiting.map((one) => (one.id === id ? { ...one, drawn: true } : one));
}

/** What was drawn is missing in the ledger now, so less than before is too much there. */
function withoutDrawn(refusal: AgentState["refusal"], amount: Cost): AgentState["refusal"] {
  if (refusal === undefined) return undefined;
  const need = atLeastZero(minus(refusal.need, amount));
  return { ...refusal, need, available: atLeastZero(minus(refusal.available, amount)) };
}

/** The amounts in units that have a limit; `unlimited` is 1 in the others. */
function masked(amount: Cost, unlimited: Cost): Cost {
  return byUnit((unit) => (unlimited[unit] === 0n ? amount[unit] : 0n));
}

function min(a: bigint, b: bigint): bigint {
  return a < b ? a : b;
}

function max(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}
