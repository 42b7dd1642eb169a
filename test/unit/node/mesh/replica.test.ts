import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { type MeshRecord, signRecord } from "../../../../mesh/record.ts";
import { sealReviveNotice } from "../../../../mesh/revive-notice.ts";
import { REPEAT_AFTER_NS } from "../../../../node/mesh/acks.ts";
import { type EnforcementHooks, RECORD_RETRY_MS } from "../../../../node/mesh/enforcement.ts";
import { ENROL_RETRY_MS_MIN } from "../../../../node/mesh/enrolment.ts";
import { isKilled, killedBy } from "../../../../node/table/scope-cells.ts";
import { openUntilNs } from "../../../../node/table/table.ts";
import type { Signer } from "../../../../ports/keys.ts";
import { type TwinClock, twinClock } from "../../../../ports/twin-clock.ts";
import { twinSigner } from "../../../../ports/twin-keys.ts";
import { twinRandom } from "../../../../ports/twin-random.ts";
import { type TwinStore, twinStore } from "../../../../ports/twin-store.ts";
import { KillSchema, TrustRole } from "../../../../proto/gen/altrace/v1/record_pb.ts";
import { FAST_PREFIX, REVIVE_PREFIX, withPrefix } from "../../../../proto/subjects.ts";
import {
  DEAD_MAN_MS,
  distrust,
  key,
  kill,
  MESH,
  openNode,
  openUp,
  policy,
  redact,
  revive,
  scopeSubject,
  settle,
  settleAcks,
  sha256Hex,
  signers,
  TestNode,
  trust,
  until,
  World,
} from "./mesh-world.ts";

const GLOBAL = 0;

test("a node with an empty disk enrols, repairs, compares clocks and opens", async () => {
  const { world, node } = await openNode();
  expect(node.replica.membership).toBe("member");
  expect(world.asked).toContain("alt.req.node-1.enrol");
  expect(world.asked).toContain("alt.req.node-1.nonce");
  expect(node.replica.status()).toMatchObject({ open: true, busUp: true, closedBecause: [] });
  expect(node.replica.state.hashHex()).toBe(world.state.hashHex());
});

test("a kill on the fast path is in its cell before the node says so", async () => {
  const { world, node } = await openNode();
  let cellAtAck: boolean | undefined;
  world.bus.listen("alt.ack.*", () => {
    cellAtAck ??= isKilled(node.table, GLOBAL);
  });
  const record = world.make("global", kill(), signers.coordinator);
  world.fast(record);
  await settleAcks(world);
  expect(isKilled(node.table, GLOBAL)).toBe(true);
  expect(cellAtAck).toBe(true);
  const [first, ...others] = world.acksOf(record);
  // What became true in the window of the first news is told with it, in one message.
  expect(first).toMatchObject({
    scope: "global",
    v: 1n,
    durable: true,
    closed: true,
    refused: "",
  });
  expect(others).toEqual([]);
});

test.each([
  ["in its turn", (atNs: bigint) => atNs],
  ["later", undefined],
])(
  "a gate that is closed %s is closed before the cut, and the mesh is told when",
  async (_, now) => {
    const asked: ((atNs: bigint) => void)[] = [];
    const sweeps: ((count: number, atNs: bigint) => void)[] = [];
    const gate: EnforcementHooks["gate"] = (_record, { done, swept }) => {
      sweeps.push(swept);
      if (now) return now(world.clock.monoNs() + 7n);
      asked.push(done);
      return undefined;
    };
    const { world, node } = await openNode({ gate });
    node.order.length = 0;
    const record = world.make("team/red", kill(), signers.coordinator);
    world.fast(record);
    await settle();
    if (!now) {
      expect(node.order).toEqual([]);
      asked[0]?.(world.clock.monoNs() + 7n);
    }
    sweeps[0]?.(2, world.clock.monoNs() + 9n);
    await settleAcks(world);
    expect(node.order).toEqual(["cut team/red behind the gate", "enforced team/red"]);
    const told = { gatedNs: 7n, closed: true, durable: true, sweptNs: 9n, sweptCount: 2 };
    expect(world.acksOf(record).at(-1)).toMatchObject(told);
  },
);

test("the mesh hears of a kill only after the cut was ordered and the cell stored", async () => {
  const { world, node } = await openNode();
  node.order.length = 0;
  world.bus.listen("alt.ack.*", () => node.order.push("ack"));
  world.fast(world.make("team/red", kill(), signers.coordinator));
  await settleAcks(world);
  expect(node.order.slice(0, 3)).toEqual(["cut team/red", "enforced team/red", "ack"]);
});

