import { once } from "node:events";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { fromBinary } from "@bufbuild/protobuf";
import { afterEach, expect, test } from "vitest";
import { cryptoRandom } from "../../adapters/crypto-random.ts";
import { fileKeys } from "../../adapters/file-keys.ts";
import { createGrpcClient } from "../../adapters/grpc-client.ts";
import { openLmdbStore } from "../../adapters/lmdb-store.ts";
import { connectNatsBus } from "../../adapters/nats-bus.ts";
import { ensureStreams } from "../../adapters/nats-streams.ts";
import { systemClock } from "../../adapters/system-clock.ts";
import { buildCoordinator } from "../../coordinator/app.ts";
import { readCoordinatorConfig } from "../../coordinator/config.ts";
import {
  foundMesh,
  keysPath,
  socketPath,
  storePath,
  trustPath,
} from "../../coordinator/found-mesh.ts";
import { signRecord } from "../../mesh/record.ts";
import { gatheredPort } from "../../node/gathered-port.ts";
import type { MeshWorkerData } from "../../node/mesh/mesh-worker.ts";
import { isKilled } from "../../node/table/scope-cells.ts";
import { createTable, isFresh, type Table } from "../../node/table/table.ts";
import type { MeshStatus, MeshToControl } from "../../node/thread-messages.ts";
import { uuidV7 } from "../../ports/random.ts";
import { CoordinatorService } from "../../proto/gen/altrace/v1/coordinator_service_pb.ts";
import { SignedRecordSchema } from "../../proto/gen/altrace/v1/record_pb.ts";
import { meshWal } from "../support/mesh-wal.ts";
import { startNats } from "../support/start-nats.ts";
import { tempDir } from "../support/temp-dir.ts";
import { revive } from "../unit/node/mesh/mesh-world.ts";

const DEAD_MAN_MS = 3_000;
const DIGEST_MS = 100;
const GLOBAL = 0;

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** A mesh as it is run: a NATS server, a coordinator, and nodes that are mesh threads. */
async function startMesh() {
  const home = tempDir();
  cleanups.push(() => home[Symbol.dispose]());
  const nats = await startNats();
  cleanups.push(() => nats[Symbol.asyncDispose]());
  const bus = await connectNatsBus({ url: nats.url, name: "coordinator" });
  cleanups.push(() => bus.close());
  await ensureStreams(bus, { replicas: 1 });
  const founded = foundMesh({
    home: home.path,
    mesh: "nats-mesh",
    operatorKeys: fileKeys(home.path),
    random: cryptoRandom,
  });
  const read = readCoordinatorConfig({}, {}, { home: home.path });
  if ("errors" in read) throw new Error(read.errors.join("\n"));
  const config = { ...read.config, metricsPort: 0, digestMs: DIGEST_MS, deadManMs: DEAD_MAN_MS };
  const store = openLmdbStore(storePath(home.path));
  cleanups.push(() => store.close());
  const coordinator = await buildCoordinator(config, founded.pin, {
    clock: systemClock,
    random: cryptoRandom,
    bus,
    store,
    keys: fileKeys(keysPath(home.path)),
    operator: founded.operator,
    log: () => undefined,
  });
  await coordinator.start();
  cleanups.push(() => coordinator.stop());
  await coordinator.whenReady(AbortSignal.timeout(20_000));
  const client = createGrpcClient(CoordinatorService, {
    kind: "unix",
    path: socketPath(home.path),
  });
  cleanups.push(() => client.close());
  return { home: home.path, nats, calls: client.calls, operator: founded.operator };
}

type Mesh = Awaited<ReturnType<typeof startMesh>>;

class Node {
  readonly table: Table = createTable({ rows: 8, loops: 1, scopes: 32, writers: 3 });
  readonly worker: Worker;
  readonly statuses: MeshStatus[] = [];

