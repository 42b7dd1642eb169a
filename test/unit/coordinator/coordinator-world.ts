import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { type BusHub, createBusHub } from "../../../adapters/in-process-bus.ts";
import type { AccountLimits } from "../../../coordinator/account-limits.ts";
import type { CoordinatorConfig } from "../../../coordinator/config.ts";
import { ledgerSettings } from "../../../coordinator/config.ts";
import { beginEpoch } from "../../../coordinator/epoch.ts";
import type { CoordinatorEvent } from "../../../coordinator/events.ts";
import { CoordinatorMetrics } from "../../../coordinator/metrics.ts";
import { buildParts, type Parts, type PartsInput } from "../../../coordinator/parts.ts";
import { type Placement, PolicyPlacement } from "../../../coordinator/placement.ts";
import type { AgentRates } from "../../../coordinator/policy-rates.ts";
import { foundTrust } from "../../../coordinator/trust-bundle.ts";
import { type MeshRecord, nextRecord, openRecord } from "../../../mesh/record.ts";
import type { RecordOp } from "../../../mesh/record-op.ts";
import { openReviveNotice } from "../../../mesh/revive-notice.ts";
import { openSealed, seal } from "../../../mesh/sealed.ts";
import { MeshState } from "../../../mesh/state.ts";
import { TrustView } from "../../../mesh/trust.ts";
import type { Bus, BusMessage } from "../../../ports/bus.ts";
import type { Signer } from "../../../ports/keys.ts";
import { uuidV7 } from "../../../ports/random.ts";
import { type BusFaults, type TwinBus, twinBus } from "../../../ports/twin-bus.ts";
import { twinClock } from "../../../ports/twin-clock.ts";
import { twinKeys } from "../../../ports/twin-keys.ts";
import { twinRandom } from "../../../ports/twin-random.ts";
import { type TwinStore, type TwinStoreOptions, twinStore } from "../../../ports/twin-store.ts";
import {
  type Ack,
  AckSchema,
  BeatSchema,
  type NodeReply,
  NodeReplySchema,
  type NodeRequest,
  NodeRequestSchema,
} from "../../../proto/gen/altrace/v1/mesh_pb.ts";
import { TrustRole, TrustSchema } from "../../../proto/gen/altrace/v1/record_pb.ts";
import {
  ackSubject,
  COMMITTED_PREFIX,
  COMMITTED_TO_NODES,
  FAST_PATTERN,
  healSubject,
  heartbeatSubject,
  REQUEST_METHODS,
  REVIVE_PATTERN,
  REVIVE_PREFIX,
  requestSubject,
} from "../../../proto/subjects.ts";

export const MESH = "test-mesh";
export const DEAD_MAN_MS = 12_000;
export const MARGIN_MS = 2_000;

export const LIMITS: AccountLimits = [
  {
    account: "team/pay",
    parent: undefined,
    limits: [{ unit: "usd_micros", window: "day", limit: 5_000_000 }],
  },
  {
    account: "agent/pay/bot",
    parent: "team/pay",
    limits: [{ unit: "usd_micros", window: "total", limit: 3_000_000 }],
  },
  {
    account: "overrun",
    parent: undefined,
    limits: [{ unit: "usd_micros", window: "total", limit: 1_000_000 }],
  },
];

/** Models of every policy of these tests. */
export const MODELS: ReadonlySet<string> = new Set(["openai/gpt-5-mini", "openai/gpt-5"]);

/** What an empty bucket of the one agent with a rate takes to fill up: ten seconds. */
const BOTS_RATE = {
  emptyUs: 10_000_000,
  isShared: false,
  pools: [
    { name: "agent/pay/bot requests", isTeam: false, emptyUs: 10_000_000, rate: 1, burst: 1 },
  ],
};
const RATES: ReadonlyMap<string, AgentRates> = new Map([
  [
    "agent/pay/bot",
    { policy: [BOTS_RATE, undefined, undefined], contracts: [undefined, undefined, undefined] },
  ],
]);

