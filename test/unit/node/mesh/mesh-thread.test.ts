import { setImmediate as nextTurn } from "node:timers/promises";
import { create, toBinary } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { MeshThread } from "../../../../node/mesh/mesh-thread.ts";
import { nodeKeyName } from "../../../../node/mesh/own-keys.ts";
import { createTable } from "../../../../node/table/table.ts";
import type { MeshToControl } from "../../../../node/thread-messages.ts";
import type { Bus } from "../../../../ports/bus.ts";
import type { Store } from "../../../../ports/store.ts";
import { twinKeys } from "../../../../ports/twin-keys.ts";
import { twinRandom } from "../../../../ports/twin-random.ts";
import { twinStore } from "../../../../ports/twin-store.ts";
import { NodeRequestSchema, NonceRequestSchema } from "../../../../proto/gen/altrace/v1/mesh_pb.ts";
import {
  DEAD_MAN_MS,
  MESH,
  MovableBus,
  noStall,
  openNode,
  policy,
  settle,
  signers,
  World,
} from "./mesh-world.ts";

/** The thread of a node on its disk; it has not begun. */
function threadOf(world: World, of: { store: Store; bus: Bus; attempted: Promise<void> }) {
  const said: MeshToControl[] = [];
  const { store, bus, attempted } = of;
  const keys = twinKeys(twinRandom(7));
  const thread = new MeshThread({
    table: createTable({ rows: 8, loops: 1, scopes: 32, writers: 3, proofs: 64 }),
    config: {
      node: "node-1",
      bootId: "boot-9",
      pin: { mesh: MESH, operatorPublicKey: signers.operator.publicKey },
      enrolToken: undefined,
      nkey: "",
      timing: { deadManMs: DEAD_MAN_MS, digestMs: 1_000, heartbeatMs: 2_000 },
    },
    ports: {
      ...{ bus, store, keys, clock: world.clock, stall: noStall, nextTurn },
      random: twinRandom(9),
    },
    attempted,
    post: (message) => void said.push(message),
    bootMs: () => Number(world.clock.monoNs()) / 1e6,
    onAlarm: () => undefined,
    onEnforced: () => undefined,
    onCommand: () => undefined,
    onStopped: async () => undefined,
  });
  return { thread, said, publicKey: keys.loadOrCreate(nodeKeyName(1)).publicKey };
}

const nonce = {
  case: "nonce" as const,
  value: create(NonceRequestSchema, { nonce: Buffer.from("n") }),
};
const question = {
  t: "ask" as const,
  ...{ id: 1, method: "nonce", timeoutMs: 100 },
  request: toBinary(
    NodeRequestSchema,
    create(NodeRequestSchema, { node: "node-1", bootId: "b", requestId: "r-1", body: nonce }),
  ),
};

test("a node whose bus is not connected yet has its policy, and what it asks meanwhile waits", async () => {
  const { world, node } = await openNode();
  await world.commit("policy", policy("{}"));
  await settle();
  await node.replica.stop();

  const { promise: attempted, resolve: connected } = Promise.withResolvers<void>();
  const nowhere = world.hub.connect();
  await nowhere.close();
  const bus = new MovableBus(nowhere);
  const { thread, said } = threadOf(world, { store: node.store, bus, attempted });
  // Asked before it has begun, which is before it could believe an answer.
  thread.take(question);
  await thread.start();
  await settle();
  expect(said.map(({ t }) => t)).toEqual(["policy", "ready"]);

  bus.move(world.hub.connect());
  connected();
  await settle();
  expect(said.find(({ t }) => t === "answer")).toMatchObject({ id: 1, fault: undefined });
});

/** A node that nobody knows, with a question of its own. */
async function strange() {
  const world = new World();
  await world.found();
  const bus = world.hub.connect();
  const attempted = Promise.resolve();
  const { thread, said, publicKey } = threadOf(world, { store: twinStore(), bus, attempted });
  await thread.start();
  thread.take(question);
  await settle();
  return { world, publicKey, answers: () => said.filter(({ t }) => t === "answer") };
}

test("what a node asks before it is a member waits until it is: nobody would answer, or say no", async () => {
  const { world, publicKey, answers } = await strange();
  expect(answers()).toEqual([]);
  await world.enrol("node-1", publicKey);
  await settle();
  expect(answers()).toMatchObject([{ id: 1, fault: undefined }]);
});

test("whoever asked is told that nobody answered when its time is over", async () => {
  const { world, answers } = await strange();
  world.clock.advance(100);
  await settle();
  expect(answers()).toMatchObject([{ id: 1, fault: "timeout" }]);
});
