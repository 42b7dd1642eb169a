import { join } from "node:path";
import type { Worker } from "node:worker_threads";
import type { AuditRecord } from "../audit/record.ts";
import type { Clock } from "../ports/clock.ts";
import { type Disk, readWhole } from "../ports/disk.ts";
import { errorWithCauses } from "../ports/error-message.ts";
import type { PreparedThread } from "../ports/prepared-thread.ts";
import { type Random, uuidV7 } from "../ports/random.ts";
import type { CrashProof, LogMark } from "./actors/table-mark.ts";
import type { AuditToControl, AuditWorkerData, EpochKey } from "./audit/audit-worker.ts";
import { crashProofIn } from "./audit/crash-proof.ts";
import type { EpochLimits } from "./audit/epoch-end.ts";
import { findRequest } from "./audit/find-records.ts";
import { removeFloodCounts } from "./audit/flood-count-file.ts";
import { currentEpoch, type LogEpoch, openEpochAfter } from "./audit/log-epoch.ts";
import { LogInMesh, type LogInMeshOptions } from "./audit/log-in-mesh.ts";
import { epochOfNote, logFolder } from "./audit/log-origin.ts";
import { LogPruner } from "./audit/log-pruner.ts";
import { isLogWritable } from "./audit/log-writable.ts";
import {
  bootRecord,
  floodGapRecord,
  gapRecord,
  recoverWal,
  runEndRecord,
} from "./audit/recover-wal.ts";
import { createWalSignal, positionOf, type WalSignal } from "./audit/wal-signal.ts";
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
  /** Time that a log stays here after its end, ms; undefined: for ever. */
  readonly keepMs: number | undefined;
  /** When the log is ended and another one opened. */
  readonly epochLimits: EpochLimits;
  readonly clock: Clock;
  readonly disk: Disk;
  readonly random: Random;
  /** From where on the log has to say what was used, by account, of a run that has ended. */
  readonly moneyMarks: (run: string) => ReadonlyMap<string, LogMark["ends"]>;
  /** A sync failed; allows stop by themselves. */
  readonly onFault: (message: string) => void;
  readonly onLost: (what: string, error: unknown) => void;
};

/** What the log needs of the mesh. */
export type MeshOfLog = Pick<LogInMeshOptions, "ask" | "archives" | "bootId">;

/** The node's log as its other threads are handed it. */
export type AuditLog = {
  /** Resolves once its thread syncs what is written, and signs it. Until then records are written, and wait. */
  readonly ready: Promise<void>;
  /** Id of this start of the node. */
  readonly run: string;
  readonly walDir: string;
  /** Where the loops' logs end now, and what they prove of the last run if nothing is missing. */
  readonly money: {
    readonly logMark: () => LogMark;
    readonly crashProof: CrashProof | undefined;
  };
  readonly signalBuffer: SharedArrayBuffer;
  /** Place of the mesh thread's WAL in table and signal. */
  readonly meshWriter: number;
  /** Writes a record of the control thread. Never throws: its records are news, not permissions. */
  append(record: AuditRecord): void;
  /** Whether all threads can write, and what they have written gets to the disk in time. */
  isWritable(): boolean;
  find(requestId: string): Promise<readonly AuditRecord[]>;
  /** Has checkpoints cosigned and logs copied from now on, those of before at once. */
  joinMesh(mesh: MeshOfLog): void;
  /** Writes the last record and returns once everything is on disk. Loops have ended by then. */
  stop(): Promise<void>;
};

/**
 * Puts the files of earlier runs in order, starts the audit thread and writes the boot record: whoever writes after
 * this comes behind it. Nobody need wait for the thread, which has the log of earlier runs to look at.
 */
export function startAudit(
  options: AuditLogOptions,
  table: Table,
  prepared: PreparedThread,
): AuditLog {
  const { home, node, version, loops, clock, disk, onFault, onLost } = options;
  const walDir = join(home, "wal");
  const recovery = recoverWal({ dir: walDir, random: options.random, clock, disk });
  const { run } = recovery;
  // Before the audit thread reads files of that run, and deletes what it has read.
  const crashProof = crashProofIn(options, walDir, recovery);
  const epoch = currentEpoch(disk, home);
  const signal = createWalSignal(loops + 2);
  const thread = startAuditThread({ options, run, epoch, walDir, signal, table, prepared });
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
  const syncMaxNs = BigInt(options.syncMaxMs) * 1_000_000n;
  let tie: { stop(): void } | undefined;
  return {
    ready: thread.ready,
    run,
    walDir,
    money: { logMark: () => ({ run, ends: endsOf(signal, loops) }), crashProof },
    signalBuffer: signal.buffer,
    meshWriter: loops + 1,
    append: (record) => appendOrTell(wal, record, onFault),
    isWritable: () => isLogWritable({ signal, table, nowNs: clock.monoNs(), syncMaxNs }),
    find: (requestId) => findInLogs(options, { walDir, epoch: growing(thread.keys) }, requestId),
    joinMesh: (mesh) => {
      tie = tieTo(mesh, options, thread);
    },
    stop: async () => {
      tie?.stop();
      appendOrTell(wal, runEndRecord({ t: clock.nowMs(), node }), onFault);
      wal.close();
      await endAuditThread(thread.worker, onLost);
    },
  };
}

