import { setImmediate as nextTurn } from "node:timers/promises";
import type { Cost } from "../decision/facts.ts";
import type { TopUpAnswer } from "../thread-messages.ts";
import { isNothing, NOTHING, plus } from "./account-book.ts";
import type { ActorHostDeps } from "./actor-host-deps.ts";
import { isNews, step } from "./agent-actor.ts";
import {
  type AccountNews,
  type AgentMessage,
  type AgentNews,
  type Effect,
  quiet,
  type StepResult,
  UNAVAILABLE,
  unlimitedNow,
  withoutLending,
} from "./agent-state.ts";
import { LedgerCalls } from "./ledger-calls.ts";
import { Refusals } from "./refusals.ts";
import { Replies } from "./replies.ts";
import {
  type ActorView,
  countTick,
  isForgettable,
  isQuietAfter,
  newSeat,
  phaseOf,
  type Seat,
  viewOf,
  watchDeadline,
} from "./seat.ts";
import { SeatMap } from "./seat-map.ts";
import { isOwed, SettlementOutbox } from "./settlement-outbox.ts";
import { StandingWatch } from "./standing-watch.ts";
import { readStored, recoverBooks, writesOf } from "./stored-accounts.ts";
import { TickRound } from "./tick-round.ts";

// One account, one mailbox, one turn at a time.
//
// The host owns: mailboxes, the store, replies, timers, what is asked of the ledger. An actor owns
// the meaning of a message (agent-actor.ts).
//
// A1. `step` runs only inside `#turn`. Two turns of one account never overlap.
// A2. `step` is synchronous and pure. Time, policy and the balance come in through `env`.
// A3. Nothing is lent and no reply leaves before its commit resolved. A crash loses only what nobody
//     was told, and the table is told last. A commit that failed is tried again before any later
//     message is looked at, since nobody knows whether it took place.
// A4. Recovery counts everything lent as spent, since no table survives a crash; but for what a whole
//     log proves to have lain there.
// A5. Mailboxes are bounded. A full one refuses a top-up as `unavailable`; it never waits.
// A6. A settlement carries its lease's epoch; the ledger ignores one of another epoch.

export const MAILBOX_MAX = 4_096;
/** How long an account is left alone after a commit that failed. */
export const STORE_RETRY_MS = 500;

export class ActorHost {
  readonly #deps: ActorHostDeps;
  readonly #outbox: SettlementOutbox;
  readonly #calls: LedgerCalls;
  readonly #standings: StandingWatch;
  readonly #seats = new SeatMap();
  readonly #replies = new Replies();
  readonly #refusals: Refusals;
  readonly #round: TickRound<Seat>;
  #isDraining = false;

