import { expect, test } from "vitest";
import { createBusHub } from "../../adapters/in-process-bus.ts";
import { tellCommitted } from "../../coordinator/tell-committed.ts";
import type { MeshRecord } from "../../mesh/record.ts";
import { MeshState } from "../../mesh/state.ts";
import { ANSWER_WAIT_MS, DIGEST_DUE_MS, DIGEST_WAIT_MS } from "../../node/mesh/repair.ts";
import { isKilled } from "../../node/table/scope-cells.ts";
import { BusFault, type BusMessage } from "../../ports/bus.ts";
import { twinBus } from "../../ports/twin-bus.ts";
import { twinRandom } from "../../ports/twin-random.ts";
import { type TwinStore, twinStore } from "../../ports/twin-store.ts";
import { controlSubject, FAST_PREFIX } from "../../proto/subjects.ts";
import { proofCount } from "../support/proof.ts";
import {
  copyOfStore,
  DEAD_MAN_MS,
  key,
  kill,
  MovableBus,
  openUp,
  policy,
  revive,
  settle,
  settleAcks,
  signers,
  TestNode,
  until,
  World,
} from "../unit/node/mesh/mesh-world.ts";

const GLOBAL = 0;
const { count: RUNS, seed: SEED } = proofCount("mesh delivery", { small: 12, full: 200 });
const PROOF = `${RUNS} runs from seed ${SEED}`;

async function meshWith(fate?: (subject: string) => readonly number[]) {
  const world = new World();
  await world.found();
  let isFaulty = false;
  const bus = twinBus(world.hub.connect(), {
    clock: world.clock,
    fate: (_way, subject) => (isFaulty && fate ? fate(subject) : [0]),
  });
  const node = new TestNode(world, { bus });
  await node.replica.start();
  await openUp(world, node);
  const faulty = (on: boolean): void => {
    isFaulty = on;
  };
  return { world, node, bus, faulty };
}

test("K2: a committed kill whose broadcast was lost is found by the next digest", async () => {
  const { world, node, faulty } = await meshWith((subject) =>
    subject.startsWith(FAST_PREFIX) ? [] : [0],
  );
  faulty(true);
  const record = await world.commit("global", kill(), signers.coordinator);
  await settle();
  expect(isKilled(node.table, GLOBAL)).toBe(false);
  world.digest();
  await settleAcks(world);
  expect(isKilled(node.table, GLOBAL)).toBe(true);
  expect(world.acksOf(record).at(-1)).toMatchObject({ durable: true, closed: true });
});

test("a gap is read at once when the next broadcast comes, and does not hold that one back", async () => {
  let lost = 1;
  const { world, node, faulty } = await meshWith((subject) => {
    if (!subject.startsWith(FAST_PREFIX) || lost === 0) return [0];
    lost -= 1;
    return [];
  });
  faulty(true);
  await world.commit("team/red", kill(), signers.coordinator);
  await settle();
  expect(node.replica.state.killed("team/red")).toBe(false);
  await world.commit("policy", policy("{}"));
  await settle();
  expect(node.told).toContain("policy 1");
  expect(node.replica.state.killed("team/red")).toBe(true);
  expect(node.replica.status().lastSeq).toBe(world.lastSeq);
});

test("a partition closes the node after T; healed, it has every kill and opens again", async () => {
  const { world, node, bus } = await meshWith();
  bus.cut("in");
  bus.cut("out");
  await world.commit("team/red", kill(), signers.coordinator);
  for (let i = 0; i < 20; i++) {
    await world.commit(`agent/red/a${i}`, kill(), signers.coordinator);
  }
  world.clock.advance(DEAD_MAN_MS);
  expect(node.isOpen).toBe(false);
  expect(node.replica.state.killed("team/red")).toBe(false);
  bus.heal();
  await openUp(world, node);
  expect(node.replica.state.hashHex()).toBe(world.state.hashHex());
});