test("a kill is acknowledged as durable only once its commit is on disk", async () => {
  const disk = twinClock();
  const store = twinStore({ delay: { clock: disk, commitMs: () => 10 } });
  const world = new World();
  await world.found();
  const node = new TestNode(world, { store });
  await node.replica.start();
  await openUp(world, node);
  await flushAll(disk);
  const record = world.make("agent/red/a", kill(), signers.coordinator);
  world.fast(record);
  // The first ack waits for the disk, but not for long.
  for (let i = 0; i < 5; i++) await settleAcks(world);
  expect(world.acksOf(record).map((ack) => ack.durable)).toEqual([false]);
  expect(store.durable.has("rec/agent/red/a")).toBe(false);
  disk.advance(10);
  await settleAcks(world);
  expect(store.durable.has("rec/agent/red/a")).toBe(true);
  expect(world.acksOf(record).at(-1)).toMatchObject({ durable: true, closed: true });
});

test("a commit that fails is not acknowledged and is tried again until it holds", async () => {
  let fails = false;
  const store = twinStore({ commitFate: () => (fails ? "fails_not_persisted" : "good") });
  const { world, node } = await openNode({ store });
  fails = true;
  const record = world.make("global", kill(), signers.coordinator);
  world.fast(record);
  await settleAcks(world);
  world.clock.advance(3_000);
  await settleAcks(world);
  expect(isKilled(node.table, GLOBAL)).toBe(true);
  expect(world.acksOf(record).some((ack) => ack.durable)).toBe(false);
  expect(node.hasAlarm("store_failed")).toBe(true);
  fails = false;
  await until(world, "the kill is durable", () => world.acksOf(record).some((ack) => ack.durable));
  expect(store.durable.has("rec/global")).toBe(true);
});

test("a kill counts as closed only once every loop has said so, with the number it cut", async () => {
  const { world, node } = await openNode();
  node.loopsAnswer = false;
  const record = world.make("agent/red/a", kill(), signers.coordinator);
  world.fast(record);
  await settleAcks(world);
  expect(world.acksOf(record).some((ack) => ack.closed)).toBe(false);
  expect(world.acksOf(record).at(-1)?.durable).toBe(true);
  expect(node.cuts).toMatchObject([{ by: "agent", scope: "agent/red/a" }]);
  world.clock.advance(7);
  node.cuts[0]?.done(42, world.clock.monoNs());
  await settleAcks(world);
  const last = world.acksOf(record).at(-1);
  expect(last).toMatchObject({ closed: true, closedCount: 42, durable: true });
  // Five of them were the window of the first ack.
  expect(last?.closedNs).toBe(12_000_000n);
});

test("a kill that comes again changes nothing and is acknowledged again, with all that is known", async () => {
  const { world, node } = await openNode();
  const record = world.make("global", kill(), signers.coordinator);
  world.fast(record);
  await settleAcks(world);
  const before = world.acksOf(record).length;
  world.clock.advance(Number(REPEAT_AFTER_NS / 1_000_000n));
  world.fast(record);
  await settleAcks(world);
  expect(world.acksOf(record).length).toBe(before + 1);
  expect(world.acksOf(record).at(-1)).toMatchObject({ durable: true, closed: true });
  expect(node.cuts.length).toBe(1);
});

test("a killed node that starts again is killed before it touches the bus, and closed", async () => {
  const { world, node } = await openNode();
  const record = world.make("team/red", kill(), signers.coordinator);
  const global = world.make("global", kill(), signers.coordinator);
  world.fast(record);
  world.fast(global);
  await settle();
  const store = (node.store as TwinStore).crash();
  const silent = new World();
  const again = new TestNode(silent, { store });
  await again.replica.start();
  expect(isKilled(again.table, GLOBAL)).toBe(true);
  expect(again.replica.state.killed("team/red")).toBe(true);
  expect(openUntilNs(again.table)).toBe(0n);
  expect(again.isOpen).toBe(false);
});

test("a node that is let in says so and compares clocks then, and opens on the next digest", async () => {
  const world = new World();
  await world.found();
  const node = new TestNode(world);
  await node.replica.start();
  await settle();
  // Nobody compares clocks with one that is no member.
  world.digest();
  await settle();
  world.clock.advance(ENROL_RETRY_MS_MIN);
  world.beats.length = 0;
  await settle();
  expect(node.replica.membership).toBe("member");
  expect(world.beats).toHaveLength(1);
  // Whatever it would still ask, nobody answers any more.
  world.answers = false;
  world.digest();
  await settle();
  expect(node.replica.status()).toMatchObject({ open: true, closedBecause: [] });
});

