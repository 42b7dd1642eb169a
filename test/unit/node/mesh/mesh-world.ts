import { createHash } from "node:crypto";
import { setImmediate as nextTurn } from "node:timers/promises";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { type BusHub, createBusHub } from "../../../../adapters/in-process-bus.ts";
import { differences } from "../../../../coordinator/differences.ts";
import { tellCommitted } from "../../../../coordinator/tell-committed.ts";
import { type MeshRecord, nextRecord, restoreRecord } from "../../../../mesh/record.ts";
import type { RecordOp } from "../../../../mesh/record-op.ts";
import { personTag } from "../../../../mesh/redaction.ts";
import { openSealed, seal } from "../../../../mesh/sealed.ts";
import { MeshState } from "../../../../mesh/state.ts";
import { ACK_WINDOW_MS } from "../../../../node/mesh/acks.ts";
import type { EnforcementHooks } from "../../../../node/mesh/enforcement.ts";
import type { HostStall } from "../../../../node/mesh/host-stall.ts";
import type { MeshAlarm } from "../../../../node/mesh/mesh-alarms.ts";
import { Replica } from "../../../../node/mesh/replica.ts";
import { createTable, type Table } from "../../../../node/table/table.ts";
import type { AppendOptions, Bus, BusMessage } from "../../../../ports/bus.ts";
import type { Clock } from "../../../../ports/clock.ts";
import type { Signer } from "../../../../ports/keys.ts";
import { uuidV7 } from "../../../../ports/random.ts";
import type { Store } from "../../../../ports/store.ts";
import { type TwinClock, twinClock } from "../../../../ports/twin-clock.ts";
import { twinKeys, twinSigner } from "../../../../ports/twin-keys.ts";
import { twinRandom } from "../../../../ports/twin-random.ts";
import { type TwinStore, twinStore } from "../../../../ports/twin-store.ts";
import {
  type Ack,
  AckSchema,
  type Beat,
  BeatSchema,
  EnrolReplySchema,
  type NodeReply,
  NodeReplySchema,
  NodeRequestSchema,
  NonceReplySchema,
  RefusedSchema,
  StateReplySchema,
} from "../../../../proto/gen/altrace/v1/mesh_pb.ts";
import {
  KeySchema,
  KillSchema,
  LimitSchema,
  PolicySchema,
  RedactSchema,
  ReviveSchema,
  SignedRecordSchema,
  TrustedKeySchema,
  TrustRole,
  TrustSchema,
} from "../../../../proto/gen/altrace/v1/record_pb.ts";
import { parseScope } from "../../../../proto/ids.ts";
import {
  CONTROL_STREAM,
  controlSubject,
  DIGEST_SUBJECT,
  FAST_PREFIX,
  withPrefix,
} from "../../../../proto/subjects.ts";

/** A mesh of one coordinator, played by the test, and nodes that are real replicas. */

export const MESH = "test-mesh";
export const DEAD_MAN_MS = 12_000;
export const TOKEN = "a-token-of-twenty-characters";

export const signers = {
  operator: twinSigner(twinRandom(1).bytes(32)),
  coordinator: twinSigner(twinRandom(2).bytes(32)),
  enrolment: twinSigner(twinRandom(3).bytes(32)),
  stranger: twinSigner(twinRandom(4).bytes(32)),
} as const;

export const verify = twinKeys(twinRandom(5)).verify;

export const kill = (reason = "test"): RecordOp => ({
  case: "kill",
  value: create(KillSchema, { reason }),
});
export const redact = (person: string): RecordOp => ({
  case: "redact",
  value: create(RedactSchema, { person: personTag(MESH, person), reason: "asked_for" }),
});
export const distrust = (milli: bigint): RecordOp => ({
  case: "limit",
  value: create(LimitSchema, { of: { case: "distrust", value: { milli } } }),
});
export const revive: RecordOp = { case: "revive", value: create(ReviveSchema, {}) };
export const policy = (text: string): RecordOp => {
  const body = Buffer.from(text);
  const sha256 = createHash("sha256").update(body).digest();
  return {
    case: "policy",
    value: create(PolicySchema, { sha256, size: BigInt(body.length), body }),
  };
};
export const sha256Hex = (text: string): string => createHash("sha256").update(text).digest("hex");
export const key = (secret: string, agent: string, contract = ""): RecordOp => {
  const sha256 = createHash("sha256").update(secret).digest();
  return { case: "key", value: create(KeySchema, { sha256, agent, contract }) };
};
export const trust = (roles: readonly (readonly [Signer, TrustRole])[]): RecordOp => ({
  case: "trust",
  value: create(TrustSchema, {
    keys: roles.map(([signer, role]) =>
      create(TrustedKeySchema, { kid: signer.kid, publicKey: signer.publicKey, role }),
    ),
  }),
});

