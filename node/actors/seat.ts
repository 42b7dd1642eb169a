import type { LadderPolicy } from "../../policy/compiled-policy.ts";
import type { Cancel, Clock } from "../../ports/clock.ts";
import type { Cost } from "../decision/facts.ts";
import { hasExpired, isNothing, nextDeadlineNs } from "./account-book.ts";
import type { AgentMessage, AgentState, StepResult } from "./agent-state.ts";
import { isAtRest, isCalm } from "./ladder.ts";
import type { Till } from "./till.ts";

const NS_PER_MS = 1_000_000n;
/** Ticks between reports of what leases that go on have paid for. */
const REPORT_EVERY_TICKS = 5;
/** The same, where nothing is decided by it: an agent without a limit of its own. */
const UNLIMITED_EVERY_TICKS = 60;

/** One account in the host: its actor's state and everything that belongs to running it. */
export type Seat = {
  readonly account: string;
  readonly till: Till;
  state: AgentState;
  mailbox: AgentMessage[];
  running: boolean;
  /** A commit failed a moment ago; the message that wanted it is first in the mailbox. */
  stalled: boolean;
  lastUsedNs: bigint;
  /** Of the ledger's no that loops may repeat; 0: none. */
  refusalNo: number;
  /** Its last message was a tick that found nothing to do, and no other can before another message. */
  isQuiet: boolean;
  /** While it is quiet, no tick is for it before then; monotonic nanoseconds. */
  restsUntilNs: bigint;
  /** Ticks so far: whoever came at another time reports at another. */
  ticks: number;
  /** Ticks in each of which the mesh is asked what it knows of the account. */
  pollTicks: number;
  /** When it was last asked, monotonic nanoseconds. */
  polledNs: bigint;
  /** The ledger's last question may have been granted without our hearing of it. */
  unanswered: boolean;
  /** The call of the ledger that is under way: one at most. */
  calling: Promise<void> | undefined;
  /** When money next leaves the table by itself, monotonic nanoseconds. */
  deadlineNs: bigint | undefined;
  cancelDeadline: Cancel;
};

export function newSeat(
  of: Pick<Seat, "account" | "till" | "state"> & { readonly nowNs: bigint },
): Seat {
  return {
    account: of.account,
    till: of.till,
    state: of.state,
    mailbox: [],
    running: false,
    stalled: false,
    lastUsedNs: of.nowNs,
    refusalNo: 0,
    isQuiet: false,
    restsUntilNs: 0n,
    ticks: 0,
    pollTicks: 0,
    polledNs: of.nowNs,
    unanswered: false,
    calling: undefined,
    deadlineNs: undefined,
    cancelDeadline: () => undefined,
  };
}

/**
 * Money leaves the table when the first lease it may belong to ends, whoever is busy then.
 *
 * @param before The state before this one: where leases and limits are the same, so is the end.
 */
export function watchDeadline(
  seat: Seat,
  before: AgentState,
  clock: Clock,
  onDue: () => void,
): void {
  if (seat.state.book === before.book && seat.state.limits === before.limits) return;
  const nowNs = clock.monoNs();
  const dueNs = nextEndNs(seat.state, nowNs);
  if (dueNs === seat.deadlineNs) return;
  seat.deadlineNs = dueNs;
  seat.cancelDeadline();
  if (dueNs === undefined) return;
  seat.cancelDeadline = clock.after(Number((dueNs - nowNs) / NS_PER_MS) + 1, () => {
    seat.deadlineNs = undefined;
    onDue();
  });
}

/** The next instant at which a lease or the right not to count a unit ends. */
function nextEndNs({ book, limits }: AgentState, nowNs: bigint): bigint | undefined {
  const leaseNs = nextDeadlineNs(book, nowNs);
  if (nowNs >= limits.untilNs || isNothing(limits.unlimited)) return leaseNs;
  return leaseNs === undefined || limits.untilNs < leaseNs ? limits.untilNs : leaseNs;
}

