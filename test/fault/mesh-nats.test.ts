import { afterAll, beforeAll, expect, test } from "vitest";
import { type NatsServer, startNats } from "../support/start-nats.ts";
import {
  type Cleanups,
  comes,
  isDone,
  type MeshOfThreads,
  MeshThreadNode,
  reviveGlobal,
  startMesh,
  startNode,
} from "./mesh-threads.ts";

const cleanups: Cleanups = [];
let nats: NatsServer;
let mesh: MeshOfThreads;
let first: MeshThreadNode;

beforeAll(async () => {
  nats = await startNats();
  cleanups.push(() => nats[Symbol.asyncDispose]());
  mesh = await startMesh({ nats, cleanups });
}, 60_000);
afterAll(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

test("over NATS a node enrols, opens, enforces a kill that is then durable and closed, and revives", async () => {
  const node = await startNode(mesh, "node-1");
  const { command } = await mesh.calls.kill({ scope: "global", reason: "test", operator: "test" });
  await comes(() => node.isKilled);
  await isDone(mesh, command?.cmdId ?? "");
  expect(node.isOpen).toBe(true);
  await reviveGlobal(mesh);
  await comes(() => !node.isKilled);
  await node.stop();
  first = new MeshThreadNode(mesh, "node-1", { run: 2 });
  await first.opens();
  expect(first.isKilled).toBe(false);
}, 120_000);

test("a server that dies closes nodes after T, one that starts meanwhile stays closed, and all come back with their kills", async () => {
  const stays = first;
  const restarts = await startNode(mesh, "node-2");
  await mesh.calls.kill({ scope: "global", reason: "test", operator: "test" });
  await comes(() => stays.isKilled && restarts.isKilled);
  await nats.kill();
  await comes(() => !stays.isOpen && !restarts.isOpen);
  expect(stays.isKilled).toBe(true);
  await restarts.stop();
  const started = new MeshThreadNode(mesh, "node-2", { run: 2 });
  await comes(() => started.isKilled);
  expect(started.isOpen).toBe(false);
  await nats.restart();
  await Promise.all([stays.opens(), started.opens()]);
  expect([stays.isKilled, started.isKilled]).toEqual([true, true]);
}, 120_000);
