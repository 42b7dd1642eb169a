import { create, fromBinary } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import { HEARD_KILL_STORED_MS } from "../../../coordinator/heard-kills.ts";
import { nextRecord } from "../../../mesh/record.ts";
import { openSealed } from "../../../mesh/sealed.ts";
import type { Bus, BusMessage } from "../../../ports/bus.ts";
import { twinBus } from "../../../ports/twin-bus.ts";
import { type Beat, BeatSchema } from "../../../proto/gen/altrace/v1/mesh_pb.ts";
import {
  KillSchema,
  ReviveSchema,
  TrustRole,
  TrustSchema,
} from "../../../proto/gen/altrace/v1/record_pb.ts";
import { parseScope, type Scope } from "../../../proto/ids.ts";
import { controlSubject, FAST_PREFIX, withPrefix } from "../../../proto/subjects.ts";
import { CoordinatorWorld, MESH } from "./coordinator-world.ts";

const SCOPE = "agent/pay/bot";
const SUBJECT = "alt.ctl.kill.agent.pay.bot";
const killOp = () => ({ case: "kill" as const, value: create(KillSchema, { reason: "r" }) });
const reviveOp = () => ({ case: "revive" as const, value: create(ReviveSchema, {}) });

const kill = (world: CoordinatorWorld, scope = SCOPE) =>
  world.parts.commands.kill({
    cmdId: world.newId(),
    scope,
    reason: "",
    cause: "",
    operator: "olga",
  });

/** Digests that were heard, oldest first. */
function digests(world: CoordinatorWorld): Beat[] {
  return world.heard.flatMap(({ subject, bytes }) => {
    if (subject !== "alt.dig") return [];
    const key = (): Uint8Array => world.coordinator.publicKey;
    const opened = openSealed("beat", bytes, key, world.keys.verify);
    return opened ? [fromBinary(BeatSchema, opened.payload)] : [];
  });
}

describe("what the coordinator hears", () => {
  test("another coordinator's kill on the fast path counts at once", async () => {
    const world = new CoordinatorWorld();
    await world.founded();
    const bytes = world.sign(SCOPE, killOp(), world.coordinator);
    world.outside.send("alt.fast.kill.agent.pay.bot", bytes);
    await world.flush();
    expect(world.parts.replica.state.killed(SCOPE)).toBe(true);
  });

  test("a revive on the fast path does not", async () => {
    const world = new CoordinatorWorld();
    await world.founded();
    await kill(world);
    await world.flush();
    world.outside.send("alt.fast.kill.agent.pay.bot", world.sign(SCOPE, reviveOp()));
    await world.flush();
    expect(world.parts.replica.state.killed(SCOPE)).toBe(true);
  });

  test("R1: a record that nobody trusted signed, or on another scope's subject, is refused", async () => {
    const world = new CoordinatorWorld();
    await world.founded();
    const stranger = world.keys.loadOrCreate("stranger");
    world.outside.send("alt.fast.kill.agent.pay.bot", world.sign(SCOPE, killOp(), stranger));
    world.outside.send("alt.fast.kill.team.pay", world.sign(SCOPE, killOp(), world.coordinator));
    world.outside.send("alt.heal.n1", Buffer.from("garbage"));
    await world.flush();
    expect(world.parts.replica.state.killed(SCOPE)).toBe(false);
    expect(world.events("record_refused")).toMatchObject([
      { via: "fast", reason: "key_unknown" },
      { via: "fast", reason: "subject_mismatch" },
      { via: "heal" },
    ]);
  });

  test("a record that a node has and nobody else is merged, saved and written to the stream", async () => {
    const world = new CoordinatorWorld();
    await world.founded();
    const bytes = world.sign(SCOPE, killOp(), world.coordinator);
    world.outside.send("alt.heal.n1", bytes);
    await world.until(() => world.events("record_reoffered").length === 1);
    expect(world.parts.replica.state.killed(SCOPE)).toBe(true);
    expect(await world.inStream(SUBJECT)).toMatchObject({ v: 1, op: { case: "kill" } });
    await world.flush();
    expect(world.store.durable.has(`record/${SCOPE}`)).toBe(true);
  });

  test.each([SCOPE, `contract/${"c".repeat(43)}`])(
    "a kill of %s that its own coordinator has not stored is stored by one that heard it",
    async (scope) => {
      const world = new CoordinatorWorld();
      await world.founded();
      const bytes = world.sign(scope, killOp(), world.coordinator);
      const subject = controlSubject(parseScope(scope) as Scope);
      const stream = subject.startsWith("alt.rev.") ? "ALT_REV" : "ALT_CTL";
      world.outside.send(withPrefix(subject, FAST_PREFIX), bytes);
      await world.pass(HEARD_KILL_STORED_MS - 250);
      expect(await world.outside.last(stream, subject)).toBeUndefined();
      await world.pass(500);
      const last = await world.outside.last(stream, subject);
      expect(Buffer.from(last?.bytes ?? [])).toEqual(Buffer.from(bytes));
    },
  );

  test("an older record from a node is not written over a newer one", async () => {
    const world = new CoordinatorWorld();
    await world.founded();
    const first = await kill(world);
    await world.until(() => first.committed);
    const old = (await world.outside.last("ALT_CTL", SUBJECT))?.bytes ?? new Uint8Array(0);
    const revive = await world.parts.commands.carry(world.sign(SCOPE, reviveOp()), ["revive"]);
    await world.until(() => revive.committed);
    world.outside.send("alt.heal.n1", old);
    await world.pass(1_000);
    expect(await world.inStream(SUBJECT)).toMatchObject({ v: 2 });
    expect(world.events("record_reoffered")).toEqual([]);
  });
});

