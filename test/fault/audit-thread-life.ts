import { machineDisk } from "../../adapters/machine-disk.ts";
/** A node's audit thread with two writers, on the machine's own disk. */

import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { expect } from "vitest";
import { cryptoRandom } from "../../adapters/crypto-random.ts";
import { systemClock } from "../../adapters/system-clock.ts";
import { parseVkey, type VerifierKey } from "../../audit/signed-note.ts";
import { type Anchor, verifyLog } from "../../audit/verify-log.ts";
import type { AuditToControl, AuditWorkerData } from "../../node/audit/audit-worker.ts";
import { logFolder, walFolder } from "../../node/audit/log-origin.ts";
import { bootRecord, recoverWal, runEndRecord } from "../../node/audit/recover-wal.ts";
import { createWalSignal } from "../../node/audit/wal-signal.ts";
import { openWal, type Wal } from "../../node/audit/wal-writer.ts";
import { createTable, type Table } from "../../node/table/table.ts";
import { uuidV7 } from "../../ports/random.ts";
import { ALLOW, DENY } from "../unit/audit/sample-records.ts";

const WRITERS = [
  { no: 0, name: "loop0" },
  { no: 1, name: "control" },
];
export const LOG = { mesh: "acme", node: "node-7" };

export type Thread = {
  readonly table: Table;
  readonly loop: Wal;
  readonly control: Wal;
  readonly worker: Worker;
  readonly vkey: VerifierKey;
  readonly faults: string[];
  stop(): Promise<void>;
};

export async function startThread(home: string): Promise<Thread> {
  const dir = walFolder(home);
  const recovery = recoverWal({ dir, random: cryptoRandom, clock: systemClock, disk: machineDisk });
  const { run } = recovery;
  const table = createTable({ rows: 16, loops: 1, scopes: 4, writers: 2, proofs: 64 });
  const signal = createWalSignal(2);
  const workerData: AuditWorkerData = {
    dir,
    run,
    writers: WRITERS,
    tableBuffer: table.buffer,
    signalBuffer: signal.buffer,
    reserveBytes: 0,
    log: { home, ...LOG, epoch: { epoch: 1, opening: { rc: "first_epoch" } } },
  };
  const worker = new Worker(new URL("../../node/audit/audit-worker.ts", import.meta.url), {
    workerData,
  });
  const shared = {
    dir,
    run,
    table,
    signal,
    clock: systemClock,
    syncMaxMs: 1_000,
    disk: machineDisk,
  };
  const [loop, control] = WRITERS.map((writer) => openWal({ ...shared, writer })) as [Wal, Wal];
  const faults: string[] = [];
  worker.on("message", (message: AuditToControl) => {
    if (message.t === "fault") faults.push(message.message);
  });
  const [ready] = (await once(worker, "message")) as [AuditToControl];
  const vkey = parseVkey(ready.t === "ready" ? (ready.vkey ?? "") : "");
  if (!vkey.ok) throw new Error(vkey.detail);
  const now = { t: systemClock.nowMs(), node: LOG.node };
  control.append(bootRecord(recovery, { ...now, version: "0.1.0" }));
  const stop = async (): Promise<void> => {
    control.append(runEndRecord({ t: systemClock.nowMs(), node: LOG.node }));
    for (const wal of [loop, control]) wal.close();
    const ended = once(worker, "exit");
    worker.postMessage({ t: "stop" });
    expect(await ended).toEqual([0]);
  };
  return { table, loop, control, worker, vkey: vkey.value, faults, stop };
}

export function deny(thread: Thread): string {
  const t = systemClock.nowMs();
  const rid = uuidV7(t, cryptoRandom);
  thread.loop.append({ ...DENY, ag: ALLOW.ag as string, rid, t });
  return rid;
}

export function verifyHome(home: string, logKey: VerifierKey, anchors: readonly Anchor[] = []) {
  const folder = logFolder(home, { ...LOG, epoch: 1 });
  const read = (path: string): Buffer | undefined => {
    try {
      return readFileSync(join(folder, path));
    } catch {
      return undefined;
    }
  };
  return verifyLog({ reader: { read }, logKey, anchors });
}