test("a node that begins again has compared clocks by its first digest, and opens on it at once", async () => {
  const { world, node } = await openNode();
  await node.replica.stop();
  const again = new TestNode(world, { store: (node.store as TwinStore).crash() });
  await again.replica.start();
  await settle();
  // Whatever it would still ask, nobody answers any more.
  world.answers = false;
  world.digest();
  await settle();
  expect(again.replica.status()).toMatchObject({ open: true, closedBecause: [] });
});

test("after a restart a repeated kill is acknowledged as durable and closed", async () => {
  const { world, node } = await openNode();
  const record = world.make("global", kill(), signers.coordinator);
  world.fast(record);
  await settleAcks(world);
  await node.replica.stop();
  const again = new TestNode(world, { store: (node.store as TwinStore).crash() });
  await again.replica.start();
  world.acks.length = 0;
  world.fast(record);
  await settleAcks(world);
  expect(world.acksOf(record)).toMatchObject([{ durable: true, closed: true, enforcedNs: 0n }]);
});

test("a revive counts when it is committed, and not before", async () => {
  const { world, node } = await openNode();
  await world.commit("global", kill(), signers.coordinator);
  await settleAcks(world);
  expect(isKilled(node.table, GLOBAL)).toBe(true);
  const undo = world.make("global", revive);
  world.fast(undo);
  await settleAcks(world);
  expect(isKilled(node.table, GLOBAL)).toBe(true);
  expect(world.acksOf(undo)).toEqual([]);
  await world.append(undo);
  world.tell(undo);
  await settleAcks(world);
  expect(isKilled(node.table, GLOBAL)).toBe(false);
  expect(world.acksOf(undo).at(-1)).toMatchObject({ durable: true });
});

test("a revive of an agent is told by its name, also of one that was never killed", async () => {
  const { world, node } = await openNode();
  await world.commit("agent/red/worker", revive);
  await world.commit("team/red", revive);
  await settle();
  expect(node.told.filter((one) => one.startsWith("revived"))).toEqual(["revived red/worker"]);
});

test("a revive that a coordinator signed is refused, and the ack says so", async () => {
  const { world, node } = await openNode();
  await world.commit("global", kill(), signers.coordinator);
  const forged = world.make("global", revive, signers.coordinator);
  await world.append(forged);
  world.tell(forged);
  await settleAcks(world);
  expect(isKilled(node.table, GLOBAL)).toBe(true);
  expect(world.acksOf(forged)).toMatchObject([{ refused: "signer_not_allowed", durable: false }]);
});

test("the word that a revive is committed is a coordinator's, about a revive, on its own subject", async () => {
  const { world, node } = await openNode();
  await world.commit("global", kill(), signers.coordinator);
  const undo = world.make("global", revive);
  const say = (record: MeshRecord, signer: Signer, scope: string) => {
    const notice = sealReviveNotice({ record: record.bytes, seq: 99 }, signer);
    world.bus.send(withPrefix(scopeSubject(scope), REVIVE_PREFIX), notice);
  };
  say(undo, signers.operator, "global");
  say(undo, signers.stranger, "global");
  say(undo, signers.coordinator, "team/red");
  say(world.make("policy", policy("{}")), signers.coordinator, "global");
  world.bus.send(withPrefix(scopeSubject("global"), REVIVE_PREFIX), undo.bytes);
  await settleAcks(world);
  expect(isKilled(node.table, GLOBAL)).toBe(true);
  expect(node.told).not.toContain("policy 1");
  expect(node.alarms.filter(([name]) => name === "record_refused")).toHaveLength(5);
  say(undo, signers.coordinator, "global");
  await settleAcks(world);
  expect(isKilled(node.table, GLOBAL)).toBe(false);
  // Said again after the next kill it is an older record, and undoes nothing.
  await world.append(undo);
  await world.commit("global", kill(), signers.coordinator);
  say(undo, signers.coordinator, "global");
  await settleAcks(world);
  expect(isKilled(node.table, GLOBAL)).toBe(true);
});

test("kills that were told without their sequence are no gap, and one that was not told is", async () => {
  const world = new World();
  await world.found();
  const bus = world.hub.connect();
  let reads = 0;
  const read = bus.read.bind(bus);
  bus.read = (stream, fromSeq, count) => {
    reads += 1;
    return read(stream, fromSeq, count);
  };
  const node = new TestNode(world, { bus });
  await node.replica.start();
  await openUp(world, node);
  await settle();
  reads = 0;
  for (const scope of ["team/a", "team/b"]) await world.commit(scope, kill(), signers.coordinator);
  await world.commit("policy", policy("{}"));
  await world.commit("team/a", revive);
  await settle();
  expect(reads).toBe(0);
  expect(node.replica.state.hashHex()).toBe(world.state.hashHex());
  await world.append(world.make("team/c", kill(), signers.coordinator));
  await world.commit("policy", policy("{ }"));
  await settle();
  expect(reads).toBeGreaterThan(0);
  expect(node.replica.state.killed("team/c")).toBe(true);
  expect(node.replica.status().lastSeq).toBe(world.lastSeq);
});