const CONFIG: CoordinatorConfig = {
  home: "/nowhere",
  replicaId: "c1",
  mesh: undefined,
  trustFile: undefined,
  natsUrl: undefined,
  natsReplicas: 1,
  metricsHost: "127.0.0.1",
  metricsPort: 0,
  grpcTls: undefined,
  natsTls: undefined,
  witness: undefined,
  outside: undefined,
  digestMs: 1_000,
  deadManMs: DEAD_MAN_MS,
  leaderTtlMs: 6_000,
  containmentMarginMs: MARGIN_MS,
  nodeSilentMs: 7_000,
  ledger: ledgerSettings({ leaseTtlMs: 300_000, usdMicros: { min: 100_000, max: 1_000_000 } }),
  autoKillsPerMinute: 2,
  commandsMax: 20,
  archive: undefined,
  drainMs: 0,
  logLevel: "silent",
};

export type WorldOptions = {
  readonly seed?: number;
  readonly store?: TwinStoreOptions;
  readonly busFaults?: BusFaults;
  readonly placement?: Placement;
  readonly config?: Partial<CoordinatorConfig>;
  /** What witnesses outside of the mesh have cosigned of a log. */
  readonly witnessedOf?: PartsInput["witnessedOf"];
};

/** One coordinator with its ports under a test's hand, and the operator who founded its mesh. */
export class CoordinatorWorld {
  readonly clock = twinClock();
  readonly random;
  readonly keys;
  readonly operator: Signer;
  readonly hub: BusHub;
  /** A connection that no fault touches. */
  readonly outside: Bus;
  readonly told: { readonly event: CoordinatorEvent; readonly fields: unknown }[] = [];
  readonly heard: BusMessage[] = [];
  readonly options: WorldOptions;
  store: TwinStore;
  bus: TwinBus;
  parts!: Parts;
  isFenced = false;
  #stopping = new AbortController();

  constructor(options: WorldOptions = {}) {
    this.options = options;
    this.random = twinRandom(options.seed ?? 1);
    this.keys = twinKeys(this.random);
    this.operator = this.keys.loadOrCreate("operator");
    this.hub = createBusHub(undefined, this.clock);
    this.outside = this.hub.connect();
    this.outside.listen("alt.>", (message) => this.heard.push(message));
    this.store = twinStore(options.store ?? {});
    this.bus = this.#connect();
  }

  /** Builds and starts a coordinator on what the store holds. */
  async start(): Promise<Parts> {
    const epoch = await beginEpoch(this.store);
    this.#stopping = new AbortController();
    this.parts = buildParts({
      config: { ...CONFIG, ...this.options.config },
      pin: { mesh: MESH, operatorPublicKey: this.operator.publicKey },
      epoch,
      clock: this.clock,
      random: this.random,
      bus: this.bus,
      store: this.store,
      verify: this.keys.verify,
      signer: this.coordinator,
      enrolmentSigner: this.enrolment,
      witnessSigner: this.keys.loadOrCreate("witness"),
      outsideLogs: [],
      outsidePolicy: () => "",
      witnessedOf: this.options.witnessedOf ?? (() => undefined),
      placementOf: (policy) => this.options.placement ?? new PolicyPlacement(policy),
      limitsOf: readLimits,
      readAhead: async () => undefined,
      modelsOf: () => MODELS,
      ratesOf: () => RATES,
      tell: (event, fields) => this.told.push({ event, fields }),
      metrics: new CoordinatorMetrics(),
      onFenced: () => {
        this.isFenced = true;
      },
    });
    const { replica, registry, commands, saidAgain, requests, digest } = this.parts;
    replica.start();
    registry.start();
    requests.start();
    commands.resume();
    saidAgain.start();
    this.parts.peerDigests.start();
    void foundTrust({
      ...this.parts,
      mesh: MESH,
      clock: this.clock,
      random: this.random,
      tell: (event, fields) => this.told.push({ event, fields }),
      operator: this.operator,
      coordinator: this.coordinator,
      enrolment: this.enrolment,
      signal: this.#stopping.signal,
    });
    digest.start();
    return this.parts;
  }

  /** Starts, and waits until the mesh has its trust bundle. */
  async founded(): Promise<Parts> {
    const parts = await this.start();
    await this.until(() => parts.replica.state.get("trust") !== undefined);
    return parts;
  }

  get coordinator(): Signer {
    return this.keys.loadOrCreate("coordinator");
  }

  get enrolment(): Signer {
    return this.keys.loadOrCreate("enrolment");
  }

  /** Ends the coordinator as a crash would; `start` begins the next one. */
  crash(): void {
    this.#stopping.abort();
    const { digest, requests, registry, commands, saidAgain, replica, ledger } = this.parts;
    digest.stop();
    this.parts.peerDigests.stop();
    requests.stop();
    registry.stop();
    void commands.stop();
    void saidAgain.stop();
    void replica.stop();
    void ledger.stop();
    this.store = this.store.crash();
    this.bus = this.#connect();
  }

