import { setImmediate as nextTurn } from "node:timers/promises";
import type { Delegation } from "../../authority/delegation.ts";
import { publicKeyOf } from "../../authority/holder-key.ts";
import { distrustOf } from "../../mesh/distrust-of.ts";
import type { MeshRecord } from "../../mesh/record.ts";
import type { Cancel } from "../../ports/clock.ts";
import { pause } from "../../ports/pause.ts";
import { type Table, trustVersion } from "../table/table.ts";
import type {
  ControlToMesh,
  DelegationAnswer,
  Funding,
  MeshToControl,
} from "../thread-messages.ts";
import type { ClosablePort } from "../thread-port.ts";
import { Calls } from "./calls.ts";
import { ContractDesk, resolveContract, type ServedContract } from "./contract-desk.ts";
import { type DelegationsDeps, delegate, fund, fundFor } from "./delegations.ts";
import type { Resolved } from "./directory.ts";
import type { EnforcedTimes, EnforcementHooks } from "./enforcement.ts";
import { LoopPorts } from "./loop-ports.ts";
import type { MeshAlarm } from "./mesh-alarms.ts";
import { orderedBy } from "./ordered-by.ts";
import { PolicyFetch } from "./policy-fetch.ts";
import { Replica, type ReplicaConfig, type ReplicaPorts } from "./replica.ts";
import type { ForwardResult } from "./requests.ts";
import { SleepWatch } from "./sleep-watch.ts";

/** How often rows that were given up are looked at, and how many of them at once. */
const SWEEP_EVERY_MS = 20;
const SWEEP_ROWS = 64;
/** Changes of the kill state are told to the control thread at most so often. */
const KILLS_EVERY_MS = 50;
const SLEEP_CHECK_EVERY_MS = 250;

export type MeshThreadDeps = {
  readonly table: Table;
  readonly config: ReplicaConfig;
  readonly ports: ReplicaPorts;
  readonly post: (message: MeshToControl) => void;
  /** Resolves once the bus is connected, or could not be at first. Left out: it was before this began. */
  readonly attempted?: Promise<void>;
  /** Milliseconds since the machine's boot, sleep included. */
  readonly bootMs: () => number;
  readonly onAlarm: (name: MeshAlarm, detail: string) => void;
  /** Writes the audit record of a kill or revive. */
  readonly onEnforced: (record: MeshRecord, times: EnforcedTimes) => void;
  /** Writes the audit record of an order, whatever it is about. */
  readonly onCommand: (record: MeshRecord) => void;
  /** Closes the kernel gate, where one is installed. */
  readonly gate?: Required<Pick<EnforcementHooks, "gate" | "shut">>;
  /** Nothing new comes any more; what waits outside of this thread is given up. */
  readonly onStopping?: () => void;
  /** Everything of this thread has ended. */
  readonly onStopped: () => Promise<void>;
};

/** The mesh thread without its thread: a replica between the control thread and the data loops. */
export class MeshThread {
  readonly replica: Replica;
  readonly #contracts: ContractDesk;
  readonly #deps: MeshThreadDeps;
  readonly #loops: LoopPorts;
  readonly #policy: PolicyFetch;
  readonly #sleep: SleepWatch;
  readonly #timers = new Map<"sweep" | "kills" | "sleep", Cancel>();
  readonly #mayAsk = Promise.withResolvers<void>();
  #isConnected = false;
  #stopCalls: () => void = () => undefined;
  #isStopping = false;