test("a kill by a stranger, or on another scope's subject, is refused", async () => {
  const { world, node } = await openNode();
  const forged = world.make("global", kill(), signers.stranger);
  world.fast(forged);
  const other = world.make("team/red", kill(), signers.coordinator);
  world.bus.send(withPrefix(scopeSubject("team/blue"), FAST_PREFIX), other.bytes);
  await settleAcks(world);
  expect(isKilled(node.table, GLOBAL)).toBe(false);
  expect(node.replica.state.killed("team/red")).toBe(false);
  expect(node.replica.state.killed("team/blue")).toBe(false);
  expect(world.acksOf(other)).toMatchObject([{ refused: "subject_mismatch" }]);
  expect(world.acksOf(forged)).toMatchObject([{ refused: "key_unknown" }]);
});

test("a record of another mesh is refused", async () => {
  const { world, node } = await openNode();
  const { scope, cmdId, issuedAtMs, op, prev, v, operator } = world.make("global", kill());
  const fields = { scope, cmdId, issuedAtMs, op, prev, v, operator, mesh: `${MESH}-2` };
  world.bus.send(
    withPrefix(scopeSubject("global"), FAST_PREFIX),
    signRecord(fields, signers.operator),
  );
  await settle();
  expect(isKilled(node.table, GLOBAL)).toBe(false);
  expect(node.alarms.at(-1)?.[1]).toContain("mesh_mismatch");
});

test("without digests the node closes after T and keeps its kills", async () => {
  const { world, node } = await openNode();
  world.fast(world.make("global", kill(), signers.coordinator));
  await settle();
  world.clock.advance(DEAD_MAN_MS);
  expect(node.isOpen).toBe(false);
  expect(isKilled(node.table, GLOBAL)).toBe(true);
  expect(node.replica.status().closedBecause.length).toBeGreaterThan(0);
});

test("a digest with another state never opens and never keeps open", async () => {
  const { world, node } = await openNode();
  const until = openUntilNs(node.table);
  for (let second = 0; second < 11; second++) {
    world.digest({ stateHash: Buffer.alloc(32, 7) });
    await settle();
    world.clock.advance(1_000);
  }
  await settle();
  expect(openUntilNs(node.table)).toBe(until);
  world.clock.advance(DEAD_MAN_MS);
  expect(node.isOpen).toBe(false);
  expect(node.replica.status().closedBecause).toContain("state_differs");
});

test("a digest that is old, replayed, unsigned, or without quorum does not keep the node open", async () => {
  const { world, node } = await openNode();
  const until = openUntilNs(node.table);
  world.clock.advance(100);
  world.digest({}, signers.stranger);
  world.digest({}, signers.operator);
  world.digest({ monoMs: world.monoMs() - BigInt(DEAD_MAN_MS / 2) - 10n });
  world.digest({ quorumAgeMs: BigInt(DEAD_MAN_MS) + 1n });
  world.digest({ n: 1n });
  world.digest({ epoch: 0n, n: 1_000n });
  await settle();
  expect(openUntilNs(node.table)).toBe(until);
  world.digest();
  await settle();
  expect(openUntilNs(node.table)).toBeGreaterThan(until);
});

test("a node that is not enrolled stays closed whatever digests say", async () => {
  const world = new World();
  await world.found();
  let clocksAsked = 0;
  world.bus.listen("alt.req.node-1.nonce", () => {
    clocksAsked += 1;
  });
  const node = new TestNode(world, { token: undefined });
  await node.replica.start();
  for (let second = 0; second < 5; second++) {
    world.digest();
    await settle();
    world.clock.advance(1_000);
  }
  expect(node.isOpen).toBe(false);
  expect(node.replica.status().closedBecause).toEqual(
    expect.arrayContaining(["not_enrolled", "enrol_token_missing"]),
  );
  // No coordinator tells its clock to one that is no member, and its next question would come too late.
  expect(clocksAsked).toBe(0);
});

test("an enrolment that was refused says so and goes on trying", async () => {
  const world = new World();
  await world.found();
  world.enrols = false;
  const node = new TestNode(world);
  await node.replica.start();
  await until(world, "it was refused", () =>
    node.replica.status().closedBecause.includes("token_unknown"),
  );
  world.enrols = true;
  await openUp(world, node);
  expect(node.replica.membership).toBe("member");
});