/** The control plane: appends, broadcasts, answers and remembers what nodes say. */
export class World {
  /** Moves only when a test says so; a world with real threads has the machine's clock instead. */
  readonly clock: TwinClock;
  readonly busStore: TwinStore;
  readonly hub: BusHub;
  readonly bus: Bus;
  readonly random = twinRandom(99);
  state = new MeshState();
  readonly acks: Ack[] = [];
  /** In how many messages they came. */
  ackMessages = 0;
  readonly beats: Beat[] = [];
  readonly heals: MeshRecord[] = [];
  /** Offered under a node's seal. */
  readonly kept: MeshRecord[] = [];
  readonly asked: string[] = [];
  readonly nodeKeys = new Map<string, Uint8Array>();
  replica = { from: "c1", bootId: "boot-c1", epoch: 1n, n: 0n };
  /** False: the coordinator answers nothing. */
  answers = true;
  /** False: the coordinator compares no states. */
  compares = true;
  /** False: the enrolment token is refused. */
  enrols = true;
  lastSeq = 0;
  /** Signs digests and answers. */
  signer: Signer = signers.coordinator;
  /** How long the nodes' machine slept: its clock stood still while the coordinator's went on. */
  nodesSleptMs = 0n;

  constructor(of: { readonly clock?: Clock; readonly busStore?: TwinStore } = {}) {
    this.clock = (of.clock as TwinClock | undefined) ?? twinClock();
    this.busStore = of.busStore ?? twinStore();
    this.hub = createBusHub(this.busStore);
    this.bus = this.hub.connect();
    this.bus.listen("alt.ack.*", ({ bytes }) => this.#hear("ack", bytes));
    this.bus.listen("alt.hb.*", ({ bytes }) => this.#hear("beat", bytes));
    this.bus.listen("alt.heal.*", ({ bytes }) => {
      const read = restoreRecord(bytes, { mesh: MESH });
      if (read.ok) this.heals.push(read.record);
      const sealed = openSealed("kept", bytes, (kid) => this.nodeKeys.get(kid), verify);
      const kept = sealed && restoreRecord(sealed.payload, { mesh: MESH });
      if (kept?.ok) this.kept.push(kept.record);
    });
    this.bus.listen("alt.req.*.*", (message) => this.#answer(message));
  }

  /** Puts the trust bundle into the stream. */
  async found(): Promise<void> {
    await this.commit(
      "trust",
      trust([
        [signers.coordinator, TrustRole.COORDINATOR],
        [signers.enrolment, TrustRole.ENROLMENT],
      ]),
      signers.operator,
    );
  }

  /** The record that would follow in its scope; nobody has it yet. */
  make(scope: string, op: RecordOp, signer: Signer = signers.operator): MeshRecord {
    const bytes = nextRecord(
      this.state.get(scope),
      {
        mesh: MESH,
        scope,
        op,
        cmdId: uuidV7(this.clock.nowMs(), this.random),
        issuedAtMs: this.clock.nowMs(),
        operator: "test",
      },
      signer,
    );
    const read = restoreRecord(bytes, { mesh: MESH });
    if (!read.ok) throw new Error(read.detail);
    return read.record;
  }

  /** Commits it and tells nodes so, as the coordinator that was asked for it does. */
  async commit(scope: string, op: RecordOp, signer?: Signer): Promise<MeshRecord> {
    const record = await this.append(this.make(scope, op, signer));
    this.tell(record);
    return record;
  }

  /** By the coordinator's own code. */
  tell(record: MeshRecord, signer: Signer = this.signer): void {
    tellCommitted(record, this.lastSeq, { bus: this.bus, signer });
  }

  async append(record: MeshRecord): Promise<MeshRecord> {
    const subject = controlSubject(record.parsed);
    const last = await this.bus.last(CONTROL_STREAM, subject);
    const expectSeq = last?.seq ?? 0;
    const stored = await this.bus.append(subject, record.bytes, { msgId: record.cmdId, expectSeq });
    if (stored === "conflict") throw new Error("conflict");
    this.lastSeq = stored.seq;
    this.state.merge(record);
    return record;
  }

  fast(record: MeshRecord, bytes: Uint8Array = record.bytes): void {
    this.bus.send(withPrefix(controlSubject(record.parsed), FAST_PREFIX), bytes);
  }

  digest(over: Partial<Beat> = {}, signer: Signer = this.signer): void {
    this.replica.n += 1n;
    const beat = create(BeatSchema, {
      ...this.replica,
      monoMs: this.monoMs(),
      lastSeq: BigInt(this.lastSeq),
      stateHash: this.state.hash(),
      quorumAgeMs: 0n,
      ...(over as object),
    });
    this.bus.send(DIGEST_SUBJECT, seal("beat", toBinary(BeatSchema, beat), signer));
  }

  /** The coordinator's clock has an origin of its own. */
  monoMs(): bigint {
    return this.clock.monoNs() / 1_000_000n + 5_000_000n + this.nodesSleptMs;
  }

  acksOf(record: MeshRecord, node = "node-1"): readonly Ack[] {
    return this.acks.filter(
      (ack) => ack.node === node && Buffer.compare(ack.recordHash, record.hash) === 0,
    );
  }

  #hear(domain: "ack" | "beat", bytes: Uint8Array): void {
    const opened = openSealed(domain, bytes, (kid) => this.nodeKeys.get(kid), verify);
    if (!opened) return;
    if (domain === "ack") {
      const first = fromBinary(AckSchema, opened.payload);
      this.ackMessages += 1;
      this.acks.push(first, ...first.also);
    }
    if (domain === "beat") this.beats.push(fromBinary(BeatSchema, opened.payload));
  }

  #answer({ subject, bytes, respond }: BusMessage): void {
    const lookup = (kid: string, payload: Uint8Array): Uint8Array | undefined => {
      const { body } = fromBinary(NodeRequestSchema, payload);
      return body.case === "enrol" ? body.value.publicKey : this.nodeKeys.get(kid);
    };
    const opened = openSealed("request", bytes, lookup, verify);
    if (!opened || !this.answers) return;
    const request = fromBinary(NodeRequestSchema, opened.payload);
    this.asked.push(subject);
    void this.#bodyOf(request).then((body) => {
      if (body) respond?.(this.sealReply({ requestId: request.requestId, body }));
    });
  }

  sealReply(reply: { requestId: string; body: NodeReply["body"] }, signer: Signer = this.signer) {
    return seal("reply", toBinary(NodeReplySchema, create(NodeReplySchema, reply)), signer);
  }

  async #bodyOf({
    node,
    body,
  }: ReturnType<typeof fromBinary<typeof NodeRequestSchema>>): Promise<
    NodeReply["body"] | undefined
  > {
    if (body.case === "nonce") {
      const { from, bootId } = this.replica;
      const { nonce } = body.value;
      const value = create(NonceReplySchema, {
        nonce,
        replica: from,
        bootId,
        monoMs: this.monoMs(),
      });
      return { case: "nonce", value };
    }
    if (body.case === "enrol") {
      if (!this.enrols || body.value.token !== TOKEN) {
        const value = create(RefusedSchema, { reason: "token_unknown" });
        return { case: "refused", value };
      }
      const record = await this.enrol(node, body.value.publicKey);
      const signed = fromBinary(SignedRecordSchema, record.bytes);
      return { case: "enrol", value: create(EnrolReplySchema, { record: signed }) };
    }
    if (body.case === "state") {
      const page = this.state.recordsAfter(body.value.afterScope, 3);
      const records = page.map((one) => fromBinary(SignedRecordSchema, one.bytes));
      const more = page.length === 3;
      return { case: "state", value: create(StateReplySchema, { records, more }) };
    }
    if (body.case === "sync" && !this.compares) {
      return { case: "refused", value: create(RefusedSchema, { reason: "malformed_request" }) };
    }
    // By the coordinator's own code.
    if (body.case === "sync") return differences(this.state, body.value, () => true);
    return undefined;
  }

  async enrol(node: string, publicKey: Uint8Array): Promise<MeshRecord> {
    const kid = createHash("sha256").update(publicKey).digest("hex").slice(0, 16);
    this.nodeKeys.set(kid, publicKey);
    const known = this.state.get(`node/${node}`);
    if (known) return known;
    const value = create(TrustSchema, {
      keys: [create(TrustedKeySchema, { kid, publicKey, role: TrustRole.NODE })],
    });
    return this.commit(`node/${node}`, { case: "trust", value }, signers.enrolment);
  }
}

