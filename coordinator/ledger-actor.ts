// One ledger, one writer, one turn at a time.
//
// A1. A batch of calls is one commit; no answer leaves before that commit is on disk (I4).
// A2. Every commit is guarded by this run's epoch. Once another run has begun, nothing is granted.
// A3. After a commit whose outcome is unknown, or a bug in a turn, memory is thrown away and the
//     store is read again: what it holds is what happened.
// A4. The mailbox is bounded; a full one refuses at once.

import { type Clock, monoMs } from "../ports/clock.ts";
import { pooledRandom } from "../ports/pooled-random.ts";
import { type Random, uuidV7 } from "../ports/random.ts";
import type { Store } from "../ports/store.ts";
import { type AccountLimits, accountNamesOf } from "./account-limits.ts";
import type { Epoch } from "./epoch.ts";
import type { Tell } from "./events.ts";
import {
  type Barred,
  type LeaseAsk,
  type LeaseGrant,
  Ledger,
  type LedgerEnv,
  type LedgerRefusal,
  type SettleAsk,
  type Settled,
} from "./ledger.ts";
import type { LedgerContracts } from "./ledger-contracts.ts";
import { type Lease, memoKey } from "./ledger-lease.ts";
import type { LedgerRow } from "./ledger-row.ts";
import type { LedgerSettings } from "./ledger-settings.ts";
import { LEDGER_PREFIX, LedgerState, type LimitOverride } from "./ledger-state.ts";

/** Where the ledger lies. Reads show commits once they have resolved: it makes one at a time. */
export type LedgerStore = Pick<Store, "get" | "list" | "commit"> & {
  /** Share of what it takes before nothing is lent any more; absent where the disk alone bounds it. */
  readonly fill?: number;
};

export type LedgerActorOptions = {
  readonly store: LedgerStore;
  readonly clock: Clock;
  readonly random: Random;
  readonly tell: Tell;
  readonly settings: LedgerSettings;
  readonly epoch: Epoch;
  /** Nodes that share what is left. */
  readonly activeNodes: () => number;
  /** Whether a node was taken out of the mesh. */
  readonly isRemoved: (node: string) => boolean;
  /** Calls that wait for a turn. */
  readonly mailboxMax: number;
  /** Called once, when another run has taken over (A2). */
  readonly onFenced: () => void;
};

/** Calls of one commit at most, so that a reply never waits for a thousand others. */
const BATCH_MAX = 256;
const TICK_MS = 1_000;
/** Refused requests that are remembered. */
const REFUSALS_MAX = 10_000;

/** The ledger could not be written or read; whether the call had an effect is unknown. */
export class LedgerFault extends Error {
  constructor(message: string, options?: { cause: unknown }) {
    super(message, options);
    this.name = "LedgerFault";
  }
}

/** The account's rows as the answer leaves them: whoever is told of both need not wait twice. */
export type AccountRows = { readonly rows: readonly LedgerRow[] };

export type ActorLeaseAsk = Omit<LeaseAsk, "leaseId">;

type Turn = (ledger: Ledger, env: LedgerEnv) => unknown;
type Call = {
  readonly turn: Turn;
  readonly resolve: (answer: unknown) => void;
  readonly reject: (fault: LedgerFault) => void;
};

export class LedgerActor {
  readonly #options: LedgerActorOptions;
  readonly #random: Random;
  readonly #mailbox: Call[] = [];
  #limits: AccountLimits = [];
  /** Absent when memory is not known to equal the store. */
  #open: { readonly ledger: Ledger; readonly state: LedgerState } | undefined;
  readonly #refused = new Map<string, LedgerRefusal | Barred>();
  #isRunning = false;
  #idle: Promise<void> = Promise.resolve();
  #isFenced = false;
  #isStopped = false;
  #cancelTick: () => void = () => undefined;

  /** @throws LedgerCorrupt What is stored does not add up; nothing may be lent on it. */
  constructor(options: LedgerActorOptions) {
    this.#options = options;
    this.#random = pooledRandom(options.random);
    this.#open = this.#load();
    this.#tick();
  }

  /**
   * Rejects with LedgerFault. What was granted before `barred` came to be so is told with no time left:
   * a node that did not hear of it gives it back, and it does not stay charged.
   */
  lease(ask: ActorLeaseAsk): Promise<(LeaseGrant & AccountRows) | LedgerRefusal | Barred> {
    if (this.#isFull()) return Promise.resolve(this.#full());
    const leaseId = uuidV7(this.#options.clock.nowMs(), this.#random);
    return this.#call((ledger, env) => {
      const memo = memoKey(ask);
      const refusedBefore = this.#refused.get(memo);
      if (refusedBefore) return refusedBefore;
      const answer = ledger.lease({ ...ask, leaseId }, env);
      if ("refused" in answer) {
        this.#rememberRefusal(memo, answer);
        return answer;
      }
      const { ttlMs } = answer;
      const rows = ledger.rows(answer.account);
      return { ...answer, ttlMs: ask.barred ? 0 : ttlMs, rows };
    });
  }

  /** A request that was refused stays so: nobody waits any more for what a repetition would get. */
  #rememberRefusal(memo: string, refusal: LedgerRefusal | Barred): void {
    this.#refused.set(memo, refusal);
    for (const oldest of this.#refused.keys()) {
      if (this.#refused.size <= REFUSALS_MAX) break;
      this.#refused.delete(oldest);
    }
  }

