import type { DecisionRecord } from "../../audit/record.ts";
import { restoreRecord } from "../../mesh/record.ts";
import type { Signer } from "../../ports/keys.ts";
import { JOURNAL_SUBJECT } from "../../proto/subjects.ts";
import { ContractHolders } from "./contract-holders.ts";
import { ContractOffice } from "./contract-office.ts";
import { ControlPlane, drawPlaneShape } from "./control-plane.ts";
import { Draw } from "./draw.ts";
import { Faults } from "./faults.ts";
import { Meddler } from "./meddler.ts";
import { operateAtAnyMoment } from "./operator-moods.ts";
import { ORACLES } from "./oracles/all.ts";
import { agentOf, type Judged, type Watch } from "./oracles/oracle.ts";
import { probeAll } from "./probe-money.ts";
import { SimAgent } from "./sim-agent.ts";
import { CALM } from "./sim-bus.ts";
import { type MachineClock, SimTime } from "./sim-clock.ts";
import { MESH, type SimCoordinator } from "./sim-coordinator.ts";
import type { SimEvent } from "./sim-event.ts";
import { SimKeys } from "./sim-keys.ts";
import { SimNode } from "./sim-node.ts";
import { SimOperator } from "./sim-operator.ts";
import { bundleOf, drawBudgets, PACED_TEAM, QUICK_TEAM } from "./sim-policy.ts";
import { type ProviderConduct, SimProvider } from "./sim-provider.ts";
import { SimServer } from "./sim-server.ts";
import type { Surroundings } from "./surroundings.ts";

/** How large worlds are, and how long their faults last. */
export type WorldSize = {
  readonly nodesMax: number;
  readonly agentsMax: number;
  readonly faultsMs: number;
};

/** What was broken, by whose word, and when. */
export type Violation = {
  readonly oracle: string;
  readonly detail: string;
  /** World's time, ms. */
  readonly atMs: number;
};

/** One run from one seed. */
export type RunResult = {
  readonly seed: number;
  readonly violation: Violation | undefined;
  readonly counts: Readonly<Record<string, number>>;
};

const SETUP_MS_MAX = 60_000;
const LOOK_EVERY_MS = 100;
/** Between attempts to list the other coordinators. */
const FOUNDING_LOOK_MS = 5;
/** Before anything breaks, for agents that ask faster than their rate. */
const CALM_MS = 12_000;
/** Requests end by their policy's total timeout; what was lent comes back when it was idle for long. */
const QUIET_MS = 60_000;
const CONTRACT_WORLDS = 0.5;
/** Drift that the product allows for is twice as much. */
const DRIFT_MAX = 0.0004;
/** Half a minute before an hour ends. */
const BEGIN_MS = Date.UTC(2026, 10, 22, 9, 59, 30);

/** Builds a world from a seed, lets it run through faults and after them, and judges it. */
export async function runWorld(seed: number, size: WorldSize): Promise<RunResult> {
  const world = new World(seed, size);
  try {
    await world.live();
  } catch (error) {
    world.tell({ t: "bug", where: "the run broke off", error });
  }
  return { seed, violation: world.violation, counts: world.counts };
}

/** Honest, within what the price entry allows for, or beyond that. */
function overcountOf(draw: Draw): number {
  const at = draw.unit();
  if (at < 0.3) return draw.between(1, 1.09);
  return at < 0.45 ? draw.between(1.12, 1.2) : 1;
}

class World {
  violation: Violation | undefined;
  readonly counts: Record<string, number> = {};
  readonly #size: WorldSize;
  readonly #draw: Draw;
  readonly #time: SimTime;
  readonly #surroundings: Surroundings;
  readonly #plane: ControlPlane;
  readonly #nodes: readonly SimNode[];
  readonly #operator: SimOperator;
  /** Undefined where nobody works under a contract. */
  readonly #holders: ContractHolders | undefined;
  readonly #faults: Faults;
  readonly #meddler: Meddler;
  readonly #judged: Judged;
  readonly #watches: readonly (Watch & { readonly name: string })[];
  readonly #agents: SimAgent[] = [];
  /** Who asked, by request. */
  readonly #askedBy = new Map<string, DecisionRecord>();
  #isQuiet = false;