export type NodeOptions = {
  readonly node?: string;
  readonly store?: Store;
  readonly bus?: Bus;
  readonly token?: string | undefined;
  readonly table?: Table;
  readonly keySeed?: number;
  readonly gate?: EnforcementHooks["gate"];
};

let boots = 0;

/** One node's replica, with what it did to the rest of the node written down. */
export class TestNode {
  readonly table: Table;
  readonly store: Store;
  readonly replica: Replica;
  readonly cuts: { by: string; scope: string; done: (count: number, atNs: bigint) => void }[] = [];
  readonly told: string[] = [];
  /** What the log has of orders. */
  readonly commands: MeshRecord[] = [];
  readonly alarms: [MeshAlarm, string][] = [];
  /** What happened, in its order. */
  readonly order: string[] = [];
  /** False: the audit log takes no record. */
  logTakes = true;
  /** False: the loops do not say that they have cut. */
  loopsAnswer = true;

  constructor(world: World, options: NodeOptions = {}) {
    const { clock } = world;
    this.table =
      options.table ?? createTable({ rows: 8, loops: 1, scopes: 32, writers: 3, proofs: 64 });
    this.store = options.store ?? twinStore();
    this.replica = new Replica(
      {
        node: options.node ?? "node-1",
        bootId: `boot-${++boots}`,
        pin: { mesh: MESH, operatorPublicKey: signers.operator.publicKey },
        enrolToken: "token" in options ? options.token : TOKEN,
        nkey: "",
        timing: { deadManMs: DEAD_MAN_MS, digestMs: 1_000, heartbeatMs: 2_000 },
      },
      this.table,
      {
        bus: options.bus ?? world.hub.connect(),
        store: this.store,
        keys: twinKeys(twinRandom(options.keySeed ?? 7)),
        clock,
        random: twinRandom(8),
        stall: noStall,
        nextTurn,
      },
      {
        ...(options.gate && { gate: options.gate }),
        cut: ({ by, scope, isGated }, done) => {
          this.order.push(`cut ${scope}${isGated ? " behind the gate" : ""}`);
          this.cuts.push({ by, scope, done });
          if (this.loopsAnswer) queueMicrotask(() => done(3, clock.monoNs()));
        },
        onEnforced: (record) => {
          if (!this.logTakes) throw new Error("no space");
          this.order.push(`enforced ${record.scope}`);
        },
        onCommand: (record) => {
          if (!this.logTakes) throw new Error("no space");
          this.commands.push(record);
        },
        onPolicy: (record) => this.told.push(`policy ${record.v}`),
        onLimit: (record) => this.told.push(`limit ${record.scope}`),
        onDistrust: (record) => this.told.push(`distrust ${record.scope}`),
        onCertificate: ({ scope }) => this.told.push(`revoked ${scope}`),
        onRedaction: ({ scope }) => this.told.push(`redaction ${scope}`),
        onRevived: (agentId) => this.told.push(`revived ${agentId}`),
        onKills: () => this.told.push("kills"),
        onAlarm: (name, detail) => this.alarms.push([name, detail]),
      },
    );
  }