/** An open node whose stream brings nothing from now on, and kills that only the coordinator knows. */
async function withoutStream(world: World, brings: () => readonly BusMessage[] = () => []) {
  await world.found();
  let reads = true;
  const bus = new MovableBus(world.hub.connect());
  const read = bus.read.bind(bus);
  bus.read = async (stream, fromSeq, count) => (reads ? read(stream, fromSeq, count) : brings());
  const node = new TestNode(world, { bus });
  await node.replica.start();
  await openUp(world, node);
  reads = false;
  const records = ["team/a", "team/b", "team/c", "team/d", "team/e"].map((scope) =>
    world.make(scope, kill(), signers.coordinator),
  );
  for (const record of records) world.state.merge(record);
  world.asked.length = 0;
  return { node, bus };
}

async function digests(world: World, count: number): Promise<void> {
  for (let second = 0; second < count; second++) {
    world.digest();
    await settle(60);
    world.clock.advance(1_000);
  }
  await settle(60);
}

test("what no stream brings is found by comparing states, in one question for the difference", async () => {
  const world = new World();
  const { node } = await withoutStream(world);
  await digests(world, 2);
  expect(world.asked.filter((subject) => !subject.endsWith(".nonce"))).toEqual([
    "alt.req.node-1.sync",
  ]);
  expect(node.replica.state.hashHex()).toBe(world.state.hashHex());
  await digests(world, 1);
  expect(node.isOpen).toBe(true);
});

test("a coordinator that has lost the others keeps nobody from asking for what they say", async () => {
  const world = new World();
  const { node } = await withoutStream(world);
  const own = node.replica.state.hash();
  for (let times = 0; times < 2; times += 1) {
    world.digest();
    await settle(60);
    world.digest({ quorumAgeMs: 13_000n, stateHash: own });
    await settle(60);
    world.clock.advance(1_000);
  }
  await settle(60);
  expect(node.replica.state.killed("team/e")).toBe(true);
});

test("where every reading of the stream fails, states are compared all the same, and within T", async () => {
  const world = new World();
  const { node } = await withoutStream(world, () => {
    throw new BusFault("timeout", "no leader");
  });
  await digests(world, 4);
  expect(node.replica.state.killed("team/e")).toBe(true);
  expect(node.replica.state.hashHex()).toBe(world.state.hashHex());
  expect(node.isOpen).toBe(true);
});

test("a node that comes back asks at the first digest that differs, though the stream has no leader", async () => {
  const world = new World();
  const { node, bus } = await withoutStream(world);
  bus.move(world.hub.connect());
  await settle(60);
  expect(world.asked).toEqual([]);
  await digests(world, 1);
  expect(node.replica.state.killed("team/e")).toBe(true);
  expect(world.asked).toEqual(["alt.req.node-1.sync"]);
});

test("a node that comes back and has heard again what it missed asks for nothing", async () => {
  const world = new World();
  const { node, bus } = await withoutStream(world);
  bus.move(world.hub.connect());
  for (const scope of ["team/a", "team/b", "team/c", "team/d", "team/e"]) {
    world.fast(world.state.get(scope) as MeshRecord);
  }
  await digests(world, 3);
  expect(node.isOpen).toBe(true);
  expect(node.replica.state.hashHex()).toBe(world.state.hashHex());
  expect(world.asked).toEqual([]);
});

test.each([
  ["one that entitles", 0n, []],
  ["one of a coordinator that has lost the others", 13_000n, ["alt.req.node-1.sync"]],
])("a node that comes back and hears a digest of its own state, %s", async (_, age, asked) => {
  const world = new World();
  const { node, bus } = await withoutStream(world);
  bus.move(world.hub.connect());
  world.digest({ quorumAgeMs: age, stateHash: node.replica.state.hash() });
  await settle(60);
  world.clock.advance(DIGEST_WAIT_MS);
  await settle(60);
  expect(world.asked.filter((subject) => !subject.endsWith(".nonce"))).toEqual(asked);
});