  constructor(mesh: Mesh, id: string, run: number, enrolToken?: string) {
    const homeDir = join(mesh.home, id);
    mkdirSync(homeDir, { recursive: true, mode: 0o700 });
    const workerData: MeshWorkerData = {
      tableBuffer: this.table.buffer,
      nodeId: id,
      bootId: `boot-${run}`,
      homeDir,
      trustFile: trustPath(mesh.home),
      ...(enrolToken === undefined ? {} : { enrolToken }),
      bus: { kind: "nats", url: mesh.nats.url },
      timing: { deadManMs: DEAD_MAN_MS, digestMs: DIGEST_MS, heartbeatMs: 200 },
      wal: meshWal(join(homeDir, `run-${run}`)),
    };
    this.worker = new Worker(new URL("../../node/mesh/mesh-worker.ts", import.meta.url), {
      workerData,
    });
    gatheredPort(this.worker).on("message", (message: MeshToControl) => {
      if (message.t === "status") this.statuses.push(message.status);
    });
    cleanups.push(() => this.worker.terminate());
  }

  get isOpen(): boolean {
    return isFresh(this.table, systemClock.monoNs());
  }

  get isKilled(): boolean {
    return isKilled(this.table, GLOBAL);
  }

  async opens(): Promise<void> {
    await comes(() => this.isOpen).catch(async () => {
      this.worker.postMessage({ t: "status", id: 1 });
      await comes(() => this.statuses.length > 0);
      throw new Error(`closed because ${this.statuses.at(-1)?.closedBecause.join(", ")}`);
    });
  }

  async stop(): Promise<void> {
    const ended = once(this.worker, "exit");
    this.worker.postMessage({ t: "stop" });
    await ended;
  }
}

async function startNode(mesh: Mesh, id: string): Promise<Node> {
  const { token } = await mesh.calls.createEnrolmentToken({ node: id });
  const node = new Node(mesh, id, 1, token);
  await node.opens();
  return node;
}

async function reviveGlobal({ calls, operator }: Mesh): Promise<void> {
  if (!operator) throw new Error("no operator");
  const current = await calls.getScope({ scope: "global" });
  const bytes = signRecord(
    {
      mesh: current.mesh,
      scope: "global",
      v: Number(current.v) + 1,
      prev: current.hash,
      cmdId: uuidV7(systemClock.nowMs(), cryptoRandom),
      issuedAtMs: systemClock.nowMs(),
      operator: "test",
      op: revive,
    },
    operator,
  );
  await calls.revive({ record: fromBinary(SignedRecordSchema, bytes) });
}

async function comes(isSo: () => boolean): Promise<void> {
  for (let i = 0; i < 4_000; i++) {
    if (isSo()) return;
    await sleep(5);
  }
  throw new Error(`it never came about: ${isSo}`);
}

test("over NATS a node enrols, opens, enforces a kill that is then durable and closed, and revives", async () => {
  const mesh = await startMesh();
  const node = await startNode(mesh, "node-1");
  const { command } = await mesh.calls.kill({ scope: "global", reason: "test", operator: "test" });
  await comes(() => node.isKilled);
  for await (const { command: state } of mesh.calls.watchCommand({ cmdId: command?.cmdId ?? "" })) {
    if (state?.done) break;
  }
  expect(node.isOpen).toBe(true);
  await reviveGlobal(mesh);
  await comes(() => !node.isKilled);
  await node.stop();
  const again = new Node(mesh, "node-1", 2);
  await again.opens();
  expect(again.isKilled).toBe(false);
}, 120_000);

test("a server that dies closes nodes after T, one that starts meanwhile stays closed, and all come back with their kills", async () => {
  const mesh = await startMesh();
  const stays = await startNode(mesh, "node-1");
  const restarts = await startNode(mesh, "node-2");
  await mesh.calls.kill({ scope: "global", reason: "test", operator: "test" });
  await comes(() => stays.isKilled && restarts.isKilled);
  await mesh.nats.kill();
  await comes(() => !stays.isOpen && !restarts.isOpen);
  expect(stays.isKilled).toBe(true);
  await restarts.stop();
  const started = new Node(mesh, "node-2", 2);
  await comes(() => started.isKilled);
  expect(started.isOpen).toBe(false);
  await mesh.nats.restart();
  await Promise.all([stays.opens(), started.opens()]);
  expect([stays.isKilled, started.isKilled]).toEqual([true, true]);
}, 120_000);