  constructor(seed: number, size: WorldSize) {
    this.#size = size;
    const draw = new Draw(seed);
    this.#draw = draw;
    this.#time = new SimTime(draw.fork());
    const conduct: ProviderConduct = {
      overcount: overcountOf(draw),
      faults: { unreachable: 0, refused: 0, broken: 0, hanging: 0, mute: 0 },
    };
    const weather = { ...CALM };
    const logFaults = { failing: 0, behind: 0 };
    this.#surroundings = this.#makeSurroundings({ conduct, weather, logFaults });
    const operator = this.#surroundings.keys.newSigner();
    const world = this.#surroundings;
    this.#plane = new ControlPlane(world, {
      shape: drawPlaneShape(draw),
      machine: () => this.#machine(),
      operator,
      draw: draw.fork(),
    });
    this.#nodes = Array.from({ length: 2 + draw.below(size.nodesMax - 1) }, (_, no) => {
      const operatorKey = operator.publicKey;
      const name = `n${no + 1}`;
      return new SimNode(world, { name, machine: this.#machine(), operatorKey, draw: draw.fork() });
    });
    this.#operator = new SimOperator(world, {
      plane: this.#plane,
      signer: operator,
      random: draw.fork().random(),
      onSigned: (bytes) => this.#meddlerSaw(bytes),
    });
    const { time, server } = world;
    const parts = { time, server, plane: this.#plane, nodes: this.#nodes };
    this.#faults = new Faults({ ...parts, weather, logFaults, conduct }, draw.fork());
    const names = this.#nodes.map(({ name }) => name);
    this.#meddler = new Meddler({ time, server, nodes: names, draw: draw.fork() });
    const budgets = drawBudgets(draw.fork(), size);
    this.#judged = { time, plane: this.#plane, nodes: this.#nodes, budgets };
    if (draw.chance(CONTRACT_WORLDS)) this.#holders = this.#contractHolders(operator, draw.fork());
    this.#watches = ORACLES.map(({ name, watch }) => ({ ...watch(this.#judged), name }));
  }

  /** Ends at the first violation. */
  async live(): Promise<void> {
    this.#lookOn();
    await this.#setUp();
    const isHurried = await this.#holders?.hurry((call) => this.#done(call));
    await this.#passCalmly(isHurried === true);
    await this.#holders?.begin((call) => this.#done(call));
    this.#faults.begin();
    this.#meddler.begin();
    operateAtAnyMoment({
      ...this.#judged,
      operator: this.#operator,
      draw: this.#draw,
      areContractsHeld: this.#holders !== undefined,
      isOver: () => this.#isQuiet,
    });
    for (const agent of this.#agents) if (!agent.isQuick) agent.start();
    await this.#pass(this.#size.faultsMs);
    this.#isQuiet = true;
    this.#faults.end();
    this.#meddler.end();
    for (const agent of this.#agents) agent.stop();
    this.#holders?.end();
    await this.#pass(QUIET_MS);
    if (this.violation) return;
    this.#judgeEnd();
    await this.#liftKills();
    await this.#pass(0);
    if (this.violation) return;
    await probeAll({
      judged: this.#judged,
      agents: this.#agents,
      holders: this.#holders?.all ?? [],
      tell: (event) => this.tell(event),
      pass: (ms, isOver) => this.#time.run(ms, () => isOver() || this.violation !== undefined),
    });
    this.counts.timers = this.#time.fired;
    this.counts.sim_s = Math.round(this.#time.nowMs / 1_000);
  }

  async #setUp(): Promise<void> {
    const { budgets } = this.#judged;
    await this.#setUpPlane();
    await this.#done(this.#operator.applyPolicy(bundleOf(budgets)));
    for (const node of this.#nodes) await this.#done(this.#operator.enrol(node));
    for (const [team, { agents }] of budgets) {
      if (team === PACED_TEAM) continue;
      for (const name of agents.keys()) {
        const agentId = `${team}/${name}`;
        const key = await this.#done(this.#operator.issueKey(agentId));
        const isQuick = team === QUICK_TEAM;
        const of = { agentId, key, nodes: this.#nodes, draw: this.#draw.fork(), isQuick };
        this.#agents.push(new SimAgent(this.#surroundings, of));
      }
    }
    for (const node of this.#nodes) node.start();
    await this.#until(() =>
      this.#nodes.every(({ isOpen, run }) => isOpen && run?.control.policies.current !== undefined),
    );
  }

  #contractHolders(operator: Signer, draw: Draw): ContractHolders {
    const [plane, nodes] = [this.#plane, this.#nodes];
    const of = { plane, operator, random: draw.fork().random() };
    const office = new ContractOffice(this.#surroundings, of);
    const { budgets } = this.#judged;
    return new ContractHolders(this.#surroundings, { nodes, office, plane, budgets, draw });
  }

  /** What is lent of a rate moves within seconds, and faults hardly ever leave it as many. */
  async #passCalmly(isHurried: boolean): Promise<void> {
    const quick = this.#agents.filter(({ isQuick }) => isQuick);
    for (const agent of quick) agent.start();
    if (quick.length > 0 || isHurried) await this.#pass(CALM_MS);
  }

  async #setUpPlane(): Promise<void> {
    const { founder, coordinators } = this.#plane;
    const hasRead = ({ parts }: SimCoordinator): boolean =>
      parts?.replica.state.get("trust")?.hashHex ===
      founder.parts?.replica.state.get("trust")?.hashHex;
    founder.start();
    await this.#until(() => founder.parts?.replica.state.get("trust") !== undefined);
    const others = coordinators.slice(1);
    if (others.length > 0) {
      const before = founder.parts?.replica.state.get("trust")?.v;
      // While the first bundle is on its way the next one is refused.
      while (founder.parts?.replica.state.get("trust")?.v === before) {
        await this.#done(this.#operator.trust(others));
        await this.#pass(FOUNDING_LOOK_MS);
      }
      for (const other of others) other.start();
    }
    await this.#until(() => coordinators.every(hasRead) && this.#plane.leader !== undefined);
  }

  async #liftKills(): Promise<void> {
    const { parts } = this.#plane.founder;
    for (const scope of parts?.replica.state.killedScopes() ?? []) {
      if (!isForGood(scope)) await this.#done(this.#operator.revive(scope));
    }
    await this.#until(() => this.#nodes.every((node) => this.#hasNoKill(node)));
  }

  #hasNoKill({ run }: SimNode): boolean {
    const left = run?.replica.state.killedScopes().filter((scope) => !isForGood(scope));
    return left?.length === 0 && run?.replica.opening.isOpen === true;
  }

  async #pass(ms: number): Promise<void> {
    await this.#time.run(ms, () => this.violation !== undefined);
  }

  async #until(isSo: () => boolean): Promise<void> {
    await this.#time.run(SETUP_MS_MAX, () => isSo() || this.violation !== undefined);
    if (!isSo() && !this.violation) this.#violate("all-converge", `never: ${isSo.toString()}`);
  }

  /** Lets time pass until a call has ended. */
  async #done<T>(call: Promise<T>): Promise<T> {
    let isDone = false;
    const ended = call.finally(() => {
      isDone = true;
    });
    await this.#time.run(SETUP_MS_MAX, () => isDone);
    if (!isDone) throw new Error("a call without faults did not end");
    return ended;
  }

  #lookOn(): void {
    this.#time.after(LOOK_EVERY_MS, () => {
      for (const { name, look } of this.#watches) {
        const detail = look?.();
        if (detail !== undefined) this.#violate(name, detail);
      }
      this.#lookOn();
    });
  }

  #judgeEnd(): void {
    for (const { name, atEnd } of this.#watches) {
      const detail = atEnd?.();
      if (detail !== undefined) this.#violate(name, detail);
    }
  }

  tell(event: SimEvent): void {
    this.counts[event.t] = (this.counts[event.t] ?? 0) + 1;
    if (event.t === "decided") this.#askedBy.set(event.record.rid, event.record);
    this.#faults.heard(event);
    if (event.t === "committed") this.#meddler.saw(event.record);
    for (const { name, on } of this.#watches) {
      const detail = on?.(event);
      if (detail !== undefined) this.#violate(name, detail);
    }
  }

  #violate(oracle: string, detail: string): void {
    this.violation ??= { oracle, detail, atMs: Math.round(this.#time.nowMs) };
  }

  #meddlerSaw(bytes: Uint8Array): void {
    const read = restoreRecord(bytes, { mesh: MESH });
    if (read.ok) this.#meddler.saw(read.record);
  }

  #machine(): MachineClock {
    const draw = this.#draw;
    return {
      rate: 1 + draw.between(-DRIFT_MAX, DRIFT_MAX),
      originNs: BigInt(1 + draw.below(1_000_000)) * 1_000_000n,
      wallMs: BEGIN_MS,
    };
  }

  #makeSurroundings(of: {
    readonly conduct: ProviderConduct;
    readonly weather: Surroundings["weather"];
    readonly logFaults: Surroundings["logFaults"];
  }): Surroundings {
    const time = this.#time;
    const tell = (event: SimEvent): void => this.tell(event);
    const server = new SimServer(time, this.#machine(), this.#draw.fork());
    const provider = new SimProvider({
      time,
      draw: this.#draw.fork(),
      conduct: of.conduct,
      onSent: (process, requestId, bill) => {
        const node = this.#nodes.find(({ run }) => run?.process === process);
        const bootId = node?.run?.bootId ?? "";
        const { ag, c } = this.#askedBy.get(requestId) ?? {};
        const by = { requestId, agentId: agentOf(ag), contractId: c?.id };
        tell({ t: "sent", node: node?.name ?? "", bootId, ...by, bill });
      },
    });
    return {
      time,
      server,
      provider,
      keys: new SimKeys(this.#draw.fork()),
      weather: of.weather,
      logFaults: of.logFaults,
      commitFate: (draw) => () => {
        if (!draw.chance(this.#faults.commitFailures)) return "good";
        return draw.chance(0.5) ? "fails_not_persisted" : "fails_but_persisted";
      },
      onAppended: (subject, bytes) => {
        if (subject === JOURNAL_SUBJECT) return this.#plane.journal.linked(bytes);
        const read = restoreRecord(bytes, { mesh: MESH });
        if (read.ok) tell({ t: "committed", record: read.record });
      },
      tell,
    };
  }
}

/** What is killed once and never revived. */
function isForGood(scope: string): boolean {
  return scope.startsWith("key/") || scope.startsWith("contract/");
}
