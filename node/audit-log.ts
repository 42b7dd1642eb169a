import { join } from "node:path";
import { Worker } from "node:worker_threads";
import type { AuditRecord } from "../audit/record.ts";
import type { Clock } from "../ports/clock.ts";
import { type Disk, readWhole } from "../ports/disk.ts";
import { errorMessage } from "../ports/error-message.ts";
import { type Random, uuidV7 } from "../ports/random.ts";
import type { AuditToControl, AuditWorkerData, EpochKey } from "./audit/audit-worker.ts";
import { findRequest } from "./audit/find-records.ts";
import { removeFloodCounts } from "./audit/flood-count-file.ts";
import { currentEpoch, type LogEpoch, openNextEpoch } from "./audit/log-epoch.ts";
import { LogInMesh, type LogInMeshOptions } from "./audit/log-in-mesh.ts";
import { logFolder } from "./audit/log-origin.ts";
import { LogPruner } from "./audit/log-pruner.ts";
import {
  bootRecord,
  floodGapRecord,
  gapRecord,
  recoverWal,
  runEndRecord,
} from "./audit/recover-wal.ts";
import { createWalSignal, type WalSignal } from "./audit/wal-signal.ts";
import { openWal, type Wal } from "./audit/wal-writer.ts";
import type { Table } from "./table/table.ts";

export type AuditLogOptions = {
  /** The node's own folder. */
  readonly home: string;
  readonly mesh: string;
  readonly node: string;
  readonly version: string;
  readonly loops: number;
  readonly syncMaxMs: number;
  /** Free bytes of the disk that are kept for allows, kills and floods. */
  readonly reserveBytes: number;
  /** Time between two rounds of shipping to the coordinators, ms. */
  readonly shipEveryMs: number;
  /** Bytes of entries that stay here even when the coordinators have them. */
  readonly keepBytes: number;
  readonly clock: Clock;
  readonly disk: Disk;
  readonly random: Random;
  /** A sync failed; allows stop by themselves. */
  readonly onFault: (message: string) => void;
  readonly onLost: (what: string, error: unknown) => void;
};

/** What the log needs of the mesh. */
export type MeshOfLog = Pick<LogInMeshOptions, "ask" | "archives" | "bootId">;

/** The node's log as its other threads are handed it. */
export type AuditLog = {
  /** Id of this start of the node. */
  readonly run: string;
  readonly walDir: string;
  readonly signalBuffer: SharedArrayBuffer;
  /** Place of the mesh thread's WAL in table and signal. */
  readonly meshWriter: number;
  /** Writes a record of the control thread. Never throws: its records are news, not permissions. */
  append(record: AuditRecord): void;
  isWritable(): boolean;
  find(requestId: string): Promise<readonly AuditRecord[]>;
  /** Has checkpoints cosigned and logs copied from now on, those of before at once. */
  joinMesh(mesh: MeshOfLog): void;
  /** Writes the last record and returns once everything is on disk. Loops have ended by then. */
  stop(): Promise<void>;
};

/** Puts the files of earlier runs in order, starts the audit thread and writes the boot record. */
export async function startAudit(options: AuditLogOptions, table: Table): Promise<AuditLog> {
  const { home, node, version, loops, clock, disk, onFault, onLost } = options;
  const walDir = join(home, "wal");
  const recovery = recoverWal({ dir: walDir, random: options.random, clock, disk });
  const { run } = recovery;
  const epoch = currentEpoch(disk, home);
  const signal = createWalSignal(loops + 2);
  const thread = await startAuditThread({ options, run, epoch, walDir, signal, table });
  const wal = openWal({
    dir: walDir,
    run,
    writer: { no: loops, name: "control" },
    table,
    signal,
    clock,
    syncMaxMs: options.syncMaxMs,
    disk,
  });
  wal.append(bootRecord(recovery, { t: clock.nowMs(), node, version }));
  for (const gap of [gapRecord, floodGapRecord]) {
    const record = gap(recovery, { t: clock.nowMs(), node });
    if (record !== undefined) wal.append(record);
  }
  removeFloodCounts(disk, walDir, run);
  const ties: { stop(): void }[] = [];
  return {
    run,
    walDir,
    signalBuffer: signal.buffer,
    meshWriter: loops + 1,
    append: (record) => appendOrTell(wal, record, onFault),
    isWritable: () => wal.canAllow(clock.monoNs()),
    find: (requestId) => findInLogs(options, { walDir, epoch: epoch.epoch }, requestId),
    joinMesh: (mesh) => {
      const tie = tieTo(mesh, options, thread);
      ties.push(
        tie,
        prunerOf(options, thread, (log) => tie.shippedSize(log)),
      );
    },
    stop: async () => {
      for (const tie of ties) tie.stop();
      appendOrTell(wal, runEndRecord({ t: clock.nowMs(), node }), onFault);
      wal.close();
      await endAuditThread(thread.worker, onLost);
    },
  };
}