test("a node that an operator removes closes at once and stays closed", async () => {
  const { world, node } = await openNode();
  await world.commit("node/node-1", kill());
  await settle();
  expect(node.isOpen).toBe(false);
  world.digest();
  await settle();
  expect(node.isOpen).toBe(false);
  expect(node.replica.status().closedBecause).toContain("node_removed");
});

test("a kill that the audit log did not take is recorded as soon as it takes anything", async () => {
  const { world, node } = await openNode();
  node.logTakes = false;
  await world.commit("team/a", kill());
  await world.commit("team/b", kill());
  await settle();
  expect(node.replica.state.killed("team/b")).toBe(true);
  expect(node.alarms.map(([name]) => name)).toContain("kill_unrecorded");
  expect(node.order).not.toContain("enforced team/a");
  world.clock.advance(RECORD_RETRY_MS);
  await settle();
  node.logTakes = true;
  await world.commit("team/c", kill());
  world.clock.advance(RECORD_RETRY_MS);
  await settle();
  const recorded = node.order.filter((each) => each.startsWith("enforced team/"));
  expect(recorded.sort()).toEqual(["enforced team/a", "enforced team/b", "enforced team/c"]);
  const ordered = node.commands.filter(({ op }) => op.case === "kill").map(({ scope }) => scope);
  expect(ordered.sort()).toEqual(["team/a", "team/b", "team/c"]);
});

test("a node that joins writes down each order that is in force, once, with when it was given; a restart none", async () => {
  const world = new World();
  await world.found();
  const old = await world.commit("team/a", kill(), signers.coordinator);
  await world.commit("team/b", kill(), signers.coordinator);
  await world.commit("team/b", revive);
  world.clock.advance(3_600_000);
  const node = new TestNode(world);
  await node.replica.start();
  await openUp(world, node);
  const scopes = node.commands.map(({ scope }) => scope).sort();
  expect(scopes).toEqual(["node/node-1", "team/a", "team/b", "trust"]);
  const told = node.commands.find(({ scope }) => scope === "team/a");
  expect(told).toMatchObject({ hashHex: old.hashHex, issuedAtMs: old.issuedAtMs });
  await node.replica.stop();
  const again = new TestNode(world, { store: node.store });
  await again.replica.start();
  await openUp(world, again);
  expect(again.commands).toEqual([]);
});

test("a node whose name an operator gives to another key closes at once", async () => {
  const { world, node } = await openNode();
  const other = twinSigner(twinRandom(99).bytes(32));
  await world.commit("node/node-1", trust([[other, TrustRole.NODE]]));
  await settle();
  expect(node.replica.membership).toBe("not_enrolled");
  expect(node.isOpen).toBe(false);
});

test("records that came before their signer was trusted count once the bundle is there", async () => {
  const world = new World();
  const newcomer = signers.stranger;
  await world.found();
  const node = new TestNode(world);
  await node.replica.start();
  await openUp(world, node);
  const record = await world.commit("global", kill(), newcomer);
  await settle();
  expect(isKilled(node.table, GLOBAL)).toBe(false);
  const roles = [
    [signers.coordinator, TrustRole.COORDINATOR],
    [signers.enrolment, TrustRole.ENROLMENT],
    [newcomer, TrustRole.COORDINATOR],
  ] as const;
  await world.commit("trust", trust(roles));
  await until(world, "the kill counts", () => isKilled(node.table, GLOBAL));
  expect(node.replica.state.get("global")?.hashHex).toBe(record.hashHex);
});

test("an agent that was killed before it had a row is killed in its row from the start", async () => {
  const { world, node } = await openNode();
  await world.commit("key/key00001", key("secret", "red/a"));
  await world.commit("agent/red/a", kill(), signers.coordinator);
  await settle();
  const answer = node.replica.resolve(sha256Hex("secret"), "10.0.0.1");
  if (!("grant" in answer)) throw new Error(answer.refused);
  expect(killedBy(node.table, answer.grant.row)).toBe("agent");
});

test("a kill and a revive reach the row of an agent that has one", async () => {
  const { world, node } = await openNode();
  await world.commit("key/key00001", key("secret", "red/a"));
  await settle();
  const answer = node.replica.resolve(sha256Hex("secret"), "10.0.0.1");
  if (!("grant" in answer)) throw new Error(answer.refused);
  expect(killedBy(node.table, answer.grant.row)).toBeUndefined();
  await world.commit("team/red", kill(), signers.coordinator);
  await settle();
  expect(killedBy(node.table, answer.grant.row)).toBe("team");
  await world.commit("team/red", revive);
  await settle();
  expect(killedBy(node.table, answer.grant.row)).toBeUndefined();
});

