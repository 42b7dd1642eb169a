import type { MeshRecord } from "../../mesh/record.ts";
import { MeshState } from "../../mesh/state.ts";
import { type TrustPin, TrustView } from "../../mesh/trust.ts";
import type { Bus } from "../../ports/bus.ts";
import type { Clock } from "../../ports/clock.ts";
import type { Keys } from "../../ports/keys.ts";
import type { Random } from "../../ports/random.ts";
import type { Store } from "../../ports/store.ts";
import {
  ackSubject,
  COMMITTED_TO_NODES,
  CONTROL_STREAM,
  DIGEST_SUBJECT,
  FAST_PATTERN,
  REVIVE_PATTERN,
  REVOCATION_STREAM,
} from "../../proto/subjects.ts";
import type { MeshStatus } from "../mesh-status.ts";
import type { Redaction } from "../person-messages.ts";
import type { Table } from "../table/table.ts";
import { AckBook } from "./acks.ts";
import { takeDifferences } from "./differences.ts";
import { Directory, type Resolved } from "./directory.ts";
import { Enforcement, type EnforcementHooks } from "./enforcement.ts";
import { Enrolment } from "./enrolment.ts";
import { type Counts, Heartbeat } from "./heartbeat.ts";
import type { HostStall } from "./host-stall.ts";
import { Intake } from "./intake.ts";
import { type Membership, membershipOf } from "./membership.ts";
import { Merging } from "./merging.ts";
import type { MeshAlarm } from "./mesh-alarms.ts";
import { offerRecord } from "./offer-record.ts";
import { Opening } from "./opening.ts";
import { orderAgain } from "./ordered-by.ts";
import { OwnKeys } from "./own-keys.ts";
import { RecordStore } from "./record-store.ts";
import { Repair } from "./repair.ts";
import { Requests } from "./requests.ts";
import { takePages } from "./state-pages.ts";

export type ReplicaConfig = {
  readonly node: string;
  /** New at every start; the same in everything this process says to the mesh. */
  readonly bootId: string;
  readonly pin: TrustPin;
  readonly enrolToken: string | undefined;
  /** Public nkey of the node's NATS user; empty where there is none. */
  readonly nkey: string;
  readonly timing: {
    readonly deadManMs: number;
    readonly digestMs: number;
    readonly heartbeatMs: number;
  };
};

export type ReplicaPorts = {
  readonly bus: Bus;
  readonly store: Store;
  readonly keys: Keys;
  readonly clock: Clock;
  readonly random: Random;
  readonly stall: HostStall;
  /** Resolves after other events of this thread had their turn. */
  readonly nextTurn: () => Promise<void>;
};

export type ReplicaHooks = EnforcementHooks & {
  readonly onAlarm: (name: MeshAlarm, detail: string) => void;
  /** This node may have become a member, or be none any more. */
  readonly onMembership?: () => void;
};

/**
 * This node's copy of the mesh's state, and everything that keeps it true.
 *
 * Closed from the start. What lies on disk is in force before the bus is touched; the bus is listened
 * to before it is read; and only a digest that entitles opens the node.
 */
export class Replica {
  readonly state = new MeshState({ onForgotten: (record) => this.#merging.forget(record) });
  readonly trust: TrustView;
  readonly requests: Requests;
  readonly directory: Directory;
  readonly enforcement: Enforcement;
  readonly opening: Opening;
  readonly repair: Repair;
  readonly #config: ReplicaConfig;
  readonly #ports: ReplicaPorts;
  readonly #hooks: ReplicaHooks;
  /** Whoever has it signs with the key that the mesh knows this node by. */
  readonly signer: OwnKeys;
  readonly #records: RecordStore;
  readonly #acks: AckBook;
  readonly #merging: Merging;
  readonly #intake: Intake;
  readonly #heartbeat: Heartbeat;
  readonly #enrolment: Enrolment;
  readonly #stops: (() => void)[] = [];
  #isLoaded = false;
  #hasOpened = false;

  constructor(config: ReplicaConfig, table: Table, ports: ReplicaPorts, hooks: ReplicaHooks) {
    this.#config = config;
    this.#ports = ports;
    this.#hooks = hooks;
    this.signer = new OwnKeys(ports.keys);
    this.trust = new TrustView(config.pin);
    this.directory = new Directory({ table, killed: (scope) => this.state.killed(scope) });
    this.requests = this.#makeRequests();
    this.#acks = this.#makeAcks();
    this.#records = this.#makeRecords();
    this.enforcement = this.#makeEnforcement();
    this.#merging = this.#makeMerging();
    this.repair = this.#makeRepair();
    this.opening = this.#makeOpening(table);
    this.#heartbeat = this.#makeHeartbeat();
    this.#enrolment = this.#makeEnrolment();
    this.#intake = new Intake({
      table,
      ...ports,
      take: (arrival) => this.#merging.live(arrival),
      overflow: () => {
        hooks.onAlarm("intake_overflow", `${this.#intake.queued} records wait`);
        this.repair.want("tail");
      },
    });
  }