/** Logs of earlier epochs do not grow any more, but they are answered from all the same. */
async function findInLogs(
  { home, mesh, node }: AuditLogOptions,
  { walDir, epoch }: { readonly walDir: string; readonly epoch: number },
  requestId: string,
): Promise<readonly AuditRecord[]> {
  const found: AuditRecord[] = [];
  for (let no = epoch; no >= 1 && found.length === 0; no--) {
    const logDir = logFolder(home, { mesh, node, epoch: no });
    found.push(...(await findRequest({ walDir, logDir }, requestId)));
  }
  return found;
}

/** Has the node's logs cosigned and copied from now on, as far as they are by now at once. */
function tieTo(mesh: MeshOfLog, options: AuditLogOptions, thread: AuditThread): LogInMesh {
  const { home, node, clock, disk, random, onLost, onFault } = options;
  const { worker, keys } = thread;
  const tie = new LogInMesh({
    ...mesh,
    newId: () => uuidV7(clock.nowMs(), random),
    node,
    clock,
    logs: keys.map(({ epoch, vkey }) => {
      const dir = logFolder(home, { mesh: options.mesh, node, epoch });
      return { vkey, read: (path: string) => readWhole(disk, join(dir, path)) };
    }),
    shipEveryMs: options.shipEveryMs,
    onCosigned: (text, line) => worker.postMessage({ t: "cosigned", text, line }),
    onDisowned: (cosigned) => {
      openNextEpoch(disk, home, { rc: "disowned", prev: cosigned });
      onLost("log", new Error("a witness has seen another history of this log: it is closed"));
    },
    onFault,
  });
  worker.on("message", (message: AuditToControl) => {
    if (message.t === "signed") tie.signed(message.checkpoint);
  });
  return tie;
}

function prunerOf(
  options: AuditLogOptions,
  { keys }: AuditThread,
  shippedSize: (log: number) => number,
): LogPruner {
  const { home, mesh, node } = options;
  const dirs = keys.map(({ epoch }) => logFolder(home, { mesh, node, epoch }));
  const pruner = new LogPruner({ ...options, dirs, shippedSize });
  pruner.start();
  return pruner;
}

function appendOrTell(wal: Wal, record: AuditRecord, onFault: (message: string) => void): void {
  try {
    wal.append(record);
  } catch (error) {
    onFault(errorMessage(error));
  }
}

/** `keys` of all logs of this node; the last one grows. */
type AuditThread = { readonly worker: Worker; readonly keys: readonly EpochKey[] };

async function startAuditThread(of: {
  readonly options: AuditLogOptions;
  readonly run: string;
  readonly epoch: LogEpoch;
  readonly walDir: string;
  readonly signal: WalSignal;
  readonly table: Table;
}): Promise<AuditThread> {
  const { options, run, epoch, walDir, signal, table } = of;
  const { loops, onFault, onLost } = options;
  const loopWriters = Array.from({ length: loops }, (_, no) => ({ no, name: `loop${no}` }));
  const workerData: AuditWorkerData = {
    dir: walDir,
    run,
    writers: [...loopWriters, { no: loops, name: "control" }, { no: loops + 1, name: "mesh" }],
    tableBuffer: table.buffer,
    signalBuffer: signal.buffer,
    reserveBytes: options.reserveBytes,
    log: { home: options.home, mesh: options.mesh, node: options.node, epoch },
  };
  const worker = new Worker(new URL("./audit/audit-worker.ts", import.meta.url), {
    name: "audit",
    workerData,
  });
  worker.on("error", (error) => onLost("audit", error));
  worker.on("exit", (code) => {
    if (!ending.has(worker)) onLost("audit", new Error(`the audit thread ended with ${code}`));
  });
  const keys = await new Promise<readonly EpochKey[]>((resolve) => {
    worker.on("message", (message: AuditToControl) => {
      if (message.t === "fault") onFault(message.message);
      if (message.t !== "ready") return;
      const { earlier = [], vkey = "" } = message;
      resolve([...earlier, { epoch: epoch.epoch, vkey }]);
    });
  });
  return { worker, keys };
}

/** Threads that were told to end. */
const ending = new WeakSet<Worker>();

function endAuditThread(
  worker: Worker,
  onLost: (what: string, error: unknown) => void,
): Promise<void> {
  ending.add(worker);
  return new Promise((resolve) => {
    worker.on("exit", () => resolve());
    worker.on("error", (error) => onLost("audit", error));
    worker.postMessage({ t: "stop" });
  });
}