/**
 * Counts a tick of the seat.
 *
 * @returns Whether it is one in which agents are reported, whether what its leases have paid for is told as
 *   well, and whether its actor is to have it: one of the others may find nothing to do.
 */
export function countTick(
  seat: Seat,
  nowNs: bigint,
): { readonly report: boolean; readonly tell: boolean; readonly isWanted: boolean } {
  seat.ticks += 1;
  const report = seat.ticks % REPORT_EVERY_TICKS === 0;
  const tell = report && (isCounted(seat) || seat.ticks % UNLIMITED_EVERY_TICKS === 0);
  return { report, tell, isWanted: !seat.isQuiet && (report || !isAtPeace(seat, nowNs)) };
}

/**
 * Whether somebody counts what the account has spent: for most agents the ledger keeps no limit but their team's, to
 * which lent and spent are the same, and word of the one's becoming the other is a third of all that is said to it.
 */
function isCounted({ account, state }: Seat): boolean {
  return state.ladder.uses.length > 0 || !account.startsWith("agent/");
}

/**
 * No score to decay, no debt that a lease could pay, nobody who waits, and no lease past its end that
 * is still to be closed.
 */
function isAtPeace({ state }: Seat, nowNs: bigint): boolean {
  const { book, ladder, waiting, asking } = state;
  if (waiting.length > 0 || asking !== undefined || !isAtRest(ladder)) return false;
  return isNothing(book.debt) && !hasExpired(book, nowNs);
}

/**
 * Whether another tick would find nothing to do either: what ends by itself has a timer of its own,
 * and a ladder that is calm falls no further.
 */
export function isQuietAfter(
  seat: Seat,
  message: AgentMessage,
  { state, effects }: StepResult,
): boolean {
  if (message.t !== "tick" || effects.length > 0) return false;
  // What nobody counts may stay untold meanwhile.
  if (!message.report && isCounted(seat)) return false;
  const { state: before } = seat;
  const { book, ladder, waiting, asking } = state;
  if (book !== before.book || waiting.length > 0 || asking !== undefined) return false;
  return isNothing(book.debt) && isAtRest(ladder);
}

/**
 * Whether there is a tick for the seat: none while it `rests`, in use and with nothing that a tick would do.
 *
 * Of ten thousands nearly all rest, and to look at more of each than this takes as long as lending to many.
 */
export function phaseOf(seat: Seat, nowNs: bigint, idleNs: bigint): "rests" | "used" | "idle" {
  if (seat.isQuiet && nowNs <= seat.restsUntilNs) return "rests";
  const idleAtNs = seat.lastUsedNs + idleNs;
  if (nowNs > idleAtNs) return "idle";
  const { isQuiet, unanswered, pollTicks } = seat;
  const hasToDo = !isQuiet || unanswered || pollTicks > 0;
  // What it found before something came to do says nothing of when that is done.
  seat.restsUntilNs = hasToDo ? 0n : idleAtNs;
  return hasToDo ? "used" : "rests";
}

/** Nothing of it would be lost: it is told again by the store and the ledger when it comes back. */
export function isForgettable(
  { state, mailbox, running, stalled, unanswered, calling }: Seat,
  { ladder: policy, nowMs }: { readonly ladder: LadderPolicy | undefined; readonly nowMs: number },
): boolean {
  const { book, ladder, waiting, asking } = state;
  if (running || stalled || unanswered || calling || asking || mailbox.length > 0) return false;
  if (book.leases.length > 0 || waiting.length > 0) return false;
  return isCalm(ladder, policy, nowMs);
}

/** What an operator sees of one account's actor. */
export type ActorView = {
  readonly account: string;
  readonly state: AgentState;
  readonly balance: Cost;
};

export function viewOf({ account, state, till }: Seat): ActorView {
  return { account, state, balance: till.balance() };
}
