import { create, isFieldSet } from "@bufbuild/protobuf";
import { describe, expect, test, vi } from "vitest";
import type { Command } from "../../../coordinator/command.ts";
import { commandState } from "../../../coordinator/command-state.ts";
import type { MeshRecord } from "../../../mesh/record.ts";
import { type Ack, AckSchema } from "../../../proto/gen/altrace/v1/mesh_pb.ts";
import { KillSchema } from "../../../proto/gen/altrace/v1/record_pb.ts";
import { DIGEST_SUBJECT } from "../../../proto/subjects.ts";
import { CoordinatorWorld, DEAD_MAN_MS, MARGIN_MS } from "./coordinator-world.ts";

const SCOPE = "agent/pay/bot";

async function killed(world: CoordinatorWorld, scope = SCOPE): Promise<Command> {
  const cmdId = world.newId();
  const fields = { cmdId, scope, reason: "drill", cause: "", operator: "olga" };
  const command = await world.parts.commands.kill(fields);
  await world.until(() => command.committed);
  return command;
}

function recordOf(world: CoordinatorWorld, scope = SCOPE): MeshRecord {
  const record = world.parts.replica.state.get(scope);
  if (!record) throw new Error("no record");
  return record;
}

const stateOf = (world: CoordinatorWorld, command: Command) =>
  commandState(command, world.parts.registry);