  get isOpen(): boolean {
    return this.replica.opening.isOpen;
  }

  hasAlarm(name: MeshAlarm): boolean {
    return this.alarms.some(([one]) => one === name);
  }
}

export const noStall: HostStall = {
  mark: (atNs) => ({ atNs, schedstat: "" }),
  until: (mark, toNs) => ({ fromNs: mark.atNs, toNs, runDelayNs: 0n }),
  longestNs: () => 0n,
  close: () => undefined,
};

/** Lets everything that can happen without time passing happen. */
export async function settle(turns = 30): Promise<void> {
  for (let i = 0; i < turns; i++) await nextTurn();
}

/** The same, and nodes tell what they have to tell. */
export async function settleAcks(world: World): Promise<void> {
  await settle();
  world.clock.advance(ACK_WINDOW_MS);
  await settle();
}

/** Waits until it is so; each round lets some time of the mesh pass. Fails by saying what is not so. */
export async function until(
  world: World,
  what: string,
  isSo: () => boolean,
  { stepMs = 20, rounds = 400 } = {},
): Promise<void> {
  for (let round = 0; round < rounds; round++) {
    await settle(4);
    if (isSo()) return;
    world.clock.advance(stepMs);
  }
  throw new Error(`it never came about that ${what}`);
}

/** A founded mesh and one open node. */
export async function openNode(
  options: NodeOptions = {},
): Promise<{ world: World; node: TestNode }> {
  const world = new World();
  await world.found();
  const node = new TestNode(world, options);
  await node.replica.start();
  await openUp(world, node);
  return { world, node };
}