test("a policy is told when it is current, at a restart too, and one that is not committed is not", async () => {
  const { world, node } = await openNode();
  const record = world.make("policy", policy('{"a":1}'));
  world.bus.send(withPrefix(scopeSubject("policy"), "alt.fast."), record.bytes);
  await settle();
  expect(node.told).not.toContain("policy 1");
  await world.append(record);
  await settle();
  expect(node.told).toContain("policy 1");
  await node.replica.stop();
  const again = new TestNode(world, { store: (node.store as TwinStore).crash() });
  await again.replica.start();
  expect(again.told).toContain("policy 1");
});

test("distrust of a price is told when it rises, and at a restart before the policy", async () => {
  const { world, node } = await openNode();
  const scope = "distrust/openai/gpt-5";
  await world.commit("policy", policy('{"a":1}'));
  await world.commit(scope, distrust(2_000n), signers.coordinator);
  await world.commit(scope, distrust(1_500n), signers.coordinator);
  await settle();
  expect(node.told.filter((one) => one.startsWith("distrust"))).toEqual([`distrust ${scope}`]);
  await node.replica.stop();
  const again = new TestNode(world, { store: (node.store as TwinStore).crash() });
  await again.replica.start();
  expect(again.told.slice(0, 2)).toEqual([`distrust ${scope}`, "policy 1"]);
});

test("a revocation whose contract has ended is forgotten with the next that ends two days later, and stays so", async () => {
  const { world, node } = await openNode();
  const nowMs = world.clock.nowMs();
  const revoke = (id: string, endMs: number) => {
    const value = create(KillSchema, { contractEndMs: BigInt(endMs) });
    const scope = `contract/${id.repeat(43)}`;
    return world.make(scope, { case: "kill", value }, signers.coordinator);
  };
  const [early, late] = [revoke("a", nowMs - 27 * 3_600_000), revoke("b", nowMs + 86_400_000)];
  for (const record of [early, late]) {
    world.fast(record);
    world.state.merge(record);
    await settleAcks(world);
  }
  expect(world.acksOf(early)).toHaveLength(1);
  expect(node.replica.state.killed(early.scope)).toBe(false);
  expect([...node.replica.enforcement.killed]).toEqual([late.scope]);
  expect(node.replica.state.hashHex()).toBe(world.state.hashHex());
  expect(node.store.get(`rec/${early.scope}`)).toBeUndefined();
  // Somebody who has not heard of the other says it again.
  world.fast(early);
  await settleAcks(world);
  expect([...node.replica.enforcement.killed]).toEqual([late.scope]);
  expect(world.acksOf(early)).toHaveLength(1);
  await openUp(world, node);
  const again = new TestNode(world, { store: (node.store as TwinStore).crash() });
  await again.replica.start();
  expect(again.replica.state.hashHex()).toBe(world.state.hashHex());
});

test("a heartbeat says at once which policy is in force, and which is refused and why", async () => {
  const world = new World();
  await world.found();
  const node = new TestNode(world);
  await node.replica.start();
  await openUp(world, node);
  const counts = { agents: 0, connections: 0 };
  const refused = { version: 1, refusedVersion: 2, refused: "format 9 is unknown" };
  node.replica.noteCounts({ ...counts, policy: { version: 1, refusedVersion: 0, refused: "" } });
  node.replica.noteCounts({ ...counts, policy: refused });
  await settle();
  const [before, last] = world.beats.slice(-2);
  expect(before).toMatchObject({ policyVersion: 1n, policyRefusedVersion: 0n, policyRefused: "" });
  expect(last).toMatchObject({
    policyVersion: 1n,
    policyRefusedVersion: 2n,
    policyRefused: "format 9 is unknown",
  });
  const count = world.beats.length;
  node.replica.noteCounts({ ...counts, policy: refused });
  await settle();
  expect(world.beats.length, "nothing new, so no beat of its own").toBe(count);
});

test("heartbeats say what is merged, what is on disk, and that the node is open", async () => {
  const disk = twinClock();
  const store = twinStore({ delay: { clock: disk, commitMs: () => 10 } });
  const world = new World();
  await world.found();
  const node = new TestNode(world, { store });
  await node.replica.start();
  await openUp(world, node);
  await flushAll(disk);
  const policy = { version: 1, refusedVersion: 0, refused: "" };
  node.replica.noteCounts({ agents: 5, connections: 9, policy });
  world.fast(world.make("global", kill(), signers.coordinator));
  await settle();
  world.clock.advance(2_000);
  await settle();
  const [before] = world.beats.slice(-1);
  expect(before).toMatchObject({ from: "node-1", open: true, agents: 5, connections: 9 });
  expect(Buffer.from(before?.stateHash ?? []).toString("hex")).toBe(node.replica.state.hashHex());
  expect(before?.durableStateHash).not.toEqual(before?.stateHash);
  disk.advance(10);
  await settle();
  world.clock.advance(2_000);
  await settle();
  const [after] = world.beats.slice(-1);
  expect(after?.durableStateHash).toEqual(after?.stateHash);
  expect(after?.n).toBeGreaterThan(before?.n ?? 0n);
});