  /** Lets everything that waits for nothing but its turn run. */
  async flush(): Promise<void> {
    for (let turn = 0; turn < 8; turn += 1) {
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  /** Moves time on in small steps, so that what timers start has its turn in between. */
  async pass(ms: number): Promise<void> {
    for (let leftMs = ms; leftMs > 0; leftMs -= 250) {
      await this.flush();
      this.clock.advance(Math.min(250, leftMs));
    }
    await this.flush();
  }

  /** Moves time on until the condition holds; throws after a simulated minute. */
  async until(condition: () => boolean): Promise<void> {
    for (let step = 0; step < 2_400; step += 1) {
      await this.flush();
      if (condition()) return;
      this.clock.advance(25);
    }
    throw new Error(`never: ${condition.toString()}`);
  }

  events(event: CoordinatorEvent): readonly unknown[] {
    return this.told.filter((each) => each.event === event).map(({ fields }) => fields);
  }

  newId(): string {
    return uuidV7(this.clock.nowMs(), this.random);
  }

  /** The next record of a scope, signed by the operator or whoever is given. */
  sign(scope: string, op: RecordOp, signer: Signer = this.operator): Uint8Array {
    const fields = {
      mesh: MESH,
      scope,
      op,
      cmdId: this.newId(),
      issuedAtMs: this.clock.nowMs(),
      operator: "olga",
    };
    return nextRecord(this.parts.replica.state.get(scope), fields, signer);
  }

  /** Enrols a node by a record of the enrolment key. */
  async addNode(id: string): Promise<TestNode> {
    const node = new TestNode(this, id);
    const { kid, publicKey } = node.signer;
    const keys = [{ kid, publicKey, role: TrustRole.NODE }];
    const op = { case: "trust" as const, value: create(TrustSchema, { keys }) };
    await this.parts.commands.carry(this.sign(`node/${id}`, op, this.enrolment), ["trust"]);
    await this.until(() => this.parts.replica.trust.nodeKey(id) !== undefined);
    node.connect();
    node.beat();
    await this.flush();
    return node;
  }

  /** Reads back what the stream holds for a scope's subject. */
  async inStream(subject: string): Promise<MeshRecord | undefined> {
    const last = await this.outside.last("ALT_CTL", subject);
    const opened = last && this.parts.replica.open(last.bytes, last.subject);
    return opened?.ok ? opened.record : undefined;
  }

  #connect(): TwinBus {
    return twinBus(this.hub.connect(), { clock: this.clock, ...this.options.busFaults });
  }
}

/** A bundle of tests is its limits as JSON. */
export function readLimits(bundle: Uint8Array): AccountLimits {
  const value = JSON.parse(Buffer.from(bundle).toString());
  if (!Array.isArray(value)) throw new TypeError("not a policy");
  return value as AccountLimits;
}

type AckedRecord = Pick<MeshRecord, "scope" | "v" | "hash" | "cmdId">;
type AckWords = { closed?: boolean; durable?: boolean; refused?: string };

/** A node as far as a coordinator sees it: merges what it hears, acknowledges, beats, asks. */
export class TestNode {
  readonly id: string;
  readonly signer: Signer;
  readonly state = new MeshState();
  readonly #world: CoordinatorWorld;
  readonly #trust: TrustView;
  readonly bus: TwinBus;
  bootId: string;
  /** Whether it says at once that records are enforced, durable and closed. */
  acknowledges = true;
  #n = 0n;

  constructor(world: CoordinatorWorld, id: string) {
    this.#world = world;
    this.id = id;
    this.signer = world.keys.loadOrCreate(`node-${id}`);
    this.bootId = world.newId();
    this.bus = twinBus(world.hub.connect());
    this.#trust = new TrustView({ mesh: MESH, operatorPublicKey: world.operator.publicKey });
  }