  constructor(deps: MeshThreadDeps) {
    this.#deps = deps;
    const { clock } = deps.ports;
    this.#sleep = new SleepWatch({ bootMs: deps.bootMs, monoNs: clock.monoNs });
    this.#policy = new PolicyFetch({
      ...deps.ports,
      onWhole: (version, sha256, bundle) => deps.post({ t: "policy", version, sha256, bundle }),
      onTrouble: (detail) => deps.onAlarm("policy_incomplete", detail),
    });
    this.#loops = new LoopPorts({
      clock,
      resolve: (keySha256, source, isContract) =>
        isContract
          ? this.#resolveContract(keySha256, source)
          : this.replica.resolve(keySha256, source),
      delegate: (keySha256, delegation) => this.#delegate(keySha256, delegation),
      onRow: (grant) => deps.post({ t: "row", grant }),
    });
    this.replica = new Replica(deps.config, deps.table, deps.ports, {
      ...(deps.gate && { gate: deps.gate.gate, shut: deps.gate.shut }),
      cut: (kill, done) => {
        const contracts = this.replica.directory.contractsUnder(kill.scope);
        this.#loops.cut({ ...kill, contracts }, done);
      },
      onEnforced: deps.onEnforced,
      onCommand: deps.onCommand,
      onPolicy: (record) => this.#policy.take(record),
      onLimit: ({ scope }) => deps.post({ t: "limit", scope }),
      onDistrust: (record) => this.#postDistrust(record),
      onCertificate: ({ parsed }) => {
        if (parsed.kind === "certificate") deps.post({ t: "revoked", fingerprint: parsed.id });
      },
      onRedaction: (record) => this.#postRedaction(record),
      onRevived: (agentId) => deps.post({ t: "revived", agentId }),
      onKills: () => this.#later("kills", KILLS_EVERY_MS, () => this.#postKills()),
      onMembership: () => this.#askIfMember(),
      onAlarm: deps.onAlarm,
    });
    this.#contracts = this.#contractDesk(deps);
  }

  #contractDesk({ table, config, ports }: MeshThreadDeps): ContractDesk {
    const { trust, signer, requests } = this.replica;
    return new ContractDesk({
      mesh: config.pin.mesh,
      trust,
      verify: ports.keys.verify,
      clock: ports.clock,
      isOwn: (publicKey) => signer.of(publicKey) !== undefined,
      endedMs: () => this.replica.state.contractsEndedMs,
      trustVersion: () => trustVersion(table),
      nextTurn,
      ask: (body, options) => requests.ask(body, options),
    });
  }

  #resolveContract(keySha256: string, source: string): Resolved | Promise<Resolved> {
    if (!this.replica.isLoaded) return { refused: "identity_unavailable" };
    const { directory } = this.replica;
    const nowNs = this.#deps.ports.clock.monoNs();
    const contracts = this.#contracts;
    return resolveContract({ contracts, directory, keySha256, source, nowNs });
  }

  async #delegate(keySha256: string, delegation: Delegation | Funding): Promise<DelegationAnswer> {
    const desk = this.#contracts;
    const parent = desk.known(keySha256) ?? (await desk.find(keySha256));
    if (typeof parent === "string") return { refused: parent, detail: "of the delegator" };
    return "chain" in delegation
      ? fund(parent, delegation, this.#delegations())
      : delegate(parent, delegation, this.#delegations(parent));
  }

  /** What a contract grants is passed on under the key that it was made out to. */
  #delegations(parent?: ServedContract): DelegationsDeps {
    const { config, ports } = this.#deps;
    const { trust, signer, requests } = this.replica;
    return {
      ...ports,
      node: config.node,
      signer: signer.of(parent && publicKeyOf(parent.verified.leaf.claims.holder)) ?? signer,
      trust,
      desk: this.#contracts,
      ask: (body, options) => requests.ask(body, options),
      onRate: (delegator) => this.#rateChanged(delegator),
    };
  }

  /** Its buckets first: whoever is told of the new rate finds them fitted to it. */
  #rateChanged(delegator: string): void {
    const served = this.#contracts.known(delegator);
    const nowNs = this.#deps.ports.clock.monoNs();
    if (served !== undefined) this.replica.directory.rateChanged(served, nowNs);
    this.#loops.forget(delegator);
  }

  #listenToCalls(): () => void {
    const { config, ports } = this.#deps;
    const { trust, signer } = this.replica;
    const calls = new Calls({
      ...ports,
      node: config.node,
      signer,
      trust,
      verify: ports.keys.verify,
      fund: (funding) => fundFor(funding, this.#delegations()),
      recall: (row) => this.#deps.post({ t: "rate_recall", ...row }),
    });
    return calls.listen();
  }

  /** Says `ready` when everything on disk is in force. */
  async start(): Promise<void> {
    await this.replica.start();
    this.#stopCalls = this.#listenToCalls();
    this.#deps.post({ t: "ready" });
    this.#watchSleep();
    void Promise.resolve(this.#deps.attempted).then(() => {
      this.#isConnected = true;
      this.#askIfMember();
    });
  }

  /** The way to one data loop. */
  addLoop(loop: number, port: ClosablePort): void {
    this.#loops.add(loop, port);
  }

  take(message: ControlToMesh): void {
    switch (message.t) {
      case "loop_port":
        this.addLoop(message.loop, message.port);
        return;
      case "ask":
        void this.#ask(message);
        return;
      case "counts":
        this.replica.noteCounts(message);
        return;
      case "free_row":
        this.replica.directory.free(message.agentId);
        this.#sweepLater();
        return;
      case "status": {
        const status = this.replica.status();
        this.#deps.post({ t: "status", id: message.id, status });
        return;
      }
      case "redacted":
        this.replica.redacted(message);
        return;
      case "stop":
        void this.#stop();
        return;
    }
  }

  #askIfMember(): void {
    if (this.#isConnected && this.replica.membership === "member") this.#mayAsk.resolve();
  }

  /**
   * What is asked while the node begins waits for it, or it would fail and be asked again only after a pause: without
   * its disk's records this node believes no coordinator, without a connection it reaches none, and none answers who
   * is no member.
   */
  async #ask(message: Extract<ControlToMesh, { t: "ask" }>): Promise<void> {
    const { id, method, request, timeoutMs } = message;
    const waited = new AbortController();
    const late = pause(this.#deps.ports.clock, timeoutMs, waited.signal);
    const mayAsk = await Promise.race([
      this.#mayAsk.promise.then(() => true),
      late.then(() => false),
    ]);
    waited.abort();
    const result: ForwardResult = mayAsk
      ? await this.replica.requests.forward(method, request, timeoutMs)
      : { fault: "timeout" };
    const reply = "fault" in result ? undefined : result.answer;
    const fault = "fault" in result ? result.fault : undefined;
    this.#deps.post({ t: "answer", id, reply, fault });
  }

  async #stop(): Promise<void> {
    if (this.#isStopping) return;
    this.#isStopping = true;
    for (const cancel of this.#timers.values()) cancel();
    this.#deps.onStopping?.();
    this.#stopCalls();
    this.#policy.close();
    await this.replica.stop();
    this.#loops.close();
    await this.#deps.onStopped();
  }

  #postDistrust({ parsed, op, hashHex }: MeshRecord): void {
    const distrust = distrustOf(op);
    if (parsed.kind !== "distrust" || distrust === undefined) return;
    const model = `${parsed.provider}/${parsed.model}`;
    const [distrustMilli, era] = [Number(distrust.milli), Number(distrust.era)];
    this.#deps.post({ t: "distrust", model, distrustMilli, era, record: hashHex });
  }

  #postRedaction(of: MeshRecord): void {
    const { scope, op, hashHex: record } = of;
    if (op.case !== "redact") return;
    const { person, madeByMs, reason } = op.value;
    const { config, ports } = this.#deps;
    const { mesh } = config.pin;
    const { verify } = ports.keys;
    const nowMs = ports.clock.nowMs();
    const by = orderedBy(of, { mesh, verify, nowMs, trust: this.replica.trust });
    const tag = Buffer.from(person).toString("hex");
    const order = { scope, record, tag, madeByMs: Number(madeByMs), by, reason };
    this.#deps.post({ t: "redaction", ...order });
  }

  #postKills(): void {
    this.#deps.post({ t: "kills", scopes: [...this.replica.enforcement.killed] });
  }

  #sweepLater(): void {
    this.#later("sweep", SWEEP_EVERY_MS, () => {
      for (const freed of this.replica.directory.sweep(SWEEP_ROWS)) {
        this.#deps.post({ t: "row_freed", ...freed });
      }
      if (this.replica.directory.isLeaving) this.#sweepLater();
    });
  }

  #watchSleep(): void {
    this.#later("sleep", SLEEP_CHECK_EVERY_MS, () => {
      if (this.#sleep.hasSlept()) this.replica.noteSleep();
      this.#watchSleep();
    });
  }

  /** Runs `fn` once after the delay, unless it is due already. */
  #later(name: "sweep" | "kills" | "sleep", delayMs: number, fn: () => void): void {
    if (this.#isStopping || this.#timers.has(name)) return;
    const cancel = this.#deps.ports.clock.after(delayMs, () => {
      this.#timers.delete(name);
      fn();
    });
    this.#timers.set(name, cancel);
  }
}