test("a node that comes back and hears no digest asks all the same", async () => {
  const world = new World();
  const { node, bus } = await withoutStream(world);
  bus.move(world.hub.connect());
  world.clock.advance(DIGEST_WAIT_MS - 1);
  await settle(60);
  expect(world.asked).toEqual([]);
  world.clock.advance(1);
  await settle(60);
  expect(world.asked).toEqual(["alt.req.node-1.sync"]);
  expect(node.replica.state.killed("team/e")).toBe(true);
});

test("a node that comes back and hears no digest has what the stream holds within 1.2 s", async () => {
  const { world, node } = await returned();
  world.clock.advance(DIGEST_DUE_MS - 1);
  await settle(60);
  expect(node.replica.state.killed("team/red")).toBe(false);
  world.clock.advance(1);
  await settle(60);
  expect(DIGEST_DUE_MS).toBeLessThan(1_200);
  expect(node.replica.state.killed("team/red")).toBe(true);
  expect(world.asked).toEqual([]);
});

test("a node that comes back and hears a digest in time reads no stream", async () => {
  const { world, node, bus } = await returned();
  let reads = 0;
  bus.read = async () => {
    reads += 1;
    return [];
  };
  world.digest({ stateHash: node.replica.state.hash() });
  await settle(60);
  world.clock.advance(DIGEST_WAIT_MS);
  await settle(60);
  expect(reads).toBe(0);
});

test("a stream that does not answer keeps no node from asking that has come back", async () => {
  const { world, node, bus } = await returned();
  bus.read = () => new Promise(() => undefined);
  world.clock.advance(DIGEST_DUE_MS);
  await settle(60);
  world.clock.advance(DIGEST_WAIT_MS - DIGEST_DUE_MS);
  await settle(60);
  expect(world.asked).toEqual(["alt.req.node-1.sync"]);
  expect(node.replica.state.killed("team/red")).toBe(true);
});

test("a stream that cannot be read when no digest is there ends nothing, and a coordinator is asked", async () => {
  const { world, node, bus } = await returned();
  let reads = 0;
  bus.read = async () => {
    reads += 1;
    throw new BusFault("timeout", "ALT_CTL");
  };
  world.clock.advance(DIGEST_DUE_MS);
  await settle(60);
  expect(reads).toBe(1);
  world.clock.advance(DIGEST_WAIT_MS - DIGEST_DUE_MS);
  await settle(60);
  expect(world.asked).toEqual(["alt.req.node-1.sync"]);
  expect(node.replica.state.killed("team/red")).toBe(true);
});

/** A node that was away while a kill was said and stored, and is connected again. */
async function returned() {
  const world = new World();
  await world.found();
  const bus = new MovableBus(world.hub.connect());
  const node = new TestNode(world, { bus });
  await node.replica.start();
  await openUp(world, node);
  const away = createBusHub(undefined);
  bus.move(away.connect());
  await world.commit("team/red", kill(), signers.coordinator);
  await settle(60);
  world.asked.length = 0;
  bus.move(world.hub.connect());
  return { world, node, bus };
}

test("a node that comes back reads no stream beside a coordinator that answers, and soon reads it beside a mute one", async () => {
  const world = new World();
  let reads = 0;
  const { node, bus } = await withoutStream(world, () => {
    reads += 1;
    return [];
  });
  reads = 0;
  bus.move(world.hub.connect());
  await digests(world, 1);
  expect(node.replica.state.hashHex()).toBe(world.state.hashHex());
  expect(reads).toBe(0);
  world.answers = false;
  bus.move(world.hub.connect());
  world.clock.advance(DIGEST_DUE_MS);
  await settle(60);
  expect(reads, "one a stream").toBe(2);
  world.clock.advance(DIGEST_WAIT_MS - DIGEST_DUE_MS);
  await settle(60);
  expect(reads).toBe(2);
  world.clock.advance(ANSWER_WAIT_MS);
  await settle(60);
  expect(reads, "once more").toBe(4);
});