describe("nodes", () => {
  test("N1: those that are enrolled and not removed are counted", async () => {
    const world = new CoordinatorWorld();
    await world.founded();
    await world.addNode("n1");
    await world.addNode("n2");
    expect(world.parts.registry.nodes().map(({ node }) => node)).toEqual(["n1", "n2"]);
    const op = { case: "kill" as const, value: create(KillSchema, {}) };
    const removal = await world.parts.commands.carry(world.sign("node/n1", op), ["kill"]);
    await world.until(() => removal.committed);
    expect(world.parts.registry.nodes().map(({ node }) => node)).toEqual(["n2"]);
  });

  test("are live while they are heard, and in sync while their state is ours", async () => {
    const world = new CoordinatorWorld();
    await world.founded();
    const node = await world.addNode("n1");
    const [status] = world.parts.registry.nodes();
    expect(status).toMatchObject({ isLive: true, isInSync: true, containedAtMs: 0 });
    expect(status?.beat).toMatchObject({ open: true, agents: 3, connections: 5 });
    node.bus.cut("in");
    await killed(world);
    node.beat();
    await world.flush();
    expect(world.parts.registry.nodes()[0]).toMatchObject({ isLive: true, isInSync: false });
    await world.pass(7_001);
    const silent = world.parts.registry.nodes()[0];
    expect(silent).toMatchObject({ isLive: false });
    const heardAtMs = world.clock.nowMs() - (silent?.heardAgoMs ?? 0);
    expect(silent?.containedAtMs).toBeCloseTo(heardAtMs + 2 * DEAD_MAN_MS + MARGIN_MS, -2);
  });

  test("one that begins anew has a digest out of turn, and many that do have one", async () => {
    const world = new CoordinatorWorld();
    await world.founded();
    const node = await world.addNode("n1");
    await world.pass(1_250);
    const digests = () => world.heard.filter(({ subject }) => subject === DIGEST_SUBJECT).length;
    const before = digests();
    node.beat();
    await world.flush();
    expect(digests()).toBe(before);
    node.bootId = world.newId();
    node.beat();
    await world.flush();
    world.clock.advance(0);
    await world.flush();
    expect(digests()).toBe(before + 1);
    for (let i = 0; i < 5; i += 1) {
      node.bootId = world.newId();
      node.beat();
      await world.flush();
    }
    expect(digests()).toBe(before + 1);
    world.clock.advance(199);
    await world.flush();
    expect(digests()).toBe(before + 1);
    world.clock.advance(1);
    await world.flush();
    expect(digests()).toBe(before + 2);
  });

  test("N2: a heartbeat or ack under another key, or in another's name, counts for nothing", async () => {
    const world = new CoordinatorWorld();
    await world.founded();
    const [one, two] = [await world.addNode("n1"), await world.addNode("n2")];
    one.acknowledges = false;
    two.acknowledges = false;
    one.bus.cut("in");
    two.bus.cut("in");
    const command = await killed(world);
    const record = recordOf(world);
    one.ack(record, {}, { signer: two.signer });
    two.ack(record, {}, { node: "n1" });
    one.ack({ ...record, hash: new Uint8Array(32) });
    one.ack({ ...record, scope: "team/pay" });
    await world.flush();
    expect(stateOf(world, command)).toMatchObject({ nodesEnforced: 0, nodesDurable: 0 });
    expect(world.events("ack_refused").length).toBe(3);
    one.ack(record);
    await world.flush();
    expect(stateOf(world, command)).toMatchObject({ nodesEnforced: 1, nodesDurable: 1 });
  });

  test("N2: acks of many commands come in one message, and none of another node's among them", async () => {
    const world = new CoordinatorWorld();
    await world.founded();
    const [one, two] = [await world.addNode("n1"), await world.addNode("n2")];
    one.acknowledges = false;
    two.acknowledges = false;
    const commands: Command[] = [];
    for (const scope of [SCOPE, "team/red", "global"]) commands.push(await killed(world, scope));
    const records = commands.map(({ scope }) => recordOf(world, scope));
    const [first, second, third] = records.map((record) => one.ackOf(record)) as [Ack, Ack, Ack];
    one.sendAck({ ...first, also: [second, { ...third, node: "n2" }] });
    await world.flush();
    const enforced = () => commands.map((each) => stateOf(world, each).nodesEnforced);
    expect(enforced()).toEqual([1, 1, 0]);
    expect(world.events("ack_refused").length).toBe(1);
    // Nobody may have us read without end.
    one.sendAck({ ...first, also: [{ ...third, also: [third] }] });
    one.sendAck({ ...first, also: Array.from({ length: 128 }, () => third) });
    await world.flush();
    expect(enforced()).toEqual([1, 1, 0]);
    expect(world.events("ack_refused").length).toBe(3);
  });

  test("N2: the signature of an ack that adds nothing is not looked at, and it counts for nothing", async () => {
    const world = new CoordinatorWorld();
    const verify = vi.spyOn(world.keys, "verify");
    await world.founded();
    const [one, two] = [await world.addNode("n1"), await world.addNode("n2")];
    for (const node of [one, two]) node.acknowledges = false;
    const command = await killed(world);
    const record = recordOf(world);
    const looked = async (send: () => void): Promise<number> => {
      const before = verify.mock.calls.length;
      send();
      await world.flush();
      return verify.mock.calls.length - before;
    };
    expect(await looked(() => one.ack(record, { durable: false }))).toBe(1);
    expect(await looked(() => one.ack(record, { durable: false }))).toBe(0);
    expect(await looked(() => one.ack(record, {}, { signer: two.signer })), "of another key").toBe(
      0,
    );
    expect(stateOf(world, command)).toMatchObject({ nodesEnforced: 1, nodesDurable: 0 });
    expect(await looked(() => one.ack(record))).toBe(1);
    expect(stateOf(world, command)).toMatchObject({ nodesEnforced: 1, nodesDurable: 1 });
  });

  test("an ack alone in its message, as nodes before said every one, counts", async () => {
    const world = new CoordinatorWorld();
    await world.founded();
    const node = await world.addNode("n1");
    node.acknowledges = false;
    const command = await killed(world);
    const ack = node.ackOf(recordOf(world));
    // Nothing that such a node does not know is on the wire: the acks beside it, and what came later.
    const later = AckSchema.fields.filter(({ number }) => number >= 16);
    expect(later.map(({ localName }) => localName)).toContain("also");
    for (const field of later) expect(isFieldSet(ack, field), field.localName).toBe(false);
    node.sendAck(ack);
    await world.flush();
    expect(stateOf(world, command)).toMatchObject({ nodesEnforced: 1, nodesDurable: 1 });
  });

  test("a recorded heartbeat neither keeps a dead node alive nor brings an old boot back", async () => {
    const world = new CoordinatorWorld();
    await world.founded();
    const node = await world.addNode("n1");
    const old = node.beat();
    await world.flush();
    await world.pass(6_000);
    world.outside.send("alt.hb.n1", old);
    await world.pass(2_000);
    expect(world.parts.registry.nodes()[0]?.isLive).toBe(false);
    world.clock.advance(1);
    node.bootId = world.newId();
    node.beat({ n: 1n });
    await world.flush();
    expect(world.parts.registry.nodes()[0]?.isLive).toBe(true);
    await world.pass(8_000);
    world.outside.send("alt.hb.n1", old);
    await world.flush();
    expect(world.parts.registry.nodes()[0]?.isLive).toBe(false);
  });
});

test("a recording of a boot that ended before this coordinator began does not replace the living one", async () => {
  const world = new CoordinatorWorld();
  await world.founded();
  const node = await world.addNode("n1");
  const old = node.beat();
  await world.flush();
  world.crash();
  await world.founded();
  world.clock.advance(1);
  node.bootId = world.newId();
  node.beat({ n: 1n });
  await world.flush();
  world.outside.send("alt.hb.n1", old);
  await world.flush();
  expect(world.parts.registry.nodes()[0]?.beat?.bootId).toBe(node.bootId);
  expect(world.parts.registry.isCurrentBoot("n1", node.bootId)).toBe(true);
});

