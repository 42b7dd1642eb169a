import type { Bus } from "../ports/bus.ts";
import { BusFault } from "../ports/bus.ts";
import type { Clock } from "../ports/clock.ts";
import { pause } from "../ports/pause.ts";
import type { Random } from "../ports/random.ts";
import { type Store, StoreFault } from "../ports/store.ts";
import { type AccountLimits, accountNamesOf } from "./account-limits.ts";
import { storedContract } from "./contract-account.ts";
import { beginEpoch } from "./epoch.ts";
import type { JournalTrust } from "./journal-record.ts";
import { LeaderElection } from "./leader-election.ts";
import { LedgerActor, type LedgerActorOptions, LedgerFault } from "./ledger-actor.ts";
import type { LedgerContracts } from "./ledger-contracts.ts";
import { JournalFault, LedgerJournal } from "./ledger-journal.ts";
import { LedgerCorrupt } from "./ledger-state.ts";
import type { LedgerAmounts } from "./ledger-window.ts";

/** This coordinator's run that may have said last that it leads. */
const LEADER_BOOT_KEY = "leader-boot";
const MARK_RETRY_MS = 1_000;

/** The ledger as the rest of a coordinator sees it, whether this one leads it or another. */
export type LedgerDoor = Pick<
  LedgerActor,
  | "lease"
  | "settle"
  | "override"
  | "setLimits"
  | "rows"
  | "openLeases"
  | "accountNames"
  | "contracts"
  | "stop"
> & {
  /** Whether what nodes ask of the ledger is this coordinator's to answer. */
  readonly isLed: boolean;
  /**
   * When a contract ends, ms since the Unix epoch, as far as this coordinator's own copy of the ledger knows, whoever
   * leads it; `undefined` for a contract that was never opened.
   */
  contractEndMs(id: string): number | undefined;
  /** What a contract was granted, by the same copy; `undefined` for one that was never opened, or ended long ago. */
  contractGrant(id: string): LedgerAmounts | undefined;
  /**
   * Share of what the mesh's journal takes before nothing is lent any more, by the same copy; 0 where this
   * coordinator's disk alone bounds it.
   */
  readonly fill: number;
  /** Name of the coordinator that leads it, as far as is known. */
  readonly leader: string | undefined;
  start(): void;
  /**
   * Calls `fn` each time this coordinator begins to lead.
   *
   * @param fn Told how many leads there have been, this one included: at 1 nobody has lent anything yet.
   */
  onLed(fn: (leads: number) => void): void;
};

export type SharedLedgerOptions = Omit<LedgerActorOptions, "epoch" | "onFenced"> &
  JournalTrust & {
    readonly bus: Bus;
    readonly clock: Clock;
    readonly random: Random;
    readonly store: Store;
    readonly replicaId: string;
    readonly bootId: string;
    readonly leaderTtlMs: number;
    /** Takes in the mesh's newest trust bundle. Rejects with BusFault. */
    readonly learnTrust: () => Promise<void>;
    /** Whether this coordinator could lead now: it has read the mesh's state, and is trusted. */
    readonly isFit: () => boolean;
  };

/** A ledger on this coordinator's own disk: it alone lends. */
export function ownLedger(
  options: LedgerActorOptions & { readonly replicaId: string },
): LedgerDoor {
  const actor = new LedgerActor(options);
  return {
    isLed: true,
    fill: 0,
    leader: options.replicaId,
    start: () => undefined,
    onLed: () => undefined,
    lease: (ask) => actor.lease(ask),
    settle: (ask) => actor.settle(ask),
    override: (account, limits, v) => actor.override(account, limits, v),
    setLimits: (limits) => actor.setLimits(limits),
    rows: (account) => actor.rows(account),
    openLeases: () => actor.openLeases(),
    accountNames: () => actor.accountNames(),
    contracts: (turn) => actor.contracts(turn),
    contractEndMs: (id) => storedContract(options.store, id)?.expiresMs,
    contractGrant: (id) => storedContract(options.store, id)?.limit,
    stop: () => actor.stop(),
  };
}

/** A ledger in the mesh's journal: one of several coordinators leads it, and another takes over. */
export class SharedLedger implements LedgerDoor {
  readonly #options: SharedLedgerOptions;
  readonly #election: LeaderElection;
  readonly #onLed: ((leads: number) => void)[] = [];
  readonly #journal: LedgerJournal;
  readonly #stopping = new AbortController();
  #limits: AccountLimits = [];
  #actor: LedgerActor | undefined;

