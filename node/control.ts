import type { AuditRecord } from "../audit/record.ts";
import type { Clock } from "../ports/clock.ts";
import type { Random } from "../ports/random.ts";
import type { Store } from "../ports/store.ts";
import { spiffeId } from "../proto/ids.ts";
import { accountOf, type Holder } from "./account-of.ts";
import { NOTHING } from "./actors/account-book.ts";
import { ActorHost } from "./actors/actor-host.ts";
import type { ActorHostDeps } from "./actors/actor-host-deps.ts";
import type { LadderChange } from "./actors/ladder.ts";
import { overrunTill, rowTill, type Till } from "./actors/till.ts";
import { AgentHistory } from "./agent-history.ts";
import { DecisionFeed } from "./decision-feed.ts";
import { InspectionRenewal, type InspectionRenewalDeps } from "./inspection-renewal.ts";
import { type LedgerBar, ledgerLink } from "./ledger-link.ts";
import { LedgerWay } from "./ledger-way.ts";
import type { LoopLink } from "./loop-link.ts";
import type { MeshThreadLink } from "./mesh-thread-link.ts";
import type { NodeLog } from "./node-log.ts";
import { PolicySwitch, type PolicySwitchDeps } from "./policy-switch.ts";
import { PriceDistrust } from "./price-distrust.ts";
import { RATE_OF_NOBODY, RateShares } from "./rate-shares.ts";
import { RowBook } from "./row-book.ts";
import { StrangerBook } from "./stranger-book.ts";
import { overrunBalance, takeBackRetired } from "./table/lend.ts";
import { setMoneyReturned } from "./table/refusal-no.ts";
import { controlPinner, pin, type RowRef, unpin } from "./table/rows.ts";
import type { Table } from "./table/table.ts";
import type {
  AgentEvent,
  LoopToControl,
  MeshToControl,
  SettledItem,
  TopUpAnswer,
} from "./thread-messages.ts";

/** The node's share of the mesh's overrun account, as the ledger names it. */
const OVERRUN = "overrun";
const TICK_MS = 1_000;
/** An account that nobody used for this long gives its money back. */
const IDLE_NS = 30_000_000_000n;

export type ControlDeps = Pick<ActorHostDeps, "logMark" | "crashProof"> &
  Pick<PolicySwitchDeps, "rehearsed" | "keepBundle"> & {
    readonly mesh: string;
    readonly node: string;
    readonly bootId: string;
    readonly table: Table;
    readonly store: Store;
    readonly clock: Clock;
    readonly random: Random;
    readonly meshLink: MeshThreadLink;
    /** Makes the keys under which this node looks into TLS; without it it does not. */
    readonly createKeyPair?: InspectionRenewalDeps["createKeyPair"];
    readonly loops: readonly LoopLink[];
    /** WAL of this thread. */
    readonly append: (record: AuditRecord) => void;
    readonly log: NodeLog;
  };

/** A node's control thread: actors and their money, the switch between policies, what operators ask. It touches no request's bytes. */
export class Control {
  readonly actors: ActorHost;
  readonly policies: PolicySwitch;
  readonly history = new AgentHistory();
  readonly feed = new DecisionFeed();
  readonly #deps: ControlDeps;
  readonly #rows = new RowBook();
  /** Messages that came before the books of the last run were settled; absent from then on. */
  #early: (() => void)[] | undefined = [];
  #killed: ReadonlySet<string> = new Set();
  readonly #open = new Map<number, number>();
  #stopped = false;
  readonly inspection: InspectionRenewal | undefined;
  readonly #distrust: PriceDistrust;
  readonly #rates: RateShares;
  readonly strangers: StrangerBook;
  readonly ledgerWay: LedgerWay;
  readonly ledgerBar: () => LedgerBar | undefined;