  /** Resolves when everything on disk is in force; the node is still closed then. */
  async start(): Promise<void> {
    this.opening.close();
    await this.#load();
    this.#isLoaded = true;
    const { bus } = this.#ports;
    this.#stops.push(
      ...[FAST_PATTERN, REVIVE_PATTERN, ...COMMITTED_TO_NODES].map((pattern) =>
        bus.listen(pattern, (message) => this.#intake.push(message)),
      ),
      bus.listen(DIGEST_SUBJECT, ({ bytes }) => this.opening.digest(bytes)),
    );
    bus.onUp(() => this.#connected());
    this.#heartbeat.start();
    this.#enrolment.start();
  }

  /** Closes the node and writes what is not written. The ports are the caller's to close. */
  async stop(): Promise<void> {
    this.opening.reset();
    for (const stop of this.#stops) stop();
    if (this.#isLoaded) this.#heartbeat.beat();
    this.#heartbeat.close();
    await Promise.all([this.repair.close(), this.#enrolment.close()]);
    this.enforcement.close();
    await this.#records.close();
    this.#acks.close();
  }

  /** The row that serves a key. Before everything on disk is in force nobody is told of a row. */
  resolve(keySha256: string, source: string): Resolved {
    if (!this.#isLoaded) return { refused: "identity_unavailable" };
    return this.directory.resolve(keySha256, source, this.#ports.clock.monoNs());
  }

  /** Whether everything on disk is in force. */
  get isLoaded(): boolean {
    return this.#isLoaded;
  }

  noteCounts(counts: Counts): void {
    this.#heartbeat.note(counts);
  }

  /** So many keys are erased that this record names. */
  redacted({
    scope,
    record,
    count,
  }: Pick<Redaction, "scope" | "record"> & { count: number }): void {
    const current = this.state.get(scope);
    if (current?.hashHex !== record) return;
    this.#acks.closed(current, count, this.#ports.clock.monoNs());
  }

  /** The machine slept: this thread's clock stood still while the mesh went on. */
  noteSleep(): void {
    this.opening.reset();
    this.#hooks.onAlarm("host_slept", "closed until the next digest");
    this.repair.want("tail");
  }

  get membership(): Membership {
    return membershipOf(this.#config.node, this.signer.publicKey, this);
  }

  status(): MeshStatus {
    return {
      open: this.opening.isOpen,
      busUp: this.#ports.bus.isUp(),
      digestAgeMs: this.opening.digestAgeMs(),
      lastSeq: this.repair.mark(CONTROL_STREAM),
      stateHash: this.state.hashHex(),
      closedBecause: this.#closedBecause(),
      coordinators: this.opening.coordinators(),
    };
  }

  #closedBecause(): readonly string[] {
    if (this.opening.isOpen) return [];
    const reasons: string[] = this.#isLoaded ? [] : ["loading"];
    if (!this.#ports.bus.isUp()) reasons.push("bus_down");
    reasons.push(...this.opening.closedBecause());
    if (this.#enrolment.refusal !== undefined) reasons.push(this.#enrolment.refusal);
    return reasons;
  }

  async #load(): Promise<void> {
    let unreadable = 0;
    await this.#records.load(
      (record) => this.#merging.restore(record),
      (key, detail) => {
        unreadable += 1;
        this.#hooks.onAlarm("stored_record_unreadable", `${key}: ${detail}`);
      },
    );
    for (const stream of [CONTROL_STREAM, REVOCATION_STREAM]) {
      // What could not be read may be what the mark vouches for.
      if (unreadable === 0) this.repair.restoreMark(stream, this.#records.mark(stream));
    }
    const policy = this.state.get("policy");
    if (policy) this.#hooks.onPolicy(policy);
    await orderAgain(this.state, this.#hooks.onRedaction, this.#ports.nextTurn);
    if (this.enforcement.killed.size > 0) this.#hooks.onKills();
  }

  #connected(): void {
    this.#heartbeat.connected();
    this.opening.connected();
    this.repair.connected(this.#knowsCoordinator());
  }

  #knowsCoordinator(): boolean {
    return this.trust.keysOf("coordinator").length > 0;
  }

  #makeRequests(): Requests {
    const { node, bootId } = this.#config;
    return new Requests({
      ...this.#ports,
      ...{ node, bootId, signer: this.signer, trust: this.trust },
      verify: this.#ports.keys.verify,
    });
  }

  #makeAcks(): AckBook {
    const { bus, clock, stall } = this.#ports;
    const { node, bootId } = this.#config;
    const send = (ack: Uint8Array): void => bus.send(ackSubject(node), ack);
    return new AckBook({ node, bootId, clock, stall, signer: this.signer, send });
  }

  #makeRecords(): RecordStore {
    const { store, clock, nextTurn } = this.#ports;
    return new RecordStore({
      store,
      mesh: this.#config.pin.mesh,
      clock,
      nextTurn,
      onDurable: (record) => this.#acks.durable(record, clock.monoNs()),
      onFault: (detail) => this.#hooks.onAlarm("store_failed", detail),
    });
  }

  #makeEnforcement(): Enforcement {
    return new Enforcement({
      node: this.#config.node,
      clock: this.#ports.clock,
      directory: this.directory,
      trust: this.trust,
      records: this.#records,
      acks: this.#acks,
      stall: this.#ports.stall,
      hooks: this.#hooks,
      defer: (fn) => this.#intake.defer(fn),
      onChange: () => this.opening.stateChanged(),
      onUnrecorded: (detail) => this.#hooks.onAlarm("kill_unrecorded", detail),
      onTrust: () => {
        this.opening.forget();
        // What was refused for its signature may count now; the stream still has it.
        this.repair.want("full");
      },
      onMembership: () => {
        this.signer.use(this.trust.nodeKey(this.#config.node)?.publicKey);
        // Also when the record names another key: whoever holds that one is this node now.
        if (this.membership !== "member") this.opening.close();
        else if (this.#isLoaded) {
          // A coordinator takes its word from now on, and sends a digest to whoever has just begun.
          this.#heartbeat.beat();
          this.opening.joined();
        }
        this.#hooks.onMembership?.();
      },
    });
  }

  #makeMerging(): Merging {
    const { keys, clock, stall } = this.#ports;
    return new Merging({
      mesh: this.#config.pin.mesh,
      state: this.state,
      trust: this.trust,
      verify: keys.verify,
      clock,
      stall,
      acks: this.#acks,
      enforcement: this.enforcement,
      onLive: (stream, seq, isNew) => this.repair.noteLive(stream, seq, isNew),
      isStarting: () => !this.#hasOpened,
      onAlarm: this.#hooks.onAlarm,
    });
  }

  #makeRepair(): Repair {
    const { bus, clock, nextTurn, keys } = this.#ports;
    const { requests, state, trust } = this;
    const told = (bytes: Uint8Array) => this.#merging.told(bytes);
    const by = { ...this.#config, bus, clock, trust, verify: keys.verify, signer: this.signer };
    const heal = (record: MeshRecord) => offerRecord(record, by);
    return new Repair({
      bus,
      clock,
      nextTurn,
      streams: [CONTROL_STREAM, REVOCATION_STREAM],
      take: (message) => this.#merging.committed(message),
      takeDifferences: () => takeDifferences({ requests, state, told, heal, nextTurn }),
      takePages: () => takePages(requests, told, nextTurn),
      state,
      heal,
      onMark: (stream, seq) => this.#records.setMark(stream, seq),
      onAlarm: this.#hooks.onAlarm,
    });
  }

  #makeOpening(table: Table): Opening {
    const { clock, random, keys } = this.#ports;
    const { deadManMs, digestMs } = this.#config.timing;
    return new Opening({
      table,
      deadManMs,
      exchangeEveryMs: digestMs,
      clock,
      random,
      verify: keys.verify,
      trust: this.trust,
      requests: this.requests,
      stateHash: () => this.state.hash(),
      membership: () => this.membership,
      onEqual: (lastSeq, entitles) => this.repair.noteEqual(lastSeq, entitles),
      onDiffering: () => this.repair.noteDiffering(),
      onOpen: () => {
        this.#hasOpened = true;
        this.#heartbeat.beat();
      },
    });
  }

  #makeHeartbeat(): Heartbeat {
    const { node, bootId, timing } = this.#config;
    return new Heartbeat({
      ...this.#ports,
      ...{ node, bootId },
      everyMs: timing.heartbeatMs,
      signer: this.signer,
      pulse: () => ({
        lastSeq: this.repair.mark(CONTROL_STREAM),
        stateHash: this.state.hash(),
        durableStateHash: this.#records.durableHash(),
        closed: this.#acks.isAllClosed,
        open: this.opening.isOpen,
      }),
    });
  }

  #makeEnrolment(): Enrolment {
    return new Enrolment({
      clock: this.#ports.clock,
      requests: this.requests,
      publicKey: this.signer.publicKey,
      nkey: this.#config.nkey,
      token: this.#config.enrolToken,
      isEnrolled: () => this.membership !== "not_enrolled",
      canVerify: () => this.#knowsCoordinator(),
      take: (record) => void this.#merging.told(record),
    });
  }
}
