import { join } from "node:path";
import { Worker } from "node:worker_threads";
import type { AuditRecord } from "../audit/record.ts";
import type { Clock } from "../ports/clock.ts";
import type { Random } from "../ports/random.ts";
import type { AuditToControl, AuditWorkerData } from "./audit/audit-worker.ts";
import { machineDisk } from "./audit/disk.ts";
import { findRequest } from "./audit/find-records.ts";
import { removeFloodCounts } from "./audit/flood-count-file.ts";
import { logFolder } from "./audit/log-origin.ts";
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
  readonly clock: Clock;
  readonly random: Random;
  /** A sync failed; allows stop by themselves. */
  readonly onFault: (message: string) => void;
  readonly onLost: (what: string, error: unknown) => void;
};

/** Every log has one epoch so far: keys and logs are not rotated yet. */
const FIRST_EPOCH = 1;

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
  /** Writes the last record and returns once everything is on disk. Loops have ended by then. */
  stop(): Promise<void>;
};

/** Puts the files of earlier runs in order, starts the audit thread and writes the boot record. */
export async function startAudit(options: AuditLogOptions, table: Table): Promise<AuditLog> {
  const { home, mesh, node, version, loops, clock, onFault, onLost } = options;
  const walDir = join(home, "wal");
  const recovery = recoverWal({ dir: walDir, random: options.random, clock });
  const { run } = recovery;
  const logDir = logFolder(home, { mesh, node, epoch: FIRST_EPOCH });
  const signal = createWalSignal(loops + 2);
  const worker = await startAuditThread({ options, run, walDir, signal, table });
  const wal = openWal({
    dir: walDir,
    run,
    writer: { no: loops, name: "control" },
    table,
    signal,
    clock,
    syncMaxMs: options.syncMaxMs,
  });
  wal.append(bootRecord(recovery, { t: clock.nowMs(), node, version }));
  for (const gap of [gapRecord, floodGapRecord]) {
    const record = gap(recovery, { t: clock.nowMs(), node });
    if (record !== undefined) wal.append(record);
  }
  removeFloodCounts(machineDisk, walDir, run);
  return {
    run,
    walDir,
    signalBuffer: signal.buffer,
    meshWriter: loops + 1,
    append: (record) => appendOrTell(wal, record, onFault),
    isWritable: () => wal.canAllow(clock.monoNs()),
    find: (requestId) => findRequest({ walDir, logDir }, requestId),
    stop: async () => {
      appendOrTell(wal, runEndRecord({ t: clock.nowMs(), node }), onFault);
      wal.close();
      await endAuditThread(worker, onLost);
    },
  };
}

function appendOrTell(wal: Wal, record: AuditRecord, onFault: (message: string) => void): void {
  try {
    wal.append(record);
  } catch (error) {
    onFault(error instanceof Error ? error.message : String(error));
  }
}

async function startAuditThread(of: {
  readonly options: AuditLogOptions;
  readonly run: string;
  readonly walDir: string;
  readonly signal: WalSignal;
  readonly table: Table;
}): Promise<Worker> {
  const { options, run, walDir, signal, table } = of;
  const { loops, onFault, onLost } = options;
  const loopWriters = Array.from({ length: loops }, (_, no) => ({ no, name: `loop${no}` }));
  const workerData: AuditWorkerData = {
    dir: walDir,
    run,
    writers: [...loopWriters, { no: loops, name: "control" }, { no: loops + 1, name: "mesh" }],
    tableBuffer: table.buffer,
    signalBuffer: signal.buffer,
    reserveBytes: options.reserveBytes,
    log: { home: options.home, mesh: options.mesh, node: options.node },
  };
  const worker = new Worker(new URL("./audit/audit-worker.ts", import.meta.url), {
    name: "audit",
    workerData,
  });
  worker.on("error", (error) => onLost("audit", error));
  worker.on("exit", (code) => {
    if (!ending.has(worker)) onLost("audit", new Error(`the audit thread ended with ${code}`));
  });
  await new Promise<void>((resolve) => {
    worker.on("message", (message: AuditToControl) => {
      if (message.t === "ready") resolve();
      if (message.t === "fault") onFault(message.message);
    });
  });
  return worker;
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
