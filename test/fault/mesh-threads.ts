import { once } from "node:events";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { fromBinary } from "@bufbuild/protobuf";
import { cryptoRandom } from "../../adapters/crypto-random.ts";
import { fileKeys } from "../../adapters/file-keys.ts";
import { createGrpcClient } from "../../adapters/grpc-client.ts";
import { openLmdbStore } from "../../adapters/lmdb-store.ts";
import { connectNatsBus, type NatsBus } from "../../adapters/nats-bus.ts";
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
import { restoreRecord, signRecord } from "../../mesh/record.ts";
import { gatheredPort } from "../../node/gathered-port.ts";
import type { MeshWorkerData } from "../../node/mesh/mesh-worker.ts";
import type { MeshStatus } from "../../node/mesh-status.ts";
import { isKilled } from "../../node/table/scope-cells.ts";
import { createTable, isFresh, type Table } from "../../node/table/table.ts";
import type { MeshToControl } from "../../node/thread-messages.ts";
import { uuidV7 } from "../../ports/random.ts";
import { CoordinatorService } from "../../proto/gen/altrace/v1/coordinator_service_pb.ts";
import { SignedRecordSchema } from "../../proto/gen/altrace/v1/record_pb.ts";
import { CONTROL_STREAM, REVOCATION_STREAM } from "../../proto/subjects.ts";
import { meshWal } from "../support/mesh-wal.ts";
import type { NatsServer } from "../support/start-nats.ts";
import { tempDir } from "../support/temp-dir.ts";
import { revive } from "../unit/node/mesh/mesh-world.ts";

/** T of these meshes: short, since tests wait for it. */
export const DEAD_MAN_MS = 3_000;
const DIGEST_MS = 100;
const GLOBAL = 0;

/** Ends what a mesh consists of, newest first. */
export type Cleanups = (() => unknown)[];

/** A mesh as it is run: a NATS server, a coordinator, and nodes that are mesh threads. */
export async function startMesh(of: {
  readonly nats: Pick<NatsServer, "url">;
  readonly ensure?: (bus: NatsBus) => Promise<unknown>;
  readonly cleanups: Cleanups;
  /** The coordinator's wall clock, where it is not the machine's. */
  readonly nowMs?: () => number;
}) {
  const {
    nats,
    cleanups,
    nowMs = systemClock.nowMs,
    ensure = (bus) => ensureStreams(bus, { replicas: 1 }),
  } = of;
  const home = tempDir();
  cleanups.push(() => home[Symbol.dispose]());
  const bus = await connectNatsBus({ url: nats.url, name: "coordinator" });
  cleanups.push(() => bus.close());
  await ensure(bus);
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
    clock: { ...systemClock, nowMs },
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
  return {
    home: home.path,
    nats,
    bus,
    cleanups,
    calls: client.calls,
    metrics: () => coordinator.metrics.registry.metrics(),
    operator: founded.operator,
    /** Makes the streams where they are missing, as the coordinator's program does every five seconds. */
    ensure: () => ensure(bus),
    /** What every node must have on its disk: the hash of each scope's record in the streams. */
    inStreams: async () => {
      const held = await Promise.all(
        [CONTROL_STREAM, REVOCATION_STREAM].map((stream) => leadersStream(bus, stream)),
      );
      const hashes = held.flat().map((bytes) => {
        const read = restoreRecord(bytes, { mesh: founded.pin.mesh });
        if (!read.ok) throw new Error(`the stream has no record: ${read.reason}`);
        return [read.record.scope, read.record.hashHex] as const;
      });
      return new Map(hashes);
    },
  };
}

/**
 * What the stream's leader holds. A read is answered by any server; one that lags ends it early, and the followers of
 * 2.9.10 may hold other messages than their leader for good once it was killed amid appends.
 */
async function leadersStream(bus: NatsBus, stream: string): Promise<readonly Uint8Array[]> {
  const { streams } = bus.manager();
  const { state } = await streams.info(stream);
  const found: Uint8Array[] = [];
  for (let seq = Math.max(1, state.first_seq); seq <= state.last_seq; seq += 1) {
    // One message a subject is kept: the others are gone, and leave holes.
    const message = await streams.getMessage(stream, { seq });
    if (message) found.push(message.data);
  }
  return found;
}

export type MeshOfThreads = Awaited<ReturnType<typeof startMesh>>;

export type NodeStart = {
  readonly run: number;
  readonly enrolToken?: string;
  /** Where it finds the server, if not where the coordinator does. */
  readonly url?: string;
};

/** One node's mesh thread, whose table the test reads as the node's loops do. */
export class MeshThreadNode {
  readonly table: Table = createTable({ rows: 8, loops: 1, scopes: 32, writers: 3, proofs: 64 });
  readonly worker: Worker;
  readonly statuses: MeshStatus[] = [];
  /** By how many ms its wall clock, and the time since its machine's boot, are ahead of ours. */
  readonly ahead = new Float64Array(new SharedArrayBuffer(16));
  readonly #homeDir: string;
  readonly #ended: Promise<unknown>;