test("what the coordinator has lost is offered to it after a comparison, and nothing else is", async () => {
  const world = new World();
  const { node } = await withoutStream(world);
  await digests(world, 3);
  const lost = node.replica.state.get("team/c");
  const whole = world.state;
  world.state = new MeshState();
  for (const record of whole.records()) if (record.scope !== "team/c") world.state.merge(record);
  world.heals.length = 0;
  await digests(world, 2);
  expect(world.heals.map(({ hashHex }) => hashHex)).toEqual([lost?.hashHex]);
});

test("beside a coordinator that compares no states, a node asks for its whole state", async () => {
  const world = new World();
  world.compares = false;
  const { node } = await withoutStream(world);
  await digests(world, 8);
  expect(world.asked).toContain("alt.req.node-1.state");
  expect(node.replica.state.hashHex()).toBe(world.state.hashHex());
  expect(node.isOpen).toBe(true);
});

test("a sequence that is given out a second time does not hide a kill", async () => {
  const world = new World();
  await world.found();
  const bus = new MovableBus(world.hub.connect());
  const node = new TestNode(world, { bus });
  await node.replica.start();
  await openUp(world, node);
  const older = await copyOfStore(world.busStore);
  const rolledBackTo = world.lastSeq;
  const lost = [
    await world.commit("team/red", kill(), signers.coordinator),
    await world.commit("team/blue", kill(), signers.coordinator),
    await world.commit("policy", policy("{}")),
  ];
  world.digest();
  await settle();
  expect(node.replica.status().lastSeq).toBe(world.lastSeq);

  const hub = createBusHub(older);
  const coordinator = hub.connect();
  const healed: string[] = [];
  coordinator.listen("alt.heal.node-1", ({ bytes }) => {
    for (const one of lost) if (Buffer.compare(one.bytes, bytes) === 0) healed.push(one.scope);
  });
  bus.move(hub.connect());
  await settle();
  const record = world.make("global", kill(), signers.coordinator);
  const stored = await coordinator.append(controlSubject(record.parsed), record.bytes, {
    msgId: record.cmdId,
    expectSeq: 0,
  });
  expect(stored).toEqual({ seq: rolledBackTo + 1 });
  // It is said on the fast path, which has no numbers; the next record's number is one of an earlier one.
  tellCommitted(record, rolledBackTo + 1, { bus: coordinator, signer: signers.coordinator });
  const next = world.make("key/abcdefgh", key("secret", "red/a"));
  await coordinator.append(controlSubject(next.parsed), next.bytes, {
    msgId: next.cmdId,
    expectSeq: 0,
  });
  await settle(60);
  expect(isKilled(node.table, GLOBAL)).toBe(true);
  expect(node.hasAlarm("sequence_reused")).toBe(true);
  expect(node.replica.state.killed("team/red")).toBe(true);
  // What the stream lost is offered back, so that the mesh is made whole again.
  expect(healed.toSorted()).toEqual(["policy", "team/blue", "team/red"]);
});

test("a stream that was wiped takes nothing from a node, which offers everything back", async () => {
  const world = new World();
  await world.found();
  const bus = new MovableBus(world.hub.connect());
  const node = new TestNode(world, { bus });
  await node.replica.start();
  await openUp(world, node);
  await world.commit("global", kill(), signers.coordinator);
  await settle();
  const before = node.replica.state.hashHex();
  const empty = new World({ clock: world.clock, busStore: twinStore() });
  for (const [kid, key] of world.nodeKeys) empty.nodeKeys.set(kid, key);
  empty.replica = { from: "c2", bootId: "boot-c2", epoch: 9n, n: 0n };
  bus.move(empty.hub.connect());
  for (let second = 0; second < 4; second++) {
    empty.digest();
    await settle(60);
    world.clock.advance(1_000);
  }
  expect(node.replica.state.hashHex()).toBe(before);
  expect(isKilled(node.table, GLOBAL)).toBe(true);
  const offered = new Set(empty.heals.map(({ scope }) => scope));
  expect(offered).toEqual(new Set(["trust", "node/node-1", "global"]));
});