/** Sends digests, one a second, until the node is open. */
export async function openUp(world: World, node: TestNode): Promise<void> {
  for (let second = 0; second < 40 && !node.isOpen; second++) {
    world.digest();
    await settle();
    world.clock.advance(500);
    await settle();
    world.clock.advance(500);
  }
  if (!node.isOpen) {
    throw new Error(`closed because ${node.replica.status().closedBecause.join(", ")}`);
  }
}

/** What a stream's store holds now, as a store of its own. */
export async function copyOfStore(store: TwinStore): Promise<TwinStore> {
  const copy = twinStore();
  await copy.commit([...store.durable].map(([key, value]) => ({ key, value })));
  return copy;
}

/** A connection that can be moved to another hub, as a client finds another server. */
export class MovableBus implements Bus {
  #inner: Bus;
  readonly #listeners = new Set<{
    pattern: string;
    fn: (m: BusMessage) => void;
    stop: () => void;
  }>();
  readonly #onUp: (() => void)[] = [];

  constructor(inner: Bus) {
    this.#inner = inner;
  }

  move(inner: Bus): void {
    this.#inner = inner;
    for (const one of this.#listeners) {
      one.stop();
      one.stop = inner.listen(one.pattern, one.fn);
    }
    for (const fn of this.#onUp) fn();
  }

  send(subject: string, bytes: Uint8Array): void {
    this.#inner.send(subject, bytes);
  }

  listen(pattern: string, fn: (message: BusMessage) => void): () => void {
    const one = { pattern, fn, stop: this.#inner.listen(pattern, fn) };
    this.#listeners.add(one);
    return () => {
      this.#listeners.delete(one);
      one.stop();
    };
  }

  ask(subject: string, bytes: Uint8Array, timeoutMs: number): Promise<Uint8Array> {
    return this.#inner.ask(subject, bytes, timeoutMs);
  }

  append(subject: string, bytes: Uint8Array, options: AppendOptions) {
    return this.#inner.append(subject, bytes, options);
  }

  read(stream: string, fromSeq: number, count: number) {
    return this.#inner.read(stream, fromSeq, count);
  }

  last(stream: string, subject: string) {
    return this.#inner.last(stream, subject);
  }

  onUp(fn: () => void): void {
    this.#onUp.push(fn);
    this.#inner.onUp(fn);
  }

  isUp(): boolean {
    return this.#inner.isUp();
  }

  close(): Promise<void> {
    return this.#inner.close();
  }
}

export function scopeSubject(scope: string): string {
  const parsed = parseScope(scope);
  if (!parsed) throw new Error(scope);
  return controlSubject(parsed);
}
