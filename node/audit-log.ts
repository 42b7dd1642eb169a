import { join } from "node:path";
import { Worker } from "node:worker_threads";
import type { AuditRecord } from "../audit/record.ts";
import { CHECKPOINT_PATH } from "../audit/tiles.ts";
import type { Clock } from "../ports/clock.ts";
import { type Random, uuidV7 } from "../ports/random.ts";
import type { AuditToControl, AuditWorkerData } from "./audit/audit-worker.ts";
import { machineDisk, readWhole } from "./audit/disk.ts";
import { findRequest } from "./audit/find-records.ts";
import { removeFloodCounts } from "./audit/flood-count-file.ts";
import { currentEpoch, type LogEpoch, openNextEpoch } from "./audit/log-epoch.ts";
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
import { type AskWitness, WitnessLink } from "./audit/witness-link.ts";
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
  /** Has checkpoints cosigned from now on, the last one of before at once. */
  witnessBy(ask: AskWitness, bootId: string): void;
  /** Writes the last record and returns once everything is on disk. Loops have ended by then. */
  stop(): Promise<void>;
};

/** Puts the files of earlier runs in order, starts the audit thread and writes the boot record. */
export async function startAudit(options: AuditLogOptions, table: Table): Promise<AuditLog> {
  const { home, mesh, node, version, loops, clock, onFault, onLost } = options;
  const walDir = join(home, "wal");
  const recovery = recoverWal({ dir: walDir, random: options.random, clock });
  const { run } = recovery;
  const epoch = currentEpoch(machineDisk, home);
  const logDir = logFolder(home, { mesh, node, epoch: epoch.epoch });
  const signal = createWalSignal(loops + 2);
  const { worker, vkey } = await startAuditThread({ options, run, epoch, walDir, signal, table });
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
  const links: WitnessLink[] = [];
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
    find: async (requestId) => {
      const found = await findRequest({ walDir, logDir }, requestId);
      // Logs of earlier epochs do not grow any more, but they are answered from all the same.
      for (let no = epoch.epoch - 1; no >= 1 && found.length === 0; no--) {
        const earlier = logFolder(home, { mesh, node, epoch: no });
        found.push(...(await findRequest({ walDir, logDir: earlier }, requestId)));
      }
      return found;
    },
    witnessBy: (ask, bootId) => {
      const read = (path: string) => readWhole(machineDisk, join(logDir, path));
      const link = new WitnessLink({
        ask,
        bootId,
        newId: () => uuidV7(clock.nowMs(), options.random),
        node,
        vkey,
        read,
        clock,
        onCosigned: (text, line) => worker.postMessage({ t: "cosigned", text, line }),
        onDisowned: (cosigned) => {
          openNextEpoch(machineDisk, home, { rc: "disowned", prev: cosigned });
          onLost("log", new Error("a witness has seen another history of this log: it is closed"));
        },
        onRefused: (why) => onFault(`the witness refuses: ${why}`),
      });
      worker.on("message", (message: AuditToControl) => {
        if (message.t === "signed") link.signed(message.checkpoint);
      });
      const last = read(CHECKPOINT_PATH)?.toString("utf8");
      if (last !== undefined) link.signed(last);
      links.push(link);
    },
    stop: async () => {
      for (const link of links) link.stop();
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
  readonly epoch: LogEpoch;
  readonly walDir: string;
  readonly signal: WalSignal;
  readonly table: Table;
}): Promise<{ readonly worker: Worker; readonly vkey: string }> {
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
  const vkey = await new Promise<string>((resolve) => {
    worker.on("message", (message: AuditToControl) => {
      if (message.t === "ready") resolve(message.vkey ?? "");
      if (message.t === "fault") onFault(message.message);
    });
  });
  return { worker, vkey };
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