  constructor(deps: ActorHostDeps) {
    this.#deps = deps;
    this.#round = new TickRound(deps.clock);
    this.#refusals = new Refusals(deps.clock);
    this.#outbox = new SettlementOutbox(deps);
    const outbox = this.#outbox;
    this.#calls = new LedgerCalls({
      ...deps,
      outbox,
      post: (seat, message) => this.#post(seat, message),
    });
    this.#standings = new StandingWatch({
      ...deps,
      report: (seat) => void this.#calls.report(seat),
    });
  }

  /** Settles what an earlier run left open (A4); the rest of each lease goes back. */
  async recover(): Promise<void> {
    await recoverBooks(this.#deps);
    void this.#outbox.send();
  }

  /**
   * Brings the account's till up to `need`, or says why not. Resolves always.
   *
   * @param floor What would do with a lower output limit, where policy allows one.
   */
  topUp(account: string, need: Cost, floor?: Cost): Promise<TopUpAnswer> {
    const seat = this.#isDraining ? undefined : this.#seat(account);
    const isFull = seat !== undefined && seat.mailbox.length >= MAILBOX_MAX;
    if (seat === undefined || isFull || seat.stalled) return Promise.resolve(UNAVAILABLE);
    const { id, answer } = this.#replies.expect();
    this.#post(seat, { t: "top_up", id, need, floor });
    return answer;
  }

  /** @param uncovered What of it nothing in the table could pay. */
  settled(account: string, spent: Cost, uncovered: Cost = NOTHING, requestId?: string): void {
    const seat = this.#seat(account);
    const last = seat?.mailbox.at(-1);
    if (seat === undefined) return;
    // Many settle while a commit is under way: they are one message.
    if (last?.t === "settled") seat.mailbox.pop();
    const before = last?.t === "settled" ? last : { spent: NOTHING, uncovered: NOTHING };
    this.#post(seat, {
      t: "settled",
      spent: plus(before.spent, spent),
      uncovered: plus(before.uncovered, uncovered),
      requestId,
    });
  }

  /** News of the agent. May be dropped where thousands wait already: no bound rests on a score. */
  tell(account: string, news: AgentNews): void {
    const seat = this.#seat(account);
    if (seat !== undefined && seat.mailbox.length < MAILBOX_MAX) this.#post(seat, news);
  }

  /** What the coordinator knows of an account. Whoever is not active here is not woken by it. */
  news(account: string, news: AccountNews): void {
    const seat = this.#seats.get(account);
    if (seat === undefined || seat.mailbox.length >= MAILBOX_MAX) return;
    // With nothing before it that may change what the account knows, no turn is needed to see that it is no news.
    if (seat.running || seat.stalled || isNews(seat.state, news))
      this.#post(seat, { t: "news", ...news });
  }

  /** A row of this account came: it starts with what its actor knows. */
  rowCame(account: string): void {
    const seat = this.#seat(account);
    if (seat === undefined) return;
    this.#refusals.end(seat);
    seat.till.setStanding(seat.state.ladder.standing);
    seat.till.setUnlimited(unlimitedNow(seat.state, this.#deps.clock.monoNs()));
  }

  /** The account's money came back from a row that is gone. */
  takenBack(account: string, amount: Cost): void {
    const seat = this.#seat(account);
    if (seat !== undefined) this.#post(seat, { t: "taken_back", amount, giveBack: true });
  }

  /** Policy or limits changed: every account asks the ledger anew which units count. */
  limitsChanged(): void {
    for (const seat of this.#seats.values()) {
      // At once, and again in its turn: an answer under way may still set them in between.
      seat.till.setUnlimited(NOTHING);
      this.#refusals.end(seat);
      this.#post(seat, { t: "limits_changed" });
      this.#standings.limitsChanged(seat);
    }
  }

  /** Once a second: decay, settlements that were not acknowledged, idle accounts. */
  tick(idleNs: bigint): void {
    const { clock, policy } = this.#deps;
    this.#round.begin(this.#seats, (seat, nowNs) => {
      const phase = phaseOf(seat, nowNs, idleNs);
      if (phase === "rests" || seat.stalled) return;
      const isIdle = phase === "idle";
      const now = { ladder: policy()?.ladder, nowMs: clock.nowMs() };
      if (isIdle && isForgettable(seat, now)) this.#forget(seat);
      else this.#tickSeat(seat, nowNs, isIdle);
    });
    void this.#outbox.send();
  }

  /** Takes everything back and settles what is due; for an orderly end. */
  async drain(): Promise<void> {
    this.#isDraining = true;
    this.#round.stop();
    const seats = [...this.#seats.values()];
    while (seats.some((seat) => seat.calling || seat.running)) {
      await Promise.all(seats.map((seat) => seat.calling));
      await nextTurn();
    }
    for (const seat of seats) this.#takeBack(seat, true);
    while (seats.some((seat) => seat.running)) await nextTurn();
    for (const seat of seats) seat.cancelDeadline();
    await this.#outbox.send();
    await this.#outbox.send(); // The first may have looked before the last settlement was written.
  }

  view(account: string): ActorView | undefined {
    const seat = this.#seats.get(account);
    return seat && viewOf(seat);
  }

  /** Accounts with an actor in memory, in no particular order. */
  get accounts(): Pick<SeatMap, "keys" | "has" | "size" | "follow"> {
    return this.#seats;
  }

  /** Undefined: what is stored of the account cannot be read, so it is not served. */
  #seat(account: string): Seat | undefined {
    const { clock, store, tillOf, onFault } = this.#deps;
    const nowNs = clock.monoNs();
    const known = this.#seats.get(account);
    if (known !== undefined) {
      known.lastUsedNs = nowNs;
      return known;
    }
    const state = readStored(store, account, { nowMs: clock.nowMs(), onFault });
    if (state === undefined) return undefined;
    const seat = newSeat({ account, till: tillOf(account), state, nowNs });
    this.#seats.set(account, seat);
    seat.till.setStanding(state.ladder.standing);
    return seat;
  }

  #post(seat: Seat, message: AgentMessage): void {
    seat.mailbox.push(message);
    if (!seat.running && !seat.stalled) void this.#run(seat);
  }

  async #run(seat: Seat): Promise<void> {
    seat.running = true;
    while (!seat.stalled) {
      const message = seat.mailbox.shift();
      if (message === undefined) break;
      await this.#turn(seat, message);
    }
    seat.running = false;
  }

  /** Never rejects. */
  async #turn(seat: Seat, message: AgentMessage): Promise<void> {
    const result = this.#step(seat, message);
    if (result === undefined) return;
    seat.isQuiet = isQuietAfter(seat, message, result);
    const error = await this.#commit(seat, result);
    if (error === undefined) return this.#apply(seat, result);
    // What was lent to a top-up and what was not is the same to the ledger, so that may be forgotten.
    // Everything else is news that came once.
    if (message.t === "top_up") this.#replies.tell(message.id, UNAVAILABLE);
    this.#stall(seat, message.t === "top_up" ? undefined : result, error);
  }

  #apply(seat: Seat, { state, effects }: StepResult): void {
    this.#refusals.moved(seat, state);
    const before = seat.state;
    seat.state = state;
    this.#carryOutAll(seat, effects);
    watchDeadline(seat, before, this.#deps.clock, () => this.#leaseEnded(seat));
    this.#seats.changed(seat.account);
  }

  /** B2, A3: what is about to be lent, and what is owed, is on disk before anything else happens. */
  async #commit(seat: Seat, result: StepResult): Promise<unknown> {
    if (!result.durable) return undefined;
    try {
      await this.#deps.store.commit(writesOf(seat, result, this.#deps));
      return undefined;
    } catch (error) {
      return error;
    }
  }

  #step(seat: Seat, message: AgentMessage): StepResult | undefined {
    const { clock, policy, onFault } = this.#deps;
    const env = {
      nowMs: clock.nowMs(),
      nowNs: clock.monoNs(),
      ladder: policy()?.ladder,
      balance: seat.till.balance(),
      returned: this.#outbox.returned,
    };
    try {
      return step(seat.state, message, env);
    } catch (error) {
      // A bug of ours: the message is lost, which at most leaves money charged that was not spent.
      onFault(error);
      if (message.t === "top_up") this.#replies.tell(message.id, UNAVAILABLE);
      if (message.t !== "leased" && message.t !== "not_leased") return undefined;
      this.#refuseWaiting(seat);
      return quiet({ ...seat.state, asking: undefined });
    }
  }

  /**
   * The store failed, and whether it kept the writes is unknown: settlements among them may be on
   * their way. So the same writes are tried until they are kept, and nothing else happens before.
   * Nobody waits for that.
   */
  #stall(seat: Seat, result: StepResult | undefined, error: unknown): void {
    this.#deps.onFault(error);
    seat.stalled = true;
    for (const one of seat.mailbox) if (one.t === "top_up") this.#replies.tell(one.id, UNAVAILABLE);
    seat.mailbox = seat.mailbox.filter(({ t }) => t !== "top_up");
    this.#refuseWaiting(seat);
    this.#deps.clock.after(STORE_RETRY_MS, () => void this.#retry(seat, result));
  }

  async #retry(seat: Seat, result: StepResult | undefined): Promise<void> {
    if (result !== undefined) {
      const error = await this.#commit(seat, result);
      if (error !== undefined) return this.#stall(seat, result, error);
      // Whoever it was to be lent to has gone, and its lease may have ended since.
      const { kept, amount } = withoutLending(result);
      this.#apply(seat, kept);
      if (!isNothing(amount)) seat.mailbox.unshift({ t: "taken_back", amount, giveBack: false });
    }
    seat.stalled = false;
    if (!seat.running) void this.#run(seat);
  }

  #refuseWaiting(seat: Seat): void {
    for (const { id } of seat.state.waiting) this.#replies.tell(id, UNAVAILABLE);
    seat.state = { ...seat.state, waiting: [] };
  }

  #carryOutAll(seat: Seat, effects: readonly Effect[]): void {
    let isRowGone = false;
    for (const effect of effects) {
      try {
        if (effect.t === "lend") isRowGone = !this.#lend(seat, effect.amount);
        else this.#carryOut(seat, effect, isRowGone);
      } catch (error) {
        // One effect's bug must not cost the others, replies above all.
        this.#deps.onFault(error);
      }
    }
  }

  #lend(seat: Seat, amount: Cost): boolean {
    if (seat.till.lend(amount)) return true;
    this.#post(seat, { t: "taken_back", amount, giveBack: false });
    return false;
  }

  #carryOut(seat: Seat, effect: Exclude<Effect, { t: "lend" }>, isRowGone: boolean): void {
    switch (effect.t) {
      case "unlimited":
        seat.till.setUnlimited(effect.units);
        return;
      case "reply":
        if (isRowGone) this.#replies.tell(effect.id, { outcome: "row_gone" });
        else this.#replies.tell(effect.id, this.#refusals.withStanding(seat, effect.answer));
        return;
      case "ask":
        this.#calls.ask(seat, effect.asking);
        return;
      case "settle":
        // These lie in the outbox by now and are sent from there.
        if (isOwed(effect.settlement)) void this.#outbox.send();
        else this.#deps.ledger.settle(effect.settlement).catch(this.#deps.onFault);
        return;
      case "take_back":
        this.#takeBack(seat);
        return;
      case "standing":
        this.#standings.changed(seat, effect.change);
        return;
      case "report":
        void this.#calls.report(seat);
        return;
    }
  }

  #tickSeat(seat: Seat, nowNs: bigint, isIdle: boolean): void {
    if (isIdle) this.#takeBack(seat, true);
    if (seat.unanswered && seat.state.asking === undefined && seat.calling === undefined) {
      this.#calls.findLost(seat);
    }
    const { report, tell, isWanted } = countTick(seat, nowNs);
    this.#standings.tick(seat, report);
    if (isWanted) this.#post(seat, { t: "tick", report: tell });
  }

  #takeBack(seat: Seat, giveBack = false): void {
    this.#refusals.end(seat);
    const amount = seat.till.takeBack();
    const isWanted = giveBack && seat.state.book.leases.length > 0;
    if (isWanted || !isNothing(amount)) this.#post(seat, { t: "taken_back", amount, giveBack });
  }

  #leaseEnded(seat: Seat): void {
    this.#refusals.end(seat);
    seat.till.setUnlimited(unlimitedNow(seat.state, this.#deps.clock.monoNs()));
    this.#post(seat, { t: "taken_back", amount: seat.till.takeBack(), giveBack: false });
  }

  #forget(seat: Seat): void {
    // Nobody would take the flags away when limits change.
    seat.till.setUnlimited(NOTHING);
    this.#refusals.end(seat);
    seat.cancelDeadline();
    this.#seats.delete(seat.account);
  }
}