function endsOf(signal: WalSignal, loops: number): LogMark["ends"] {
  const writers = Array.from({ length: loops }, (_, no) => no);
  return Object.fromEntries(writers.map((no) => [`loop${no}`, positionOf(signal, no)]));
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

/**
 * Has the node's logs cosigned and copied from now on, as far as they are by now at once, and removes what
 * need not be here. When another log is opened, all of it begins again with that one.
 */
function tieTo(mesh: MeshOfLog, options: AuditLogOptions, thread: AuditThread): { stop(): void } {
  let tied = tieLogs(mesh, options, thread);
  const stop = (): void => {
    for (const one of tied.parts) one.stop();
  };
  thread.worker.on("message", (message: AuditToControl) => {
    if (message.t === "signed") tied.logs.signed(message.checkpoint);
    if (message.t !== "opened" || ending.has(thread.worker)) return;
    stop();
    tied = tieLogs(mesh, options, thread);
  });
  return { stop };
}

function tieLogs(mesh: MeshOfLog, options: AuditLogOptions, thread: AuditThread) {
  const { home, node, clock, disk, random, onLost, onFault } = options;
  const { worker } = thread;
  const keys = [...thread.keys];
  const dirs = keys.map(({ epoch }) => logFolder(home, { mesh: options.mesh, node, epoch }));
  const logs = new LogInMesh({
    ...mesh,
    newId: () => uuidV7(clock.nowMs(), random),
    node,
    clock,
    logs: keys.map(({ vkey }, no) => {
      const dir = dirs[no] as string;
      return {
        vkey,
        read: (path: string, room?: Buffer) => readWhole(disk, join(dir, path), room),
      };
    }),
    shipEveryMs: options.shipEveryMs,
    onCosigned: (text, line) => worker.postMessage({ t: "cosigned", text, line }),
    onWitnessed: (no, note) => {
      const { epoch } = keys[no] as EpochKey;
      worker.postMessage({ t: "witnessed", epoch, note });
    },
    onDisowned: (cosigned) => {
      const opening = { rc: "disowned", prev: cosigned };
      const behind = epochOfNote(cosigned, { mesh: options.mesh, node });
      openEpochAfter(disk, home, { epoch: growing(keys), opening, behind });
      onLost("log", new Error("a witness has seen another history of this log: it is closed"));
    },
    onFault,
  });
  const shippedSize = (log: number): number => logs.shippedSize(log);
  const pruner = new LogPruner({ ...options, dirs, shippedSize });
  pruner.start();
  return { logs, parts: [logs, pruner] };
}

function appendOrTell(wal: Wal, record: AuditRecord, onFault: (message: string) => void): void {
  try {
    wal.append(record);
  } catch (error) {
    onFault(errorWithCauses(error));
  }
}

/**
 * `keys` of all logs of this node, by their epochs, once it is ready; the last one grows, and another one may follow.
 */
type AuditThread = {
  readonly worker: Worker;
  readonly keys: readonly EpochKey[];
  readonly ready: Promise<void>;
};

function startAuditThread(of: {
  readonly options: AuditLogOptions;
  readonly run: string;
  readonly epoch: LogEpoch;
  readonly walDir: string;
  readonly signal: WalSignal;
  readonly table: Table;
  readonly prepared: PreparedThread;
}): AuditThread {
  const { options, run, epoch, walDir, signal, table, prepared } = of;
  const { loops, onFault, onLost } = options;
  const loopWriters = Array.from({ length: loops }, (_, no) => ({ no, name: `loop${no}` }));
  const workerData: AuditWorkerData = {
    dir: walDir,
    run,
    writers: [...loopWriters, { no: loops, name: "control" }, { no: loops + 1, name: "mesh" }],
    tableBuffer: table.buffer,
    signalBuffer: signal.buffer,
    reserveBytes: options.reserveBytes,
    log: {
      home: options.home,
      mesh: options.mesh,
      node: options.node,
      epoch,
      limits: options.epochLimits,
    },
  };
  const { worker } = prepared;
  worker.on("error", (error) => onLost("audit", error));
  worker.on("exit", (code) => {
    if (!ending.has(worker)) onLost("audit", new Error(`the audit thread ended with ${code}`));
  });
  prepared.begin(workerData);
  const keys: EpochKey[] = [];
  const ready = new Promise<void>((resolve) => {
    worker.on("message", (message: AuditToControl) => {
      if (message.t === "fault") onFault(message.message);
      if (message.t === "opened") keys.push({ epoch: message.epoch, vkey: message.vkey });
      if (message.t !== "ready") return;
      const { earlier = [], vkey = "" } = message;
      keys.push(...earlier, { epoch: epoch.epoch, vkey });
      resolve();
    });
  });
  return { worker, keys, ready };
}

/** The epoch of the log that grows. */
function growing(keys: readonly EpochKey[]): number {
  return keys.at(-1)?.epoch ?? 1;
}

/** Threads that were told to end. */
const ending = new WeakSet<Worker>();

function endAuditThread(
  worker: Worker,
  onLost: (what: string, error: unknown) => void,
): Promise<void> {
  ending.add(worker);
  return new Promise((resolve) => {
    // That the thread is gone takes longer, and nobody need wait for it.
    worker.on("message", ({ t }: AuditToControl) => t === "stopped" && resolve());
    worker.on("exit", () => resolve());
    worker.on("error", (error) => onLost("audit", error));
    worker.postMessage({ t: "stop" });
  });
}