test("a heartbeat out of turn spares the next one when that is near, and none for longer", async () => {
  const { world, node } = await openNode();
  const policy = { version: 1, refusedVersion: 0, refused: "" };
  const after = async (ms: number): Promise<number> => {
    const before = world.beats.length;
    world.clock.advance(ms);
    await settle();
    return world.beats.length - before;
  };
  // To right after one of the regular ones.
  while ((await after(50)) === 0);
  await after(1_200);
  node.replica.noteCounts({ agents: 0, connections: 0, policy });
  await settle();
  const count = world.beats.length;
  expect(await after(1_400), "it was due in between").toBe(0);
  for (let second = 0; second < 4; second++) await after(1_000);
  expect(world.beats.length - count).toBe(2);
});

test("heartbeats say that all is closed only once every loop has said so", async () => {
  const { world, node } = await openNode();
  node.loopsAnswer = false;
  await world.commit("team/red", kill(), signers.coordinator);
  await world.commit("team/blue", kill(), signers.coordinator);
  await settle();
  const isClosed = async () => {
    world.clock.advance(2_000);
    await settle();
    const beat = world.beats.at(-1);
    expect(Buffer.from(beat?.stateHash ?? []).toString("hex")).toBe(node.replica.state.hashHex());
    return beat?.closed;
  };
  expect(node.cuts.map(({ scope }) => scope).sort()).toEqual(["team/blue", "team/red"]);
  expect(await isClosed()).toBe(false);
  node.cuts[0]?.done(1, world.clock.monoNs());
  expect(await isClosed()).toBe(false);
  node.cuts[1]?.done(0, world.clock.monoNs());
  expect(await isClosed()).toBe(true);
});

test("an order to erase a person is closed once the keys are gone, and told again at every start", async () => {
  const { world, node } = await openNode();
  const scope = "redaction/01998f3e-0000-7000-8000-000000000001";
  const record = await world.commit(scope, redact("user:alice"));
  await settleAcks(world);
  const beat = async () => {
    world.clock.advance(2_000);
    await settle();
    return world.beats.at(-1);
  };
  expect(node.told).toContain(`redaction ${scope}`);
  expect(world.acksOf(record).at(-1)).toMatchObject({ durable: true, closed: false });
  expect(await beat()).toMatchObject({ closed: false });
  node.replica.redacted({ scope, record: "of another record", count: 9 });
  expect(await beat()).toMatchObject({ closed: false });
  node.replica.redacted({ scope, record: record.hashHex, count: 2 });
  await settleAcks(world);
  expect(world.acksOf(record).at(-1)).toMatchObject({ closed: true, closedCount: 2 });
  expect(await beat()).toMatchObject({ closed: true });
  await node.replica.stop();
  // Its disk may have been brought back from before the order was carried out.
  const again = new TestNode(world, { store: (node.store as TwinStore).crash() });
  await again.replica.start();
  await openUp(world, again);
  expect(again.told).toContain(`redaction ${scope}`);
  expect(await beat()).toMatchObject({ closed: false });
  again.replica.redacted({ scope, record: record.hashHex, count: 0 });
  expect(await beat()).toMatchObject({ closed: true });
});

test("an order to erase a person that was given while a node was away is acknowledged when it is back", async () => {
  const { world, node } = await openNode();
  await node.replica.stop();
  const scope = "redaction/01998f3e-0000-7000-8000-000000000002";
  const record = await world.commit(scope, redact("user:alice"));
  const again = new TestNode(world, { store: (node.store as TwinStore).crash() });
  await again.replica.start();
  await until(world, "it has the order", () => again.told.includes(`redaction ${scope}`));
  again.replica.redacted({ scope, record: record.hashHex, count: 3 });
  await settleAcks(world);
  expect(world.acksOf(record).at(-1)).toMatchObject({ closed: true, closedCount: 3 });
});

test("a machine that slept is closed, and a digest from before its sleep does not open it", async () => {
  const { world, node } = await openNode();
  const before = world.monoMs();
  world.nodesSleptMs = 60_000n;
  node.replica.noteSleep();
  expect(node.isOpen).toBe(false);
  world.digest({ monoMs: before });
  await settle();
  expect(node.isOpen).toBe(false);
  expect(node.replica.status().closedBecause).toContain("digest_old");
  await openUp(world, node);
});