describe("the stream", () => {
  test("whose record somebody wrote over is given it back, also when it was the bundle", async () => {
    const world = new CoordinatorWorld();
    await world.founded();
    const command = await kill(world);
    await world.until(() => command.committed);
    for (const subject of [SUBJECT, "alt.ctl.trust"]) {
      const before = await world.outside.last("ALT_CTL", subject);
      const append = { msgId: `junk-${subject}`, expectSeq: before?.seq ?? 0 };
      await world.outside.append(subject, Buffer.from("junk"), append);
      await world.until(() => world.events("record_reoffered").length > 0);
      await world.flush();
      const after = await world.outside.last("ALT_CTL", subject);
      expect(Buffer.from(after?.bytes ?? [])).toEqual(Buffer.from(before?.bytes ?? [1]));
      world.told.length = 0;
    }
  });

  test("is read to its end at the start, from an empty disk", async () => {
    const world = new CoordinatorWorld();
    await world.founded();
    for (let i = 0; i < 300; i += 1) await kill(world, `agent/many/a${i}`);
    await world.until(() => [...world.parts.commands.all()].every(({ committed }) => committed));
    const before = world.parts.replica.state.hashHex();
    world.store = new CoordinatorWorld().store;
    world.crash();
    await world.start();
    await world.until(() => world.parts.replica.isReplayed);
    expect(world.parts.replica.state.hashHex()).toBe(before);
    expect(world.parts.replica.lastSeq).toBe(301);
  });

  test("a broadcast that was lost is found by the next one's sequence", async () => {
    const world = new CoordinatorWorld();
    await world.founded();
    world.bus.cut("in");
    const bytes = world.sign("team/pay", killOp(), world.coordinator);
    await world.outside.append("alt.ctl.kill.team.pay", bytes, { msgId: "a", expectSeq: 0 });
    await world.flush();
    world.bus.heal();
    const next = world.sign("team/ops", killOp(), world.coordinator);
    await world.outside.append("alt.ctl.kill.team.ops", next, { msgId: "b", expectSeq: 0 });
    await world.flush();
    expect(world.parts.replica.state.killed("team/pay")).toBe(true);
    expect(world.parts.replica.lastSeq).toBe(3);
  });

  test("what it does not have is written to it when it comes back", async () => {
    const world = new CoordinatorWorld({
      busFaults: { appendFate: (subject) => (subject === SUBJECT ? "not_stored" : "good") },
    });
    await world.founded();
    const bytes = world.sign(SCOPE, killOp(), world.coordinator);
    world.outside.send("alt.fast.kill.agent.pay.bot", bytes);
    await world.pass(1_000);
    world.crash();
    world.bus = new CoordinatorWorld({ seed: 2 }).bus;
    const other = new CoordinatorWorld({ seed: 3 });
    world.bus = other.bus;
    await world.start();
    await world.until(() => world.events("record_reoffered").length === 2);
    expect((await other.outside.last("ALT_CTL", SUBJECT))?.seq).toBeGreaterThan(0);
  });

  test("R3: one that lost its end is noticed within a digest and written again", async () => {
    const world = new CoordinatorWorld();
    await world.founded();
    const command = await kill(world);
    await world.until(() => command.committed);
    // As if the server had come back from a copy: it knows nothing of what it acknowledged last.
    world.parts.replica.stream.noteSeq("team/ghost", 0);
    const record = world.parts.replica.state.get(SCOPE);
    if (!record) throw new Error("no record");
    world.parts.replica.stream.note(record, 99);
    await world.pass(2_000);
    expect(world.events("stream_rolled_back")).toMatchObject([{ seq: 99, found: 2 }]);
    expect(world.parts.replica.stream.seqOf(SCOPE)).toBe(2);
  });

  test("revoked contracts are read from their own stream, whose numbers mean nothing here", async () => {
    const world = new CoordinatorWorld();
    await world.founded();
    const id = "c".repeat(43);
    const bytes = world.sign(`contract/${id}`, killOp(), world.coordinator);
    const subject = `alt.rev.kill.contract.${id}`;
    await world.outside.append(subject, bytes, { msgId: "r", expectSeq: 0 });
    await world.flush();
    expect(world.parts.replica.state.killed(`contract/${id}`)).toBe(true);
    world.store = new CoordinatorWorld().store;
    world.crash();
    await world.start();
    await world.until(() => world.parts.replica.isReplayed);
    expect(world.parts.replica.state.killed(`contract/${id}`)).toBe(true);
    expect(world.parts.replica.lastSeq).toBe(1);
    await world.pass(2_000);
    expect(world.events("stream_rolled_back")).toEqual([]);
    expect(world.events("record_reoffered")).toEqual([]);
  });

  test("a stored record of another mesh, or under a wrong key, stops the start", async () => {
    const world = new CoordinatorWorld();
    await world.founded();
    await world.flush();
    const value = world.store.get("record/trust");
    await world.store.commit([{ key: "record/team/pay", value }]);
    world.crash();
    await expect(world.start()).rejects.toThrow("record/team/pay holds no record");
  });
});

