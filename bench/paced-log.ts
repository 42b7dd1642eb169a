import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { machineDisk } from "../adapters/machine-disk.ts";
import { systemClock } from "../adapters/system-clock.ts";
import type { AuditRecord } from "../audit/record.ts";
import type { AuditToControl, AuditWorkerData } from "../node/audit/audit-worker.ts";
import { createWalSignal } from "../node/audit/wal-signal.ts";
import { openWal, type Wal } from "../node/audit/wal-writer.ts";
import { createTable } from "../node/table/table.ts";
import { Times } from "./harness/histogram.ts";
import { pause } from "./harness/operator.ts";

const RUN = "00000012.0a1b2c3d";
/** Records a second, and how often some of them are written. */
const RATE = 10_000;
const TICK_MS = 2;
/** Before the clock starts: what runs ten thousand times a second is compiled by then. */
const WARM_SECONDS = 2;

/** How long the writer is watched without the log. */
const ALONE_SECONDS = 3;

export type Paced = {
  /** Of one core: all threads but the writer's, less what they use where a writer is alone. */
  readonly cpuPercent: number;
  /** How many records a second were really written. */
  readonly perSecond: number;
  readonly appends: Times;
};

type RecordOf = (i: number, t: number, rids: string[]) => AuditRecord;

type Load = { readonly seconds: number; readonly recordOf: RecordOf };

/** The audit thread beside one writer that keeps to a rate. */
export async function paceLog(home: string, { seconds, recordOf }: Load): Promise<Paced> {
  const alonePercent = await paceAlone(join(home, "alone"), recordOf);
  const dir = join(home, "wal");
  mkdirSync(dir, { recursive: true });
  const table = createTable({ rows: 16, loops: 1, scopes: 4, writers: 1 });
  const signal = createWalSignal(1);
  const shared = { dir, run: RUN, table, signal, clock: systemClock, disk: machineDisk };
  const wal = openWal({ ...shared, writer: { no: 0, name: "loop0" }, syncMaxMs: 60_000 });
  const worker = await startThread({
    dir,
    run: RUN,
    writers: [{ no: 0, name: "loop0" }],
    tableBuffer: table.buffer,
    signalBuffer: signal.buffer,
    reserveBytes: 0,
    log: {
      home,
      mesh: "bench",
      node: "node-7",
      epoch: { epoch: 1, opening: { rc: "first_epoch" } },
    },
  });
  const rids: string[] = [];
  await write(wal, { rids, recordOf, seconds: WARM_SECONDS, appends: new Times() });
  const appends = new Times();
  const before = { cpu: othersMicros(), atNs: systemClock.monoNs(), count: rids.length };
  const count = await write(wal, { rids, recordOf, seconds, appends });
  const tookMicros = Number(systemClock.monoNs() - before.atNs) / 1_000;
  const cpuPercent = ((othersMicros() - before.cpu) / tookMicros) * 100 - alonePercent;
  wal.close();
  const stopped = new Promise((resolve) => worker.once("exit", resolve));
  worker.postMessage({ t: "stop" });
  await stopped;
  return { cpuPercent, perSecond: Math.round((count * 1e6) / tookMicros), appends };
}

/** What the engine's own threads do for the writer, mostly for the samples that it makes: no part of the log. */
async function paceAlone(dir: string, recordOf: RecordOf): Promise<number> {
  mkdirSync(dir, { recursive: true });
  const table = createTable({ rows: 16, loops: 1, scopes: 4, writers: 1 });
  const signal = createWalSignal(1);
  const shared = { dir, run: RUN, table, signal, clock: systemClock, disk: machineDisk };
  const wal = openWal({ ...shared, writer: { no: 0, name: "loop0" }, syncMaxMs: 60_000 });
  const of = { rids: [], recordOf, appends: new Times() };
  await write(wal, { ...of, seconds: WARM_SECONDS });
  const before = { cpu: othersMicros(), atNs: systemClock.monoNs() };
  await write(wal, { ...of, seconds: ALONE_SECONDS });
  const percent =
    (othersMicros() - before.cpu) / (Number(systemClock.monoNs() - before.atNs) / 1e5);
  wal.close();
  return percent;
}

async function startThread(workerData: AuditWorkerData): Promise<Worker> {
  const url = new URL("../node/audit/audit-worker.ts", import.meta.url);
  const worker = new Worker(url, { workerData, name: "audit" });
  await new Promise<void>((resolve, reject) => {
    worker.on("error", reject);
    worker.on("message", (message: AuditToControl) => {
      if (message.t === "ready") resolve();
      if (message.t === "fault") reject(new Error(message.message));
    });
  });
  return worker;
}

/** As many records at each tick as the time since the beginning asks for. */
async function write(
  wal: Wal,
  of: {
    readonly rids: string[];
    readonly recordOf: RecordOf;
    readonly seconds: number;
    readonly appends: Times;
  },
): Promise<number> {
  const startNs = systemClock.monoNs();
  const wanted = RATE * of.seconds;
  for (let no = 0; no < wanted; ) {
    const due = Number(systemClock.monoNs() - startNs) / 1e9;
    for (; no < Math.min(wanted, due * RATE); no++) {
      const record = of.recordOf(no, systemClock.nowMs(), of.rids);
      const fromNs = systemClock.monoNs();
      wal.append(record);
      of.appends.add(systemClock.monoNs() - fromNs);
    }
    // A timer that keeps the process alive: beside a writer alone nothing else does.
    await pause(TICK_MS);
  }
  return wanted;
}

/** Processor time of all threads of this process but this one, microseconds. */
function othersMicros(): number {
  const all = process.cpuUsage();
  const own = process.threadCpuUsage();
  return all.user + all.system - own.user - own.system;
}