  constructor(deps: ControlDeps) {
    this.#deps = deps;
    const { table, store, clock, random, node, bootId, log, meshLink, loops } = deps;
    const { createKeyPair } = deps;
    const policyVersion = () => this.policies.current?.version ?? 0;
    if (createKeyPair !== undefined) {
      this.inspection = new InspectionRenewal({
        ...{ node, bootId, clock, random, loops, createKeyPair },
        ask: meshLink.ask,
        onProblem: (why) => log.fault("inspection", new Error(why)),
      });
    }
    this.strangers = new StrangerBook({ store, clock, onFault: (e) => log.fault("strangers", e) });
    this.#distrust = new PriceDistrust({ ...deps, ask: meshLink.ask });
    this.policies = new PolicySwitch({
      ...deps,
      onSwitched: () => this.#switched(),
      onRefused: () => this.#tellMesh(),
    });
    const ledger = ledgerLink({
      ...{ node, bootId, clock, random, policyVersion, ask: meshLink.ask },
      onBarred: (bar) => log.ledgerBarred(bar),
      onNews: (account, news) => this.actors.news(account, news),
    });
    this.ledgerBar = ledger.bar;
    this.#rates = new RateShares({
      ...{ table, clock },
      ask: ledger.rate,
      rowOf: (holder) => this.#rows.of(accountOf(holder)),
    });
    this.actors = new ActorHost({
      ...deps,
      ledger,
      policy: () => this.policies.current,
      tillOf: (account) => this.#tillOf(account),
      onReturned: (count) => setMoneyReturned(table, count),
      onStanding: (agentId, change, scoreMilli) => this.#standing(agentId, change, scoreMilli),
      onFault: (error) => log.fault("actor", error),
    });
    this.actors.accounts.follow((account, what) => this.#rows.noteActor(account, what));
    const askRate = () => ledger.rate(RATE_OF_NOBODY);
    this.ledgerWay = new LedgerWay(clock, (need) => this.actors.topUp(OVERRUN, need), askRate);
  }

  /**
   * Settles what an earlier run left open, then hears what other threads have to say.
   *
   * @param logged The log's thread works and has looked how much room there is: no request is decided before. What is asked of the mesh does not wait.
   */
  async start(logged: Promise<void> = Promise.resolve()): Promise<void> {
    const { meshLink, loops } = this.#deps;
    // At once, or what is said meanwhile, the first policy above all, is heard by nobody.
    meshLink.onMessage((message) => this.#inTurn(() => this.#fromMesh(message)));
    for (const loop of loops) {
      loop.onMessage((message) => this.#inTurn(() => this.#fromLoop(loop, message)));
    }
    this.#distrust.restore();
    await this.actors.recover();
    const early = this.#early ?? [];
    this.#early = undefined;
    for (const handle of early) handle();
    this.#tickLater();
    await logged;
    this.policies.begin();
  }

  /** Takes lent money back and settles it. Loops have drained by then. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.ledgerWay.stop();
    this.inspection?.stop();
    await Promise.all([this.actors.drain(), this.#rates.releaseAll()]);
  }

  /** Scopes that are killed now. */
  get killed(): ReadonlySet<string> {
    return this.#killed;
  }

  #inTurn(handle: () => void): void {
    if (this.#early === undefined) handle();
    else this.#early.push(handle);
  }

  #fromMesh(message: MeshToControl): void {
    switch (message.t) {
      case "policy":
        void this.policies.offer(message);
        if (this.policies.current === undefined) this.inspection?.under(message.version);
        return;
      case "limit":
        this.actors.limitsChanged();
        return;
      case "distrust":
        this.#distrust.said(message);
        return;
      case "row":
        this.#rowCame(message.grant, message.grant);
        return;
      case "row_freed":
        this.#rowFreed(message);
        return;
      case "kills":
        this.#killed = new Set(message.scopes);
        return;
      case "revived":
        this.actors.tell(`agent/${message.agentId}`, { t: "revived" });
        return;
      case "priority":
        this.#deps.log.meshPriority(message);
        return;
      case "rate_recall":
        this.#rates.recall(message);
    }
  }

  #fromLoop(loop: LoopLink, message: LoopToControl): void {
    switch (message.t) {
      case "top_up":
        void this.#topUp(message).then((answer) => {
          loop.post({ t: "topped_up", id: message.id, ...answer });
        });
        return;
      case "need_rate":
        void this.#needRate(message).then((none) => {
          loop.post({ t: "rate_lent", id: message.id, none });
        });
        return;
      case "settled":
        for (const item of message.items) this.#settled(item);
        return;
      case "events":
        for (const event of message.items) this.#event(event);
        return;
      case "open":
        this.#open.set(loop.no, message.count);
        return;
      case "strangers":
        this.strangers.note(message);
        return;
      case "policy_ready":
        this.policies.ready(loop.no, message.version);
        return;
      case "policy_failed":
        this.policies.failed(loop.no, message.version, message.message);
        return;
      default:
        return;
    }
  }

  async #needRate(message: Extract<LoopToControl, { t: "need_rate" }>) {
    // A row that is gone: the request after this one is given another.
    return this.#rowCame(message, message) ? this.#rates.need(message) : { retryMs: 0 };
  }

  async #topUp(message: Extract<LoopToControl, { t: "top_up" }>): Promise<TopUpAnswer> {
    const { need, floor, overrunMicros } = message;
    if (!this.#rowCame(message, message)) return { outcome: "row_gone" };
    if (overrunMicros > overrunBalance(this.#deps.table)) {
      const share = { ...NOTHING, usdMicros: overrunMicros };
      const answer = await this.actors.topUp(OVERRUN, share);
      if (answer.outcome === "exhausted") return { ...answer, outcome: "overrun_exhausted" };
      if (answer.outcome !== "ok") return answer;
    }
    return this.actors.topUp(accountOf(message), need, floor);
  }

  /**
   * The row may be known from the loop's question before the mesh thread's word of it comes.
   *
   * @returns False when it serves nobody any more: word of it that was overtaken changes nothing.
   */
  #rowCame(holder: Holder, { row, generation }: RowRef): boolean {
    const { table } = this.#deps;
    const { agentId } = holder;
    const account = accountOf(holder);
    const known = this.#rows.of(account);
    if (!pin(table, controlPinner(table), { row, generation })) return false;
    unpin(table, controlPinner(table), row);
    if (known?.row === row && known.generation === generation) return true;
    this.#rows.put(account, { row, generation, agentId }, this.#isActive(account));
    this.actors.rowCame(account);
    if (holder.contractId !== undefined) this.#contractCame(account, agentId);
    // Requests may go on in the row before for minutes; what lies unheld in it is wanted here.
    if (known !== undefined) this.actors.takenBack(account, takeBackRetired(table, known));
    return true;
  }

  #tillOf(account: string): Till {
    const { table } = this.#deps;
    if (account === OVERRUN) return overrunTill(table);
    const till = rowTill(table, () => this.#rows.of(account));
    // A contract has money of its own and no standing: that is its holder's.
    return account.startsWith("contract/") ? { ...till, setStanding: () => undefined } : till;
  }

  /** An agent stands where it stands, whichever contract it works under. */
  #contractCame(account: string, agentId: string): void {
    this.#rows.contractCame(account, agentId);
    const own = `agent/${agentId}`;
    // Brings the agent's actor back where it was forgotten.
    this.actors.rowCame(own);
    this.#setStanding(account, this.actors.view(own)?.state.ladder.standing ?? "block");
  }

  #setStanding(account: string, standing: LadderChange["to"]): void {
    rowTill(this.#deps.table, () => this.#rows.of(account)).setStanding(standing);
  }

  #rowFreed(freed: Extract<MeshToControl, { t: "row_freed" }>): void {
    const account = accountOf(freed);
    this.#rows.freed(account, freed);
    const back = takeBackRetired(this.#deps.table, freed);
    this.actors.takenBack(account, back);
  }

  #settled(item: SettledItem): void {
    const { spent, uncovered, overrunSpentMicros, model, distrustMilli, requestId } = item;
    const { log } = this.#deps;
    this.actors.settled(accountOf(item), spent, uncovered, requestId);
    if (overrunSpentMicros > 0n) {
      const share = { ...NOTHING, usdMicros: overrunSpentMicros };
      const notPaid = { ...NOTHING, usdMicros: uncovered?.overrunMicros ?? 0n };
      this.actors.settled(OVERRUN, share, notPaid);
      log.overrun(item);
    }
    if (distrustMilli !== undefined) this.#distrust.billed({ model, distrustMilli, requestId });
  }

  /**
   * The kernel saw an agent send from an address that is not its own, or to a port that is not for
   * agents. The kernel knows whose packets they are; a name in a token says nothing here.
   *
   * @param count Packets since it was last told, each of them at least once.
   */
  kernelEvidence(agentId: string, count: number): void {
    if (count > 0) this.actors.tell(`agent/${agentId}`, { t: "evidence", count });
  }

  #event(event: AgentEvent): void {
    this.history.note(event);
    this.feed.tell(event);
    this.#deps.log.decision(event);
    const { allowed, cause, standing: judgedAt, requestId, more = 0 } = event;
    const offence = cause && { cause, judgedAt, requestId };
    this.actors.tell(`agent/${event.agentId}`, { t: "event", allowed, offence, more });
  }

  #standing(agentId: string, change: LadderChange, scoreMilli: number): void {
    const { mesh, node, clock, append, log, loops } = this.#deps;
    log.standing(agentId, change);
    for (const account of this.#rows.contractsOf(agentId)) {
      this.#setStanding(account, change.to);
    }
    for (const loop of loops) loop.post({ t: "standing", agentId, standing: change.to });
    append({
      v: 1,
      k: "standing",
      t: clock.nowMs(),
      node,
      ag: spiffeId(mesh, agentId),
      from: change.from,
      to: change.to,
      rc: change.cause,
      score: scoreMilli,
      ...(change.requestId !== undefined && { rid: change.requestId }),
    });
  }

  #switched(): void {
    this.#tellMesh();
    const { clock, node, append } = this.#deps;
    const { current, previous } = this.policies;
    this.actors.limitsChanged();
    if (current === undefined) return;
    this.inspection?.under(current.version);
    this.ledgerWay.find();
    append({
      v: 1,
      k: "policy",
      t: clock.nowMs(),
      node,
      pol: `sha256:${current.sha256}`,
      ...(previous !== undefined && { prev: `sha256:${previous.sha256}` }),
    });
  }

  #freeIdleRows(): void {
    const { table, meshLink } = this.#deps;
    const isActive = (account: string) => this.#isActive(account);
    for (const agentId of this.#rows.idleAgents(table.layout.rows, isActive)) {
      meshLink.post({ t: "free_row", agentId });
    }
  }

  #isActive(account: string): boolean {
    return this.actors.accounts.has(account);
  }

  /** What heartbeats say of this node. */
  #tellMesh(): void {
    const connections = [...this.#open.values()].reduce((sum, count) => sum + count, 0);
    const agents = this.actors.accounts.size;
    this.#deps.meshLink.post({ t: "counts", agents, connections, policy: this.policies.word });
  }

  #tickLater(): void {
    this.#deps.clock.after(TICK_MS, () => {
      if (this.#stopped) return;
      this.actors.tick(IDLE_NS);
      this.#distrust.tick();
      this.strangers.tick();
      this.#rates.tick();
      this.#tellMesh();
      this.#freeIdleRows();
      this.#tickLater();
    });
  }
}