  /** Rejects with LedgerFault. */
  settle(ask: SettleAsk): Promise<(Settled & AccountRows) | LedgerRefusal> {
    if (this.#isFull()) return Promise.resolve(this.#full());
    return this.#call((ledger, env) => {
      const answer = ledger.settle(ask, env);
      return "refused" in answer ? answer : { ...answer, rows: ledger.rows(answer.account) };
    });
  }

  /** A turn over the accounts of contracts. Rejects with LedgerFault. */
  contracts<T>(turn: (contracts: LedgerContracts) => T): Promise<T> {
    return this.#call((ledger, env) => {
      ledger.roll(env);
      return turn(ledger.contracts);
    });
  }

  /** Takes over all that an operator has set of an account. False: a newer record has spoken. */
  override(account: string, limits: readonly LimitOverride[], v: number): Promise<boolean> {
    return this.#call((ledger, env) => ledger.override(account, limits, v, env));
  }

  /** Takes over what policy says, before any call that is made after this one. */
  setLimits(limits: AccountLimits): void {
    this.#limits = limits;
    this.#open?.ledger.setLimits(limits);
  }

  /** Rows of one account or of all, as they are on disk. */
  rows(account?: string): Promise<readonly LedgerRow[]> {
    return this.#call((ledger, env) => {
      ledger.roll(env);
      return ledger.rows(account);
    });
  }

  /** Leases that nodes may still be spending from, or have not accounted for. */
  openLeases(): Promise<readonly Lease[]> {
    return this.#call((ledger, env) => {
      ledger.roll(env);
      return ledger.openLeases().map((lease) => ({ ...lease }));
    });
  }

  /** Accounts that policy gives limits. */
  accountNames(): readonly string[] {
    return accountNamesOf(this.#limits);
  }

  /** Takes no more calls. Resolves once the store is no longer used. */
  stop(): Promise<void> {
    this.#isStopped = true;
    this.#cancelTick();
    this.#rejectAll(this.#mailbox.splice(0), new LedgerFault("the coordinator is stopping"));
    return this.#idle;
  }

  #isFull(): boolean {
    return this.#mailbox.length >= this.#options.mailboxMax;
  }

  #full(): LedgerRefusal {
    const message = `${this.#options.mailboxMax} calls wait for the ledger`;
    return { refused: "budget_unavailable", message };
  }

  #call<T>(turn: (ledger: Ledger, env: LedgerEnv) => T): Promise<T> {
    if (this.#isFenced) return Promise.reject(new LedgerFault("another coordinator lends now"));
    if (this.#isStopped) return Promise.reject(new LedgerFault("the coordinator is stopping"));
    return new Promise<T>((resolve, reject) => {
      this.#mailbox.push({ turn, resolve: resolve as Call["resolve"], reject });
      if (!this.#isRunning) this.#idle = this.#run();
    });
  }

  async #run(): Promise<void> {
    this.#isRunning = true;
    // Calls made in the same turn of the event loop share the first commit.
    await Promise.resolve();
    while (this.#mailbox.length > 0) await this.#batch(this.#mailbox.splice(0, BATCH_MAX));
    this.#isRunning = false;
  }

  async #batch(calls: readonly Call[]): Promise<void> {
    try {
      this.#open ??= this.#load();
      const { ledger, state } = this.#open;
      const env = this.#env();
      const answers = calls.map(({ turn }) => turn(ledger, env));
      const writes = state.takeWrites();
      if (writes.length > 0) {
        const outcome = await this.#options.store.commit(writes, this.#options.epoch.guard);
        if (outcome === "conflict") return this.#fence(calls);
      }
      for (const [index, call] of calls.entries()) call.resolve(answers[index]);
      this.#tellWrittenOff(ledger);
    } catch (cause) {
      this.#open = undefined;
      this.#options.tell("ledger_failed", { error: String(cause) });
      this.#rejectAll(calls, new LedgerFault("the ledger could not be written", { cause }));
    }
  }

  #tellWrittenOff(ledger: Ledger): void {
    for (const { unknown, ...rest } of ledger.ends.takeWrittenOff()) {
      this.#options.tell("leases_written_off", { ...rest, ...unknown });
    }
  }

  #fence(calls: readonly Call[]): void {
    this.#isFenced = true;
    this.#cancelTick();
    this.#options.tell("ledger_fenced", { epoch: this.#options.epoch.epoch });
    const fault = new LedgerFault("another coordinator lends now");
    this.#rejectAll([...calls, ...this.#mailbox.splice(0)], fault);
    this.#options.onFenced();
  }

  #rejectAll(calls: readonly Call[], fault: LedgerFault): void {
    for (const call of calls) call.reject(fault);
  }

  #load(): { readonly ledger: Ledger; readonly state: LedgerState } {
    const { store, clock, settings } = this.#options;
    const state = LedgerState.load(store.list(LEDGER_PREFIX), monoMs(clock));
    const ledger = new Ledger(settings, state);
    ledger.setLimits(this.#limits);
    return { ledger, state };
  }

  #env(): LedgerEnv {
    const { clock, epoch, store, activeNodes, isRemoved } = this.#options;
    return {
      nowMs: clock.nowMs(),
      monoMs: monoMs(clock),
      epoch: epoch.epoch,
      activeNodes: activeNodes(),
      isFull: (store.fill ?? 0) >= 1,
      isRemoved,
    };
  }

  /** Leases expire and windows end on disk too while nobody asks. */
  #tick(): void {
    this.#cancelTick = this.#options.clock.after(TICK_MS, () => {
      if (this.#isStopped || this.#isFenced) return;
      this.#call((ledger, env) => ledger.roll(env)).catch(() => undefined);
      this.#tick();
    });
  }
}
