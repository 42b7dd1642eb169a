import { mkdirSync, readdirSync, readlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { MessageChannel, type MessagePort, Worker } from "node:worker_threads";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { afterEach, expect, test } from "vitest";
import { systemClock } from "../../../../adapters/system-clock.ts";
import { gatheredPort } from "../../../../node/gathered-port.ts";
import type { MeshWorkerData } from "../../../../node/mesh/mesh-worker.ts";
import type { MeshStatus } from "../../../../node/mesh-status.ts";
import { pin } from "../../../../node/table/rows.ts";
import { isKilled, killedBy } from "../../../../node/table/scope-cells.ts";
import { createTable, isFresh, openUntilNs, type Table } from "../../../../node/table/table.ts";
import type {
  ControlToMesh,
  LoopToMesh,
  MeshToControl,
  MeshToLoop,
} from "../../../../node/thread-messages.ts";
import {
  NodeReplySchema,
  NodeRequestSchema,
  NonceRequestSchema,
} from "../../../../proto/gen/altrace/v1/mesh_pb.ts";
import { meshWal } from "../../../support/mesh-wal.ts";
import { tempDir } from "../../../support/temp-dir.ts";
import { key, kill, MESH, policy, sha256Hex, signers, TOKEN, World } from "./mesh-world.ts";

/** The real thread on real adapters; the mesh's other end is played by the test in this thread. */
class RunningThread {
  readonly table: Table = createTable({ rows: 8, loops: 1, scopes: 32, writers: 3, proofs: 64 });
  readonly said: MeshToControl[] = [];
  readonly toLoop: MeshToLoop[] = [];
  readonly worker: Worker;
  readonly loop: MessagePort;
  exitCode: number | undefined;
  #statusNo = 0;

  constructor(world: World, home: string) {
    const bus = new MessageChannel();
    world.hub.attach(bus.port1);
    const workerData: MeshWorkerData = {
      tableBuffer: this.table.buffer,
      nodeId: "node-1",
      bootId: "boot-1",
      homeDir: join(home, "node"),
      trustFile: join(home, "trust.json"),
      enrolToken: TOKEN,
      bus: { kind: "port", port: bus.port2 },
      timing: { deadManMs: 5_000, digestMs: 50, heartbeatMs: 200 },
      wal: meshWal(home),
    };
    // Its lines stay out of the runner's own.
    this.worker = new Worker(new URL("../../../../node/mesh/mesh-worker.ts", import.meta.url), {
      workerData,
      transferList: [bus.port2],
      stderr: true,
    });
    gatheredPort(this.worker).on("message", (one: MeshToControl) => this.said.push(one));
    this.worker.on("exit", (code) => {
      this.exitCode = code;
    });
    const { port1, port2 } = new MessageChannel();
    this.loop = port1;
    gatheredPort(this.loop).on("message", (message: MeshToLoop) => {
      this.toLoop.push(message);
      if (message.t !== "cut") return;
      this.sayFromLoop({ t: "cut_done", id: message.id, count: 2, atNs: systemClock.monoNs() });
    });
    this.worker.postMessage({ t: "loop_port", loop: 0, port: port2 }, [port2]);
  }

  say(message: ControlToMesh): void {
    this.worker.postMessage(message);
  }

  sayFromLoop(message: LoopToMesh): void {
    this.loop.postMessage(message);
  }

  async status(): Promise<MeshStatus> {
    this.#statusNo += 1;
    const id = this.#statusNo;
    this.say({ t: "status", id });
    const answer = await this.heard((m) => m.t === "status" && m.id === id);
    if (answer.t !== "status") throw new Error("no status");
    return answer.status;
  }

  /** Waits until the thread has merged everything that is committed. */
  async catchesUp(world: World): Promise<void> {
    for (let i = 0; i < 1_000; i++) {
      if ((await this.status()).stateHash === world.state.hashHex()) return;
      await sleep(5);
    }
    throw new Error("the thread did not catch up");
  }

  async heard(isIt: (message: MeshToControl) => boolean): Promise<MeshToControl> {
    await comes(() => this.said.some(isIt));
    return this.said.find(isIt) as MeshToControl;
  }

  async stop(): Promise<void> {
    this.say({ t: "stop" });
    await comes(() => this.exitCode !== undefined);
    this.loop.close();
    expect(this.exitCode).toBe(0);
  }
}

const cleanups: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function start() {
  const home = tempDir();
  cleanups.push(() => home[Symbol.dispose]());
  mkdirSync(join(home.path, "node"), { mode: 0o700 });
  const operatorKey = Buffer.from(signers.operator.publicKey).toString("hex");
  writeFileSync(
    join(home.path, "trust.json"),
    JSON.stringify({ mesh: MESH, operator_public_key: operatorKey }),
  );
  const world = new World({ clock: systemClock });
  await world.found();
  const timer = setInterval(() => world.digest(), 50);
  cleanups.push(() => world.hub.close());
  cleanups.push(() => clearInterval(timer));
  const thread = new RunningThread(world, home.path);
  cleanups.push(async () => {
    await thread.worker.terminate();
  });
  return { world, thread, home: home.path };
}

async function comes(isSo: () => boolean): Promise<void> {
  for (let i = 0; i < 4_000; i++) {
    if (isSo()) return;
    await sleep(5);
  }
  throw new Error(`it never came about: ${isSo}`);
}

const opens = (thread: RunningThread) => comes(() => isFresh(thread.table, systemClock.monoNs()));

test("the thread enrols, opens, serves a loop, cuts at a kill, acknowledges, and keeps it", async () => {
  const { world, thread, home } = await start();
  await thread.heard((message) => message.t === "ready");
  await opens(thread);

  await world.commit("policy", policy('{"version":1}'));
  const told = await thread.heard((message) => message.t === "policy");
  expect(told).toMatchObject({ version: 1, sha256: sha256Hex('{"version":1}') });

  await world.commit("key/key00001", key("secret", "red/a"));
  await thread.catchesUp(world);
  thread.sayFromLoop({ t: "resolve", id: 1, keySha256: sha256Hex("nobody"), source: "10.0.0.1" });
  thread.sayFromLoop({ t: "resolve", id: 2, keySha256: sha256Hex("secret"), source: "10.0.0.1" });
  await comes(() => thread.toLoop.length === 2);
  expect(thread.toLoop[0]).toMatchObject({ id: 1, refused: "key_unknown" });
  const answer = thread.toLoop[1];
  if (answer?.t !== "resolved" || !answer.grant) throw new Error("the key was not resolved");
  expect(pin(thread.table, 0, answer.grant)).toBe(true);
  expect(killedBy(thread.table, answer.grant.row)).toBeUndefined();
  await thread.heard((message) => message.t === "row" && message.grant.agentId === "red/a");

  const record = world.make("agent/red/a", kill(), signers.coordinator);
  world.fast(record);
  await comes(() => killedBy(thread.table, answer.grant?.row as number) === "agent");
  await comes(() => world.acksOf(record).some((ack) => ack.durable && ack.closed));
  const last = world.acksOf(record).at(-1);
  expect(last).toMatchObject({ scope: "agent/red/a", closedCount: 2, refused: "" });
  expect(last?.enforcedNs).toBeGreaterThan(0n);
  expect(last?.durableNs).toBeGreaterThan(last?.enforcedNs ?? 0n);
  expect(thread.toLoop.at(-1)).toMatchObject({ t: "cut", by: "agent", scope: "agent/red/a" });
  await thread.heard((m) => m.t === "kills" && m.scopes.includes("agent/red/a"));
  await world.append(record);
  await world.commit("global", kill(), signers.coordinator);
  await comes(() => isKilled(thread.table, 0));
  await comes(() => world.acks.some((ack) => ack.scope === "global" && ack.durable));
  await thread.stop();
  expect(openUntilNs(thread.table)).toBe(0n);

  const again = new RunningThread(world, home);
  cleanups.push(async () => {
    await again.worker.terminate();
  });
  await again.heard((message) => message.t === "ready");
  expect(isKilled(again.table, 0)).toBe(true);
  await opens(again);
  expect((await again.status()).closedBecause).toEqual([]);
  await again.stop();
}, 60_000);

test("a request of the control thread is sealed, answered and handed back; faults have names", async () => {
  const { world, thread } = await start();
  await opens(thread);
  const value = create(NonceRequestSchema, { nonce: new Uint8Array([1, 2, 3]) });
  const request = toBinary(
    NodeRequestSchema,
    create(NodeRequestSchema, {
      node: "node-1",
      bootId: "b",
      requestId: "r-1",
      body: { case: "nonce", value },
    }),
  );
  thread.say({ t: "ask", id: 5, method: "nonce", request, timeoutMs: 2_000 });
  const answer = await thread.heard((message) => message.t === "answer" && message.id === 5);
  if (answer.t !== "answer" || !answer.reply) throw new Error("no reply");
  expect(fromBinary(NodeReplySchema, answer.reply.bytes)).toMatchObject({
    requestId: "r-1",
    body: { case: "nonce", value: { nonce: new Uint8Array([1, 2, 3]) } },
  });
  world.answers = false;
  thread.say({ t: "ask", id: 6, method: "nonce", request, timeoutMs: 50 });
  thread.say({ t: "ask", id: 7, method: "lease", request, timeoutMs: 50 });
  expect(await thread.heard((m) => m.t === "answer" && m.id === 6)).toMatchObject({
    reply: undefined,
    fault: "timeout",
  });
  expect(await thread.heard((m) => m.t === "answer" && m.id === 7)).toMatchObject({
    fault: "malformed",
  });
  await thread.stop();
}, 60_000);

test("a row that is given up is told freed once nobody uses it", async () => {
  const { world, thread } = await start();
  await opens(thread);
  await world.commit("key/key00001", key("secret", "red/a"));
  await thread.catchesUp(world);
  thread.sayFromLoop({ t: "resolve", id: 2, keySha256: sha256Hex("secret"), source: "10.0.0.1" });
  await comes(() => thread.toLoop.length === 1);
  const [answer] = thread.toLoop;
  if (answer?.t !== "resolved" || !answer.grant) throw new Error("the key was not resolved");
  thread.say({ t: "free_row", agentId: "red/a" });
  const freed = await thread.heard((message) => message.t === "row_freed");
  const { row, generation } = answer.grant;
  expect(freed).toEqual({ t: "row_freed", row, generation, agentId: "red/a" });
  expect(pin(thread.table, 0, answer.grant)).toBe(false);
  await thread.stop();
}, 60_000);

test("records that are forged or garbage are told in the log, and the thread goes on", async () => {
  const { world, thread } = await start();
  let log = "";
  thread.worker.stderr.on("data", (chunk: Buffer) => {
    log += chunk.toString();
  });
  await opens(thread);
  const forged = world.make("global", kill(), signers.stranger);
  for (let i = 0; i < 50; i++) world.fast(forged);
  world.fast(forged, new Uint8Array(100));
  world.bus.send("alt.fast.kill.global", new Uint8Array(0));
  world.bus.send("alt.dig", new Uint8Array(7));
  const record = world.make("team/red", kill(), signers.coordinator);
  world.fast(record);
  await comes(() => world.acksOf(record).some((ack) => ack.durable));
  await comes(() => log.includes("record_refused"));
  expect(isKilled(thread.table, 0)).toBe(false);
  expect(log.split("record_refused").length - 1).toBeLessThan(20);
  await thread.stop();
}, 60_000);

test("the thread holds nothing of HOME any more once it has said that it has ended", async () => {
  const { thread, home } = await start();
  await thread.heard((message) => message.t === "ready");
  expect(openBelow(home)).not.toEqual([]);
  let held: readonly string[] | undefined;
  gatheredPort(thread.worker).on("message", ({ t }: MeshToControl) => {
    if (t === "stopped") held = openBelow(home);
  });
  await thread.stop();
  expect(held).toEqual([]);
});

/** What this process has open below a folder. */
function openBelow(folder: string): readonly string[] {
  return readdirSync("/proc/self/fd").flatMap((fd) => {
    try {
      const path = readlinkSync(`/proc/self/fd/${fd}`);
      return path.startsWith(folder) ? [path] : [];
    } catch {
      // It was closed meanwhile.
      return [];
    }
  });
}