test(`K1, K7: loss, doubling, delay and disorder of messages end in one state, and a kill is in force or the node closed (${PROOF})`, async () => {
  for (let run = 0; run < RUNS; run++) {
    const seed = SEED + run;
    const random = twinRandom(seed);
    const draw = (below: number): number => {
      const [a = 0, b = 0] = random.bytes(2);
      return (a * 256 + b) % below;
    };
    const { world, node, faulty } = await meshWith(() => {
      if (draw(100) < 30) return [];
      return draw(100) < 20 ? [draw(400), draw(400)] : [draw(300)];
    });
    faulty(true);
    const killedAtMs = new Map<string, number>();
    let nowMs = 0;
    for (let step = 0; step < 30; step++) {
      const scope = ["global", "team/red", "team/blue", "agent/red/a"][draw(4)] as string;
      const isKill = !world.state.killed(scope) || draw(3) > 0;
      const record = world.make(scope, isKill ? kill() : revive);
      if (isKill && draw(2) === 0) world.fast(record);
      await world.append(record);
      if (!isKill) world.tell(record);
      if (isKill && !killedAtMs.has(scope)) killedAtMs.set(scope, nowMs);
      if (!isKill) killedAtMs.delete(scope);
      for (let i = 0; i < 2; i++) {
        world.digest();
        await settle(6);
        world.clock.advance(500);
        nowMs += 500;
        await settle(6);
      }
      for (const [killed, atMs] of killedAtMs) {
        const isIn = node.replica.state.killed(killed);
        const isLate = nowMs - atMs > DEAD_MAN_MS;
        expect(isIn || !node.isOpen || !isLate, `seed ${seed}: ${killed}`).toBe(true);
      }
    }
    faulty(false);
    await until(world, `seed ${seed}: states agree`, () => {
      world.digest();
      return node.replica.state.hashHex() === world.state.hashHex();
    });
    await openUp(world, node);
    expect(isKilled(node.table, GLOBAL), `seed ${seed}`).toBe(world.state.killed("global"));
  }
}, 120_000);

test(`K5: what was acknowledged as durable is there after a crash, at whatever moment it comes (${PROOF})`, async () => {
  for (let run = 0; run < RUNS; run++) {
    const seed = SEED + run;
    const random = twinRandom(seed);
    const [fail = 0, steps = 0, turns = 0] = random.bytes(3);
    let commits = 0;
    const store = twinStore({
      commitFate: () => {
        commits += 1;
        if (commits % 7 === fail % 7) return "fails_not_persisted";
        return commits % 5 === fail % 5 ? "fails_but_persisted" : "good";
      },
    });
    const world = new World();
    await world.found();
    const node = new TestNode(world, { store });
    await node.replica.start();
    await until(world, "the node is a member", () => node.replica.membership === "member");
    await openUp(world, node);
    for (let step = 0; step <= steps % 12; step++) {
      const scope = ["global", "team/red", "agent/red/a"][step % 3] as string;
      const op = world.state.killed(scope) ? revive : kill();
      await world.commit(scope, op);
      await settle(turns % 3);
    }
    await settle(turns % 4);
    const durable = world.acks.filter((ack) => ack.durable);
    const again = new TestNode(new World(), { store: (node.store as TwinStore).crash() });
    await again.replica.start();
    for (const { scope, v } of durable) {
      expect(
        again.replica.state.get(scope)?.v ?? 0,
        `seed ${seed}: ${scope}`,
      ).toBeGreaterThanOrEqual(Number(v));
    }
    expect(again.isOpen).toBe(false);
  }
}, 120_000);