  /** Reads the whole state, and acknowledges nothing of it. */
  repair(): void {
    for (const record of this.#world.parts.replica.state.records()) this.#merge(record);
  }

  connect(): void {
    this.repair();
    for (const pattern of [...COMMITTED_TO_NODES, FAST_PATTERN]) {
      this.bus.listen(pattern, (message) => this.#onRecord(message));
    }
    this.bus.listen(REVIVE_PATTERN, ({ subject, bytes }) => {
      const { coordinator, keys } = this.#world;
      const notice = openReviveNotice(bytes, () => coordinator.publicKey, keys.verify);
      const committed = COMMITTED_PREFIX + subject.slice(REVIVE_PREFIX.length);
      if (notice) this.#onRecord({ subject: committed, bytes: notice.record, seq: notice.seq });
    });
  }

  /** From now on offers its records whenever a digest shows another state, as nodes do. */
  healing(): void {
    this.bus.listen("alt.dig", (message) => {
      const { coordinator, keys } = this.#world;
      const opened = openSealed("beat", message.bytes, () => coordinator.publicKey, keys.verify);
      if (!opened) return;
      const { stateHash } = fromBinary(BeatSchema, opened.payload);
      if (Buffer.compare(stateHash, this.state.hash()) === 0) return;
      for (const { bytes } of this.state.records()) this.bus.send(healSubject(this.id), bytes);
    });
  }

  beat(
    more: {
      readonly open?: boolean;
      readonly durable?: boolean;
      readonly closed?: boolean;
      readonly n?: bigint;
    } = {},
  ) {
    this.#n = more.n ?? this.#n + 1n;
    const beat = create(BeatSchema, {
      from: this.id,
      bootId: this.bootId,
      n: this.#n,
      stateHash: this.state.hash(),
      durableStateHash: more.durable === false ? new Uint8Array(32) : this.state.hash(),
      open: more.open ?? true,
      closed: more.closed ?? false,
      agents: 3,
      connections: 5,
    });
    const bytes = seal("beat", toBinary(BeatSchema, beat), this.signer);
    this.bus.send(heartbeatSubject(this.id), bytes);
    return bytes;
  }

  ack(record: AckedRecord, said: AckWords = {}, as: { node?: string; signer?: Signer } = {}): void {
    this.sendAck(this.ackOf(record, said, as.node), as.signer);
  }

  ackOf(record: AckedRecord, said: AckWords = {}, node = this.id, also: Ack[] = []): Ack {
    return create(AckSchema, {
      node,
      bootId: this.bootId,
      scope: record.scope,
      v: BigInt(record.v),
      recordHash: record.hash,
      cmdId: record.cmdId,
      enforcedNs: 250_000n,
      closed: said.closed ?? true,
      durable: said.durable ?? true,
      durableNs: said.durable === false ? 0n : 900_000n,
      refused: said.refused ?? "",
      also,
    });
  }

  sendAck(ack: Ack, signer = this.signer): void {
    this.bus.send(ackSubject(this.id), seal("ack", toBinary(AckSchema, ack), signer));
  }

  /** Asks and returns the reply, whose seal and request id are checked. */
  async ask(
    body: NodeRequest["body"],
    as: { node?: string; requestId?: string; signer?: Signer; subjectNode?: string } = {},
  ): Promise<NodeReply["body"]> {
    const requestId = as.requestId ?? this.#world.newId();
    const node = as.node ?? this.id;
    const request = create(NodeRequestSchema, { node, bootId: this.bootId, requestId, body });
    const bytes = seal("request", toBinary(NodeRequestSchema, request), as.signer ?? this.signer);
    const method = REQUEST_METHODS.find((each) => each === body.case);
    if (!method) throw new TypeError("a body is needed");
    const asked = this.bus.ask(requestSubject(as.subjectNode ?? this.id, method), bytes, 5_000);
    let settled = false;
    const outcome = asked.finally(() => {
      settled = true;
    });
    outcome.catch(() => undefined);
    await this.#world.until(() => settled);
    const { coordinator, keys } = this.#world;
    const opened = openSealed("reply", await outcome, () => coordinator.publicKey, keys.verify);
    if (!opened) throw new Error("the reply is not the coordinator's");
    const reply = fromBinary(NodeReplySchema, opened.payload);
    if (reply.requestId !== requestId) throw new Error("the reply is to another request");
    return reply.body;
  }

  #onRecord(message: BusMessage): void {
    const opened = openRecord(message.bytes, {
      mesh: MESH,
      subject: message.subject,
      verify: this.#world.keys.verify,
      trust: this.#trust,
      nowMs: this.#world.clock.nowMs(),
    });
    if (!opened.ok) return;
    this.#merge(opened.record);
    if (this.acknowledges) this.ack(opened.record);
  }

  #merge(record: MeshRecord): void {
    if (this.state.merge(record).changed) this.#trust.learn(record);
  }
}