describe("progress of a command", () => {
  test("goes from enforced over durable to closed, and is then done", async () => {
    const world = new CoordinatorWorld();
    await world.founded();
    const node = await world.addNode("n1");
    node.acknowledges = false;
    const command = await killed(world);
    const record = recordOf(world);
    expect(stateOf(world, command)).toMatchObject({ nodesTotal: 1, nodesEnforced: 0, done: false });
    node.ack(record, { durable: false, closed: false });
    await world.flush();
    expect(stateOf(world, command)).toMatchObject({ nodesEnforced: 1, nodesDurable: 0 });
    node.ack(record, { durable: true, closed: false });
    await world.flush();
    expect(stateOf(world, command)).toMatchObject({ nodesDurable: 1, nodesClosed: 0, done: false });
    node.ack(record, { durable: false, closed: true });
    await world.flush();
    const state = stateOf(world, command);
    expect(state).toMatchObject({ nodesDurable: 1, nodesClosed: 1, done: true });
    expect(state.nodes?.[0]?.ack).toMatchObject({ enforcedNs: 250_000n, durableNs: 900_000n });
  });

  test("a mesh without nodes is done once the command is accepted", async () => {
    const world = new CoordinatorWorld();
    await world.founded();
    expect(stateOf(world, await killed(world)).done).toBe(true);
  });

  test("a heartbeat with our state makes lost acks good, but does not say that all is closed", async () => {
    const world = new CoordinatorWorld();
    await world.founded();
    const node = await world.addNode("n1");
    node.acknowledges = false;
    const command = await killed(world);
    node.beat({ durable: false });
    await world.flush();
    expect(stateOf(world, command)).toMatchObject({ nodesEnforced: 1, nodesDurable: 0 });
    node.beat();
    await world.flush();
    expect(stateOf(world, command)).toMatchObject({
      nodesEnforced: 1,
      nodesDurable: 1,
      nodesClosed: 0,
      done: false,
    });
  });

  test("a heartbeat looks no more at a command of which its node has said all, until that is signed again", async () => {
    const world = new CoordinatorWorld();
    await world.founded();
    const node = await world.addNode("n1");
    const [older, current] = [await killed(world), await killed(world)];
    await world.flush();
    expect(stateOf(world, current)).toMatchObject({ nodesDurable: 1, nodesClosed: 1 });
    const looked = vi.spyOn(world.parts.acks, "assume");
    const ids = () => looked.mock.calls.map(([{ cmdId }]) => cmdId);
    const beat = async () => {
      looked.mockClear();
      node.beat({ closed: true });
      await world.flush();
      return ids();
    };
    await beat();
    expect(await beat()).toEqual([]);
    world.parts.registry.noteInForce(older);
    expect(await beat()).toEqual([older.cmdId]);
    expect(await beat()).toEqual([]);
  });

  test("a heartbeat looks at a kill again and again that its node has not closed", async () => {
    const world = new CoordinatorWorld();
    await world.founded();
    const node = await world.addNode("n1");
    node.acknowledges = false;
    const { cmdId } = await killed(world);
    const looked = vi.spyOn(world.parts.acks, "assume");
    for (let beats = 0; beats < 3; beats += 1) {
      node.beat();
      await world.flush();
    }
    const ids = looked.mock.calls.map(([command]) => command.cmdId);
    expect(ids.filter((id) => id === cmdId)).toHaveLength(3);
  });

  test("a heartbeat looks again at a kill that its node has closed, until its disk has it", async () => {
    const world = new CoordinatorWorld();
    await world.founded();
    const node = await world.addNode("n1");
    node.acknowledges = false;
    const command = await killed(world);
    await world.flush();
    node.beat({ durable: false, closed: true });
    await world.flush();
    expect(stateOf(world, command)).toMatchObject({ nodesDurable: 0, nodesClosed: 1 });
    node.beat({ closed: true });
    await world.flush();
    expect(stateOf(world, command)).toMatchObject({ nodesDurable: 1, nodesClosed: 1, done: true });
  });

  test("a node that refuses the record does not enforce it", async () => {
    const world = new CoordinatorWorld();
    await world.founded();
    const node = await world.addNode("n1");
    node.acknowledges = false;
    node.bus.cut("in");
    const command = await killed(world);
    node.ack(recordOf(world), { refused: "key_expired", durable: false, closed: false });
    await world.flush();
    const state = stateOf(world, command);
    expect(state).toMatchObject({ nodesEnforced: 0, done: false });
    expect(state.nodes?.[0]?.ack?.refused).toBe("key_expired");
    node.ack(recordOf(world));
    await world.flush();
    expect(stateOf(world, command)).toMatchObject({ nodesEnforced: 1, done: true });
  });

  test("N3: a silent node is contained twice the dead-man time and the margin after it was heard", async () => {
    const world = new CoordinatorWorld();
    await world.founded();
    const node = await world.addNode("n1");
    node.bus.cut("in");
    node.bus.cut("out");
    const heardMs = world.clock.nowMs();
    const command = await killed(world);
    const deadlineMs = heardMs + 2 * DEAD_MAN_MS + MARGIN_MS;
    await world.pass(8_000);
    expect(stateOf(world, command).nodes?.[0]).toMatchObject({ contained: false });
    expect(Number(stateOf(world, command).nodes?.[0]?.containedAtMs)).toBeCloseTo(deadlineMs, -2);
    await world.pass(deadlineMs - world.clock.nowMs() - 1_000);
    expect(stateOf(world, command)).toMatchObject({ nodesContained: 0, done: false });
    await world.pass(1_500);
    expect(stateOf(world, command)).toMatchObject({ nodesContained: 1, done: true });
  });

  test("N3: a node that fell silent long ago may still have heard us until the kill", async () => {
    const world = new CoordinatorWorld();
    await world.founded();
    const node = await world.addNode("n1");
    node.bus.cut("out");
    await world.pass(60_000);
    const command = await killed(world);
    const acceptedMs = world.clock.nowMs();
    expect(stateOf(world, command).done).toBe(false);
    await world.pass(DEAD_MAN_MS + MARGIN_MS - 500);
    expect(stateOf(world, command).done).toBe(false);
    await world.pass(1_000);
    expect(world.clock.nowMs()).toBeGreaterThanOrEqual(acceptedMs + DEAD_MAN_MS + MARGIN_MS);
    expect(stateOf(world, command).done).toBe(true);
  });

  test("a command that is in no digest yet contains nobody", async () => {
    let isLost = false;
    const world = new CoordinatorWorld({
      busFaults: { appendFate: () => (isLost ? "not_stored" : "good") },
    });
    await world.founded();
    const node = await world.addNode("n1");
    node.bus.cut("in");
    node.bus.cut("out");
    isLost = true;
    const value = create(KillSchema, {});
    const bytes = world.sign("key/abcdefgh", { case: "kill", value });
    const command = await world.parts.commands.carry(bytes, ["kill"]);
    await world.pass(60_000);
    const state = stateOf(world, command);
    expect(state).toMatchObject({ accepted: true, committed: false, nodesContained: 0 });
    expect(state.nodes?.[0]).toMatchObject({ contained: false, containedAtMs: 0n });
  });

  test("a node that comes back is no longer contained", async () => {
    const world = new CoordinatorWorld();
    await world.founded();
    const node = await world.addNode("n1");
    node.bus.cut("in");
    node.bus.cut("out");
    const command = await killed(world);
    await world.pass(40_000);
    expect(stateOf(world, command).done).toBe(true);
    node.bus.heal();
    node.beat();
    await world.flush();
    expect(stateOf(world, command)).toMatchObject({ nodesContained: 0, done: false });
  });

  test("acks survive the coordinator", async () => {
    const world = new CoordinatorWorld();
    await world.founded();
    await world.addNode("n1");
    const command = await killed(world);
    await world.pass(500);
    world.crash();
    await world.founded();
    const again = world.parts.commands.get(command.cmdId);
    if (!again) throw new Error("forgotten");
    expect(stateOf(world, again)).toMatchObject({
      committed: true,
      nodesEnforced: 1,
      nodesDurable: 1,
      done: true,
    });
  });

  test("after a restart a node that was not heard since is contained by the new run's clock", async () => {
    const world = new CoordinatorWorld();
    await world.founded();
    const node = await world.addNode("n1");
    node.bus.cut("in");
    node.bus.cut("out");
    const { cmdId } = await killed(world);
    await world.pass(20_000);
    world.crash();
    await world.founded();
    expect(world.parts.registry.nodes()[0]?.isLive).toBe(false);
    const command = world.parts.commands.get(cmdId) as Command;
    await world.pass(2 * DEAD_MAN_MS);
    expect(stateOf(world, command).done).toBe(false);
    await world.pass(MARGIN_MS + 1_000);
    expect(stateOf(world, command).done).toBe(true);
  });
});