test("a record that a repair refused is read again when the trust bundle changes", async () => {
  const world = new World();
  await world.found();
  const newcomer = signers.stranger;
  await world.commit("global", kill(), newcomer);
  await world.commit("team/red", kill(), signers.coordinator);
  const node = new TestNode(world);
  await node.replica.start();
  await until(world, "the stream was read", () => node.replica.state.killed("team/red"));
  expect(node.replica.status().lastSeq).toBeGreaterThanOrEqual(3);
  expect(isKilled(node.table, GLOBAL)).toBe(false);
  const roles = [
    [signers.coordinator, TrustRole.COORDINATOR],
    [signers.enrolment, TrustRole.ENROLMENT],
    [newcomer, TrustRole.COORDINATOR],
  ] as const;
  await world.commit("trust", trust(roles));
  await until(world, "the kill counts", () => isKilled(node.table, GLOBAL));
});

test("what was cut for an earlier record of a scope says nothing of a later one", async () => {
  const { world, node } = await openNode();
  node.loopsAnswer = false;
  const first = await world.commit("global", kill(), signers.coordinator);
  await settleAcks(world);
  await world.commit("global", revive);
  const second = await world.commit("global", kill(), signers.coordinator);
  await settleAcks(world);
  expect(node.cuts.length).toBe(2);
  node.cuts[0]?.done(5, world.clock.monoNs());
  await settleAcks(world);
  expect(world.acksOf(first).some((ack) => ack.closed)).toBe(false);
  expect(world.acksOf(second).some((ack) => ack.closed)).toBe(false);
  node.cuts[1]?.done(1, world.clock.monoNs());
  await settleAcks(world);
  expect(world.acksOf(second).at(-1)).toMatchObject({ closed: true, closedCount: 1 });
});

/** Lets a slow disk take everything that is on its way, one commit after another. */
async function flushAll(disk: TwinClock): Promise<void> {
  for (let i = 0; i < 10; i++) {
    disk.advance(100);
    await settle(5);
  }
}

test("a node that stops is not opened by what its last repair brings", async () => {
  const { world, node } = await openNode();
  node.replica.opening.close();
  // A digest of a state that the node does not have yet.
  const record = world.make("team/red", kill(), signers.coordinator);
  world.state.merge(record);
  world.digest();
  await settle(2);
  expect(node.isOpen).toBe(false);
  const stopped = node.replica.stop();
  node.replica.enforcement.enforce(node.replica.state.merge(record) && record, {
    receivedNs: 1n,
    stallMark: { atNs: 1n, schedstat: "" },
    isAcked: false,
  });
  await stopped;
  expect(node.replica.state.hashHex()).toBe(world.state.hashHex());
  expect(node.isOpen).toBe(false);
});

test("a record whose key counts no more keeps a node with an empty disk closed until an operator renews it", async () => {
  const { world, node } = await openNode();
  await world.commit("team/red", kill(), signers.coordinator);
  const next = twinSigner(twinRandom(31).bytes(32));
  const bundle = trust([
    [next, TrustRole.COORDINATOR],
    [signers.enrolment, TrustRole.ENROLMENT],
  ]);
  await world.commit("trust", bundle);
  await settle();
  world.signer = next;
  const fresh = new TestNode(world, { node: "node-2", keySeed: 9 });
  await fresh.replica.start();
  for (let second = 0; second < 8; second++) {
    world.digest();
    await settle(60);
    world.clock.advance(1_000);
  }
  expect(fresh.isOpen).toBe(false);
  expect(fresh.replica.status().closedBecause).toContain("state_differs");
  expect(node.isOpen).toBe(true);
  await world.commit("team/red", kill(), signers.operator);
  await openUp(world, fresh);
  expect(fresh.replica.state.killed("team/red")).toBe(true);
  expect(node.replica.state.hashHex()).toBe(fresh.replica.state.hashHex());
});

test("a kill that a node alone heard of a coordinator that was removed is offered under the node's own seal", async () => {
  const { world, node } = await openNode();
  const removed = signers.stranger;
  const roles = [
    [signers.coordinator, TrustRole.COORDINATOR],
    [signers.enrolment, TrustRole.ENROLMENT],
  ] as const;
  await world.commit("trust", trust([...roles, [removed, TrustRole.COORDINATOR]]));
  await settle();
  const only = world.make("team/red", kill(), removed);
  world.fast(only);
  await settle();
  expect(node.replica.state.killed("team/red")).toBe(true);
  await world.commit("trust", trust(roles));
  for (let second = 0; second < 5; second++) {
    world.digest();
    await settle(60);
    world.clock.advance(1_000);
  }
  expect(world.kept.map(({ hashHex }) => hashHex)).toContain(only.hashHex);
  expect(world.heals.map(({ scope }) => scope)).not.toContain("team/red");
});