  constructor(options: SharedLedgerOptions) {
    this.#options = options;
    this.#journal = new LedgerJournal(options);
    const before = options.store.get(LEADER_BOOT_KEY);
    this.#election = new LeaderElection({
      ...options,
      ...(before === undefined ? {} : { bootIdBefore: Buffer.from(before).toString() }),
      ttlMs: options.leaderTtlMs,
      onFollow: () => this.#follow(),
      onLead: () => this.#lead(),
      onLeave: () => this.#leave(),
    });
  }

  get isLed(): boolean {
    return this.#actor !== undefined;
  }

  get leader(): string | undefined {
    return this.#election.leader;
  }

  get fill(): number {
    return this.#journal.fill;
  }

  start(): void {
    void this.#start();
  }

  onLed(fn: (leads: number) => void): void {
    this.#onLed.push(fn);
  }

  async lease(ask: Parameters<LedgerActor["lease"]>[0]) {
    return this.#mustLead().lease(ask);
  }

  async settle(ask: Parameters<LedgerActor["settle"]>[0]) {
    return this.#mustLead().settle(ask);
  }

  async override(...args: Parameters<LedgerActor["override"]>): Promise<boolean> {
    return this.#mustLead().override(...args);
  }

  setLimits(limits: AccountLimits): void {
    this.#limits = limits;
    this.#actor?.setLimits(limits);
  }

  async rows(account?: string) {
    return this.#mustLead().rows(account);
  }

  async openLeases() {
    return this.#mustLead().openLeases();
  }

  accountNames(): readonly string[] {
    return accountNamesOf(this.#limits);
  }

  async contracts<T>(turn: (contracts: LedgerContracts) => T): Promise<T> {
    return this.#mustLead().contracts(turn);
  }

  contractEndMs(id: string): number | undefined {
    return storedContract(this.#journal, id)?.expiresMs;
  }

  contractGrant(id: string): LedgerAmounts | undefined {
    return storedContract(this.#journal, id)?.limit;
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    // First, or what is under way would wait for a stream that may not answer any more.
    await this.#journal.close();
    await this.#election.stop();
  }

  /** Whoever starts again in this HOME knows by its mark that the word of the run before is void. */
  async #start(): Promise<void> {
    const { store, bootId, clock, tell } = this.#options;
    const { signal } = this.#stopping;
    const mark = { key: LEADER_BOOT_KEY, value: Buffer.from(bootId) };
    while (!signal.aborted) {
      try {
        await store.commit([mark]);
        break;
      } catch (error) {
        if (!(error instanceof StoreFault)) throw error;
        tell("store_failed", { what: "leader mark", error: String(error) });
        await pause(clock, MARK_RETRY_MS, signal);
      }
    }
    if (!signal.aborted) this.#election.start();
  }

  #mustLead(): LedgerActor {
    if (this.#actor) return this.#actor;
    throw new LedgerFault(`${this.leader ?? "no coordinator"} leads the ledger`);
  }

  /** So that little is left to be read when this one takes over. Never rejects. */
  async #follow(): Promise<void> {
    await this.#orTell(() => this.#journal.catchUp());
  }

  async #lead(): Promise<boolean> {
    const { tell, replicaId, clock, random, store: _own, ...options } = this.#options;
    const journal = this.#journal;
    return await this.#orTell(async () => {
      await journal.catchUp();
      if (await journal.isBarred()) return;
      const epoch = await beginEpoch(journal);
      if ((await journal.snapshot()) === "conflict") return;
      const onFenced = () => {
        // At once: whoever leads now answers, and two answers would be one too many.
        this.#actor = undefined;
        this.#election.leave();
      };
      const actor = new LedgerActor({
        ...options,
        tell,
        clock,
        random,
        store: journal,
        epoch,
        onFenced,
      });
      actor.setLimits(this.#limits);
      this.#actor = actor;
      tell("ledger_led", { replica: replicaId, epoch: epoch.epoch });
      for (const fn of this.#onLed) fn(epoch.epoch);
    });
  }

  async #leave(): Promise<void> {
    const actor = this.#actor;
    this.#actor = undefined;
    await actor?.stop();
    this.#options.tell("ledger_left", { replica: this.#options.replicaId });
  }

  /** True: it went well, and where it was about leading, this one leads. */
  async #orTell(deed: () => Promise<void>): Promise<boolean> {
    try {
      await deed();
      return this.#actor !== undefined;
    } catch (error) {
      const isKnown = [BusFault, StoreFault, JournalFault, LedgerCorrupt].some(
        (kind) => error instanceof kind,
      );
      if (!isKnown) throw error;
      this.#options.tell("journal_failed", { error: String(error) });
      return false;
    }
  }
}
