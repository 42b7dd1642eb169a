import { readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { cryptoRandom } from "../../adapters/crypto-random.ts";
import { systemClock } from "../../adapters/system-clock.ts";
import type { CommandContext } from "../../cli/command-context.ts";
import { renewRecords } from "../../cli/commands/renew-records.ts";
import { restoreRecord, signRecord } from "../../mesh/record.ts";
import type { RecordOp } from "../../mesh/record-op.ts";
import { openUntilNs } from "../../node/table/table.ts";
import type { Signer } from "../../ports/keys.ts";
import { uuidV7 } from "../../ports/random.ts";
import { twinSigner } from "../../ports/twin-keys.ts";
import { twinRandom } from "../../ports/twin-random.ts";
import {
  KillSchema,
  type SignedRecord,
  SignedRecordSchema,
  TrustedKeySchema,
  TrustRole,
  TrustSchema,
} from "../../proto/gen/altrace/v1/record_pb.ts";
import { controlSubject } from "../../proto/subjects.ts";
import { BroadcastLink, type Fate } from "../support/broadcast-link.ts";
import { proofCount } from "../support/proof.ts";
import { type NatsServer, startNats } from "../support/start-nats.ts";
import {
  type Cleanups,
  comes,
  isDone,
  type MeshOfThreads,
  MeshThreadNode,
  opensWithoutKill,
  reviveGlobal,
  reviveScope,
  startMesh,
  startNode,
} from "./mesh-threads.ts";

// A server dies; what the mesh says is lost, doubled or out of order, its stream is wiped, and clocks jump, while a kill is said.
// Judged by what lies on the node's own disk in the end.
//
// K1. Whatever the order and the repetitions, the node ends with the mesh's state.
// K2. No kill is missed in silence: every digest of an equal state, and none else, keeps a node open.
// K3. A revive that was said before a kill undoes nothing after it.

const LOSSES = proofCount("broadcasts lost", { small: 1, full: 12 });
const DISORDERS = proofCount("broadcasts doubled and out of order", { small: 1, full: 12 });
const CHANGES = proofCount("kills and revives of a round", { small: 12, full: 40 });
const BROADCAST = /^alt\.(?:fast|bc|revive|dig)(?:\.|$)/;
const HOUR_MS = 3_600_000;

const cleanups: Cleanups = [];
let nats: NatsServer;
let link: BroadcastLink;
let mesh: MeshOfThreads;
let node: MeshThreadNode;
let runs = 1;
let coordinatorAheadMs = 0;

beforeAll(async () => {
  nats = await startNats();
  cleanups.push(() => nats[Symbol.asyncDispose]());
  link = await BroadcastLink.to(nats.port);
  cleanups.push(() => link[Symbol.asyncDispose]());
  mesh = await startMesh({ nats, cleanups, nowMs: () => systemClock.nowMs() + coordinatorAheadMs });
}, 60_000);
afterEach(() => {
  link.set(undefined);
  coordinatorAheadMs = 0;
});
afterAll(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

test("over NATS a node enrols, opens, enforces a kill that is then durable and closed, and revives", async () => {
  node = await startNode(mesh, "far", link.url);
  const { command } = await kill("global");
  await comes(() => node.isKilled);
  await isDone(mesh, command?.cmdId ?? "");
  expect(node.isOpen).toBe(true);
  await reviveGlobal(mesh);
  await comes(() => !node.isKilled);
}, 120_000);

test("a server that dies closes nodes after T, one that starts meanwhile stays closed, and comes back with its kills", async () => {
  await kill("global");
  await comes(() => node.isKilled);
  await nats.kill();
  await comes(() => !node.isOpen);
  expect(node.isKilled).toBe(true);
  await restarted();
  await comes(() => node.isKilled);
  expect(node.isOpen).toBe(false);
  await nats.restart();
  await node.opens();
  expect(node.isKilled).toBe(true);
  await reviveGlobal(mesh);
  await comes(() => !node.isKilled);
}, 120_000);

for (let round = 0; round < LOSSES.count; round += 1) {
  const seed = LOSSES.seed + round;
  test(`K2: of broadcasts that are lost, the last ones too, no kill is missed (seed ${seed})`, async () => {
    const draw = drawFrom(seed);
    const percent = 1 + draw(50);
    // The last change is told of by digests alone: all its broadcasts are lost.
    const isLost = (subject: string) => subject.endsWith("kill.team.tail") || draw(100) < percent;
    await changesUnder((subject) => (isLost(subject) ? [] : [0]), draw, seed);
  }, 120_000);
}

for (let round = 0; round < DISORDERS.count; round += 1) {
  const seed = DISORDERS.seed + round;
  test(`K1, K3: of broadcasts that come late, twice and out of order the node has what the mesh has (seed ${seed})`, async () => {
    const draw = drawFrom(seed);
    const fate = () => (draw(3) === 0 ? [draw(150), draw(400)] : [draw(150)]);
    await changesUnder(fate, draw, seed);
  }, 120_000);
}

test("a wall clock that jumps by an hour, the node's or the coordinator's, closes nobody and holds up no kill", async () => {
  let wasClosed = false;
  const watching = new AbortController();
  const watched = (async () => {
    while (!watching.signal.aborted) {
      wasClosed ||= !node.isOpen;
      await sleep(2);
    }
  })();
  const openFor = () => openUntilNs(node.table);
  for (const hours of [1, -1]) {
    for (const jump of ["node", "coordinator"] as const) {
      if (jump === "node") node.ahead[0] = hours * HOUR_MS;
      else coordinatorAheadMs = hours * HOUR_MS;
      const { command } = await kill("global");
      await comes(() => node.isKilled);
      await isDone(mesh, command?.cmdId ?? "");
      await reviveGlobal(mesh);
      await comes(() => !node.isKilled);
      // Digests that come now go on entitling: it is not open on earlier ones alone.
      const before = openFor();
      await comes(() => openFor() > before + 200_000_000n);
    }
  }
  watching.abort();
  await watched;
  expect(wasClosed).toBe(false);
}, 120_000);

test("a machine that slept is closed before it serves anybody, and open only with the kill that it slept through", async () => {
  // While it sleeps it hears nothing, and its monotonic clock stands still.
  link.set((subject) => (BROADCAST.test(subject) ? [] : [0]));
  const { command } = await kill("global");
  expect([node.isOpen, node.isKilled]).toEqual([true, false]);
  node.ahead[1] = HOUR_MS;
  await comes(() => !node.isOpen);
  const hasOpened = await opensWithoutKill(node, async () => {
    link.set(undefined);
    await comes(() => node.isOpen && node.isKilled);
  });
  expect(hasOpened).toBe(false);
  await isDone(mesh, command?.cmdId ?? "");
  await reviveGlobal(mesh);
  await comes(() => !node.isKilled);
}, 120_000);

test("what a key signed that is trusted no more is renewed by an operator, and a node with an empty disk opens", async () => {
  const { operator, calls, bus } = mesh;
  if (!operator) throw new Error("no operator");
  const other = twinSigner(twinRandom(7).bytes(32));
  const signed = async (scope: string, op: RecordOp, signer: Signer = operator) => {
    const { mesh: name, v, hash } = await calls.getScope({ scope });
    const issuedAtMs = systemClock.nowMs();
    const cmdId = uuidV7(issuedAtMs, cryptoRandom);
    const fields = { mesh: name, scope, op, cmdId, issuedAtMs, operator: "test" };
    return signRecord({ ...fields, v: Number(v) + 1, prev: hash }, signer);
  };
  const current = await calls.getScope({ scope: "trust" });
  const read = restoreRecord(toBinary(SignedRecordSchema, current.record as SignedRecord), current);
  const keys = read.ok && read.record.op.case === "trust" ? read.record.op.value.keys : [];
  const { kid, publicKey } = other;
  const more = [...keys, create(TrustedKeySchema, { kid, publicKey, role: TrustRole.COORDINATOR })];
  const trust = async (of: typeof more) => {
    const op = { case: "trust", value: create(TrustSchema, { keys: of }) } as const;
    const record = fromBinary(SignedRecordSchema, await signed("trust", op));
    await calls.putKey({ record });
  };
  await trust(more);
  const op = { case: "kill", value: create(KillSchema, { reason: "test" }) } as const;
  const subject = controlSubject({ kind: "team", team: "old" });
  const stored = await bus.append(subject, await signed("team/old", op, other), {
    msgId: "old",
    expectSeq: 0,
  });
  expect(stored).not.toBe("conflict");
  await comesToBe(async () => (await calls.getScope({ scope: "team/old" })).v === 1n);
  await trust(keys);
  const context = {
    home: mesh.home,
    operatorName: "test",
    operatorKeys: () => ({ load: () => operator }),
    coordinator: () => ({ calls }),
  } as unknown as CommandContext;
  expect(await renewRecords(context)).toBe(1);
  expect(await renewRecords(context)).toBe(0);
  const fresh = await startNode(mesh, "fresh");
  await fresh.stop();
  expect(await fresh.journal()).toEqual(await mesh.inStreams());
}, 120_000);

test("a stream that was wiped takes nothing from a node that runs or starts, and is filled again by its coordinator", async () => {
  const { command } = await kill("global");
  await isDone(mesh, command?.cmdId ?? "");
  const before = await mesh.inStreams();
  await nats.kill();
  for (const name of readdirSync(nats.storeDir)) {
    rmSync(join(nats.storeDir, name), { recursive: true });
  }
  const hasOpened = await opensWithoutKill(node, async () => {
    await restarted();
    await nats.restart();
    await comesToBe(async () => {
      await mesh.ensure();
      return true;
    });
    // Nobody asks for anything: what was there is missed, and written again.
    await comesToBe(async () => same(await mesh.inStreams(), before));
    await node.opens();
  });
  expect(hasOpened).toBe(false);
  await node.stop();
  expect(await node.journal()).toEqual(before);
}, 120_000);

/** Kills and revives while messages have that fate, and then the node's disk against the streams. */
async function changesUnder(
  fate: Fate,
  draw: (below: number) => number,
  seed: number,
): Promise<void> {
  const disturbedBefore = link.disturbed;
  link.set((subject) => (BROADCAST.test(subject) ? fate(subject) : [0]));
  const killed = new Set<string>();
  for (let i = 0; i < CHANGES.count; i += 1) {
    const scope = `team/${["red", "blue", "green"][draw(3)]}`;
    if (killed.delete(scope)) await reviveScope(mesh, scope);
    else {
      killed.add(scope);
      await kill(scope);
    }
  }
  const { command } = await kill("team/tail");
  await isDone(mesh, command?.cmdId ?? "");
  const expected = await mesh.inStreams();
  // Under the fault still: what was lost is found again by what is not lost. Nobody waits for a revive.
  await comesToBe(async () => {
    const { nodes } = await mesh.calls.listNodes({});
    return nodes.some((one) => one.node === "far" && one.inSync);
  });
  await comes(() => node.isOpen);
  expect(link.disturbed).toBeGreaterThan(disturbedBefore);
  expect(await diskOfNode(), `seed ${seed}`).toEqual(expected);
  await reviveScope(mesh, "team/tail");
}

const kill = (scope: string) => mesh.calls.kill({ scope, reason: "test", operator: "test" });

/** Ends the node and starts it on what it has. */
async function restarted(): Promise<void> {
  await node.stop();
  runs += 1;
  node = new MeshThreadNode(mesh, "far", { run: runs, url: link.url });
}

/** What lies on the node's disk, by scope. The node is another one afterwards, and open. */
async function diskOfNode(): Promise<ReadonlyMap<string, string>> {
  await node.stop();
  const found = await node.journal();
  runs += 1;
  node = new MeshThreadNode(mesh, "far", { run: runs, url: link.url });
  link.set(undefined);
  await node.opens();
  return found;
}

async function comesToBe(isSo: () => Promise<boolean>): Promise<void> {
  let found = false;
  let asking = false;
  await comes(() => {
    if (!asking) {
      asking = true;
      isSo()
        .then(
          (so) => {
            found = so;
          },
          () => undefined,
        )
        .finally(() => {
          asking = false;
        });
    }
    return found;
  });
}

function same(left: ReadonlyMap<string, string>, right: ReadonlyMap<string, string>): boolean {
  return left.size === right.size && [...left].every(([scope, hash]) => right.get(scope) === hash);
}

function drawFrom(seed: number): (below: number) => number {
  const random = twinRandom(seed);
  return (below) => {
    const [high = 0, low = 0] = random.bytes(2);
    return (high * 256 + low) % below;
  };
}