  constructor(
    mesh: MeshOfThreads,
    id: string,
    { run, enrolToken, url = mesh.nats.url }: NodeStart,
  ) {
    const homeDir = join(mesh.home, id);
    this.#homeDir = homeDir;
    mkdirSync(homeDir, { recursive: true, mode: 0o700 });
    const workerData: MeshWorkerData & { readonly ahead: ArrayBufferLike } = {
      ahead: this.ahead.buffer,
      tableBuffer: this.table.buffer,
      nodeId: id,
      bootId: `boot-${run}`,
      homeDir,
      trustFile: trustPath(mesh.home),
      ...(enrolToken === undefined ? {} : { enrolToken }),
      bus: { kind: "nats", url },
      timing: { deadManMs: DEAD_MAN_MS, digestMs: DIGEST_MS, heartbeatMs: 200 },
      wal: meshWal(join(homeDir, `run-${run}`)),
    };
    this.worker = new Worker(new URL("../../node/mesh/mesh-worker.ts", import.meta.url), {
      workerData,
      execArgv: ["--import", new URL("../support/shifted-clocks.ts", import.meta.url).href],
    });
    gatheredPort(this.worker).on("message", (message: MeshToControl) => {
      if (message.t === "status") this.statuses.push(message.status);
    });
    this.#ended = once(this.worker, "exit");
    // A thread that is ended within a transaction takes the process along: LMDB calls it back.
    mesh.cleanups.push(() => this.stop());
  }

  get isOpen(): boolean {
    return isFresh(this.table, systemClock.monoNs());
  }

  get isKilled(): boolean {
    return isKilled(this.table, GLOBAL);
  }

  /** What lies on its disk: the hash of each scope's record. It is stopped. */
  async journal(): Promise<ReadonlyMap<string, string>> {
    const store = openLmdbStore(join(this.#homeDir, "mesh"));
    try {
      const entries = store.list("rec/").map(([key, value]) => {
        const read = restoreRecord(value, { mesh: "nats-mesh" });
        return [key.slice("rec/".length), read.ok ? read.record.hashHex : read.reason] as const;
      });
      return new Map(entries);
    } finally {
      await store.close();
    }
  }

  async opens(): Promise<void> {
    await comes(() => this.isOpen).catch(async () => {
      this.worker.postMessage({ t: "status", id: 1 });
      await comes(() => this.statuses.length > 0);
      throw new Error(`closed because ${this.statuses.at(-1)?.closedBecause.join(", ")}`);
    });
  }

  async stop(): Promise<void> {
    this.worker.postMessage({ t: "stop" });
    await this.#ended;
  }
}

export async function startNode(
  mesh: MeshOfThreads,
  id: string,
  url?: string,
): Promise<MeshThreadNode> {
  const { token } = await mesh.calls.createEnrolmentToken({ node: id });
  const at = url === undefined ? {} : { url };
  const node = new MeshThreadNode(mesh, id, { run: 1, enrolToken: token, ...at });
  await node.opens();
  return node;
}

export async function reviveGlobal(mesh: MeshOfThreads): Promise<void> {
  await reviveScope(mesh, "global");
}

export async function reviveScope(
  { calls, operator }: MeshOfThreads,
  scope: string,
): Promise<void> {
  if (!operator) throw new Error("no operator");
  const current = await calls.getScope({ scope });
  const bytes = signRecord(
    {
      mesh: current.mesh,
      scope,
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

/**
 * Looks at a node that is closed, or has the kill of everybody, for as long as `during` takes.
 *
 * @returns Whether it was ever open without that kill.
 */
export async function opensWithoutKill(
  node: MeshThreadNode,
  during: () => Promise<void>,
): Promise<boolean> {
  let isSeen = false;
  const ended = new AbortController();
  const watched = (async () => {
    while (!ended.signal.aborted) {
      isSeen ||= node.isOpen && !node.isKilled;
      await sleep(2);
    }
  })();
  await during().finally(() => ended.abort());
  await watched;
  return isSeen;
}

/** Waits until every node has the command on its disk and has closed what it covers. */
export async function isDone({ calls }: MeshOfThreads, cmdId: string): Promise<void> {
  for await (const { command } of calls.watchCommand({ cmdId })) if (command?.done) return;
}

/** Waits until the command is in its stream. A kill is done once nodes have it, which may be long before. */
export async function isStored({ calls }: MeshOfThreads, cmdId: string): Promise<void> {
  for (;;) {
    for await (const { command } of calls.watchCommand({ cmdId })) if (command?.committed) return;
    await sleep(20);
  }
}

export async function comes(isSo: () => boolean): Promise<void> {
  for (let i = 0; i < 4_000; i++) {
    if (isSo()) return;
    await sleep(5);
  }
  throw new Error(`it never came about: ${isSo}`);
}