describe("sequences", () => {
  /**
   * A coordinator whose committed broadcasts a test can also make up, as a server may.
   *
   * @param isDeaf No other broadcast reaches it.
   */
  async function withBroadcasts(isDeaf = false) {
    const world = new CoordinatorWorld();
    const inner = world.hub.connect();
    const listeners: ((message: BusMessage) => void)[] = [];
    const listen: Bus["listen"] = (pattern, fn) => {
      if (pattern === "alt.bc.>") listeners.push(fn);
      if (pattern === "alt.bc.>" && isDeaf) return () => undefined;
      return inner.listen(pattern, fn);
    };
    const bus: Bus = new Proxy(inner, {
      get: (target, name) => {
        if (name === "listen") return listen;
        const value = Reflect.get(target, name);
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
    world.bus = twinBus(bus);
    await world.founded();
    const broadcast = (bytes: Uint8Array, seq: number): void => {
      for (const fn of listeners) fn({ subject: "alt.bc.kill.agent.pay.bot", bytes, seq });
    };
    return { world, broadcast };
  }

  test("what another coordinator committed and no broadcast told is found with the next digest", async () => {
    const { world } = await withBroadcasts(true);
    const trust = world.parts.replica.state.get("trust")?.op;
    if (trust?.case !== "trust") throw new Error("no trust");
    const { kid, publicKey } = world.keys.loadOrCreate("another coordinator");
    const keys = [...trust.value.keys, { kid, publicKey, role: TrustRole.COORDINATOR }];
    const op = { case: "trust" as const, value: create(TrustSchema, { keys }) };
    const added = await world.parts.commands.carry(world.sign("trust", op), ["trust"]);
    await world.until(() => added.committed);
    const bytes = world.sign(SCOPE, killOp(), world.coordinator);
    await world.outside.append(SUBJECT, bytes, { msgId: "another", expectSeq: 0 });
    await world.flush();
    expect(world.parts.replica.state.killed(SCOPE)).toBe(false);
    await world.pass(2_000);
    expect(world.parts.replica.state.killed(SCOPE)).toBe(true);
  });

  test("a contract that another coordinator revoked and no broadcast told is found with the next digest", async () => {
    const { world } = await withBroadcasts(true);
    await world.pass(2_000);
    const scope = `contract/${"c".repeat(43)}`;
    const bytes = world.sign(scope, killOp(), world.coordinator);
    const subject = `alt.rev.kill.${scope.replace("/", ".")}`;
    await world.outside.append(subject, bytes, { msgId: "another", expectSeq: 0 });
    await world.pass(2_000);
    expect(world.parts.replica.state.killed(scope)).toBe(true);
  });

  test("what is no record among revocations says nothing of the control stream", async () => {
    const { world } = await withBroadcasts();
    const { replica } = world.parts;
    const command = await kill(world);
    await world.until(() => command.committed);
    const { lastSeq } = replica;
    for (let i = 0; i <= lastSeq; i += 1) {
      const subject = `alt.rev.kill.contract.${i}${"c".repeat(42)}`;
      await world.outside.append(subject, Buffer.from("junk"), { msgId: `${i}`, expectSeq: 0 });
    }
    await world.flush();
    expect(replica.lastSeq).toBe(lastSeq);
  });

  test("a broadcast that comes late does not move a scope's sequence back", async () => {
    const { world, broadcast } = await withBroadcasts();
    const first = await kill(world);
    await world.until(() => first.committed);
    const old = (await world.outside.last("ALT_CTL", SUBJECT))?.bytes ?? new Uint8Array(0);
    const revive = await world.parts.commands.carry(world.sign(SCOPE, reviveOp()), ["revive"]);
    await world.until(() => revive.committed);
    expect(world.parts.replica.stream.seqOf(SCOPE)).toBe(3);
    broadcast(old, 2);
    expect(world.parts.replica.stream.seqOf(SCOPE)).toBe(3);
    expect(world.parts.replica.stream.recordOf(SCOPE)?.v).toBe(2);
  });

  test("R3: something new under a number that was given out before means that the stream was rolled back", async () => {
    const { world, broadcast } = await withBroadcasts();
    const first = await kill(world, "team/pay");
    await world.until(() => first.committed);
    broadcast(world.sign(SCOPE, killOp(), world.coordinator), 2);
    expect(world.parts.replica.state.killed(SCOPE)).toBe(true);
    expect(world.events("stream_rolled_back")).toHaveLength(1);
    await world.flush();
    // What the made-up message said is not in the stream, so it is written there.
    expect(await world.inStream(SUBJECT)).toMatchObject({ v: 1 });
  });

  test("R3: a number that is given out again to what is known already is a stream that was rolled back", async () => {
    const { world, broadcast } = await withBroadcasts();
    const { replica } = world.parts;
    for (const scope of [SCOPE, "team/red"]) {
      const command = await kill(world, scope);
      await world.until(() => command.committed);
    }
    expect(replica.lastSeq).toBe(3);
    // A kill that was heard on the fast path is no news when its copy comes, with a number that was read past.
    const next = world.sign(SCOPE, killOp(), world.coordinator);
    world.outside.send("alt.fast.kill.agent.pay.bot", next);
    await world.flush();
    broadcast(next, 3);
    expect(world.events("stream_rolled_back")).toMatchObject([{ seq: 3, found: 3 }]);
    await world.until(() => world.events("record_reoffered").length > 0);
    // So is one that the leader says it has stored there just now.
    const record = replica.state.get("team/red");
    if (!record) throw new Error("no record");
    replica.noteStored(record, 2);
    expect(world.events("stream_rolled_back").length).toBe(2);
    await world.until(() => replica.stream.seqOf("team/red") === 3);
  });
});

test("keys are read before the records that they signed, wherever the bundle stands", async () => {
  const world = new CoordinatorWorld();
  await world.founded();
  const first = await kill(world);
  await world.until(() => first.committed);
  const bundle = world.parts.replica.state.get("trust");
  if (bundle?.op.case !== "trust") throw new Error("no bundle");
  const bytes = world.sign("trust", bundle.op);
  const command = await world.parts.commands.carry(bytes, ["trust"]);
  await world.until(() => command.committed);
  world.store = new CoordinatorWorld().store;
  world.crash();
  await world.start();
  await world.until(() => world.parts.replica.isReplayed);
  expect(world.parts.replica.state.killed(SCOPE)).toBe(true);
  expect(world.events("record_refused")).toEqual([]);
});

test("a record that a node has is not written over a newer one that was not heard here", async () => {
  let isDeaf = false;
  const world = new CoordinatorWorld({
    busFaults: {
      fate: (way, subject) => (isDeaf && way === "in" && subject.startsWith("alt.bc.") ? [] : [0]),
    },
  });
  await world.founded();
  isDeaf = true;
  const old = world.sign(SCOPE, killOp(), world.coordinator);
  await world.outside.append(SUBJECT, old, { msgId: "a", expectSeq: 0 });
  const opened = world.parts.replica.open(old);
  if (!opened.ok) throw new Error(opened.reason);
  const fields = { mesh: MESH, scope: SCOPE, op: reviveOp(), cmdId: world.newId() };
  const more = { issuedAtMs: world.clock.nowMs(), operator: "olga" };
  const newer = nextRecord(opened.record, { ...fields, ...more }, world.operator);
  await world.outside.append(SUBJECT, newer, { msgId: "b", expectSeq: 2 });
  world.outside.send("alt.heal.n1", old);
  await world.pass(500);
  expect(await world.inStream(SUBJECT)).toMatchObject({ v: 2 });
  expect(world.parts.replica.state.killed(SCOPE)).toBe(false);
});

describe("digests", () => {
  test("come every second, grow in number, and carry state, sequence and quorum", async () => {
    const world = new CoordinatorWorld();
    await world.founded();
    const command = await kill(world);
    await world.until(() => command.committed);
    world.heard.length = 0;
    await world.pass(3_000);
    const heard = digests(world);
    expect(heard).toHaveLength(3);
    const [first, second, third] = heard as [Beat, Beat, Beat];
    expect([second.n - first.n, third.n - second.n]).toEqual([1n, 1n]);
    expect(third.monoMs - second.monoMs).toBe(1_000n);
    expect(third).toMatchObject({ from: "c1", epoch: 1n, lastSeq: 2n });
    expect(Buffer.from(third.stateHash).toString("hex")).toBe(world.parts.replica.state.hashHex());
    expect(Number(third.quorumAgeMs)).toBeLessThanOrEqual(1_000);
  });

  test("count their epoch up at every start", async () => {
    const world = new CoordinatorWorld();
    await world.founded();
    world.crash();
    await world.founded();
    world.heard.length = 0;
    await world.pass(2_000);
    expect(digests(world).at(-1)?.epoch).toBe(2n);
  });

  test("say how long the stream's leader has not answered", async () => {
    const world = new CoordinatorWorld();
    await world.founded();
    await world.pass(2_000);
    world.bus.cut("in");
    world.heard.length = 0;
    await world.pass(20_000);
    const ages = digests(world).map(({ quorumAgeMs }) => Number(quorumAgeMs));
    expect(ages.length).toBeGreaterThanOrEqual(19);
    expect(ages.at(-1)).toBeGreaterThan(18_000);
    world.bus.heal();
    await world.pass(2_000);
    expect(Number(digests(world).at(-1)?.quorumAgeMs)).toBeLessThanOrEqual(1_000);
  });

  test("do not come before the stream was read, for it may hold kills", async () => {
    const world = new CoordinatorWorld();
    await world.founded();
    world.crash();
    world.bus.cut("in");
    await world.start();
    world.heard.length = 0;
    await world.pass(5_000);
    expect(digests(world)).toEqual([]);
    world.bus.heal();
    await world.pass(4_000);
    expect(digests(world).length).toBeGreaterThan(0);
  });

  test("do not follow the wall clock", async () => {
    const world = new CoordinatorWorld();
    await world.founded();
    await world.pass(1_000);
    world.heard.length = 0;
    await world.pass(1_000);
    world.clock.jumpWall(-3_600_000);
    await world.pass(1_000);
    const [before, after] = digests(world).slice(-2) as [Beat, Beat];
    expect(after.monoMs - before.monoMs).toBe(1_000n);
  });
});
