import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileKeys } from "../adapters/file-keys.ts";
import { machineDisk } from "../adapters/machine-disk.ts";
import { systemClock } from "../adapters/system-clock.ts";
import type { AuditRecord } from "../audit/record.ts";
import { parseVkey } from "../audit/signed-note.ts";
import { verifyLog } from "../audit/verify-log.ts";
import { findRequest } from "../node/audit/find-records.ts";
import { logFolder } from "../node/audit/log-origin.ts";
import { LogThread } from "../node/audit/log-thread.ts";
import { createWalSignal } from "../node/audit/wal-signal.ts";
import { WalSync } from "../node/audit/wal-sync.ts";
import { openWal, type Wal } from "../node/audit/wal-writer.ts";
import { createTable } from "../node/table/table.ts";
import { ALLOW, DENY } from "../test/unit/audit/sample-records.ts";
import type { Bench } from "./harness/bench.ts";
import { Times } from "./harness/histogram.ts";
import { type Paced, paceLog } from "./paced-log.ts";

/** `warm`: written first and not counted, so that what runs all the time is compiled. */
const RECORDS = { full: 1_000_000, short: 60_000, warm: 30_000 };
const RUN = "00000012.0a1b2c3d";
const NAME = { mesh: "bench", node: "node-7", epoch: 1 };
const LOOK_UPS = 200;
/** Records between two turns of the audit thread, which is 5 ms at 50,000 a second. */
const BATCH = 250;

export const auditLog: Bench = {
  name: "audit-log",
  question: "What does a decision's record cost: written, made part of the log, found, verified?",
  run: async ({ isFull }) => {
    const count = isFull ? RECORDS.full : RECORDS.short;
    const folder = mkdtempSync(join(tmpdir(), "altrace-bench-"));
    try {
      const home = join(folder, "at50k");
      write(join(folder, "warm"), RECORDS.warm);
      const written = write(home, count);
      const paced = await paceLog(join(folder, "paced"), { seconds: isFull ? 20 : 4, recordOf });
      return await figures({ home, count, written, paced });
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
};

type Written = {
  readonly vkey: string;
  readonly rids: readonly string[];
  readonly appends: Times;
  readonly appendUs: number;
  readonly logUs: number;
};

/** Writes records and makes the log of them, in turn, as two threads would at once. */
function write(home: string, count: number): Written {
  mkdirSync(home);
  const { wal, sync, log } = open(home);
  const rids: string[] = [];
  const appends = new Times();
  let appendMicros = 0;
  let logMicros = 0;
  for (let no = 0; no < count; no += BATCH) {
    const startMicros = cpuMicros();
    for (let i = no; i < Math.min(no + BATCH, count); i++) {
      const record = recordOf(i, systemClock.nowMs(), rids);
      const fromNs = systemClock.monoNs();
      wal.append(record);
      appends.add(systemClock.monoNs() - fromNs);
    }
    const writtenMicros = cpuMicros();
    sync.round();
    while (log.absorb(() => undefined));
    appendMicros += writtenMicros - startMicros;
    logMicros += cpuMicros() - writtenMicros;
  }
  wal.close();
  const endMicros = cpuMicros();
  sync.round();
  log.finish();
  logMicros += cpuMicros() - endMicros;
  sync.close();
  const [appendUs, logUs] = [appendMicros / count, logMicros / count];
  return { vkey: log.vkey, rids, appends, appendUs, logUs };
}

async function figures(of: {
  readonly home: string;
  readonly count: number;
  readonly written: Written;
  readonly paced: Paced;
}) {
  const { home, count, written, paced } = of;
  const { vkey, rids, logUs } = written;
  const verifyMicros = verified(home, vkey, count);
  const finds = new Times();
  const folders = { walDir: join(home, "wal"), logDir: logFolder(home, NAME) };
  for (let i = 0; i < LOOK_UPS; i++) {
    const rid = rids[Math.floor((i * rids.length) / LOOK_UPS)] as string;
    const fromNs = systemClock.monoNs();
    const found = await findRequest({ ...folders, walDir: join(home, "none") }, rid);
    finds.add(systemClock.monoNs() - fromNs);
    if (found.length === 0) throw new Error(`${rid} was not found`);
  }
  const us = (name: string, value: number) => ({ name, value, unit: "us" });
  return {
    load: `${count} records: four allows, four settlements and two refusals in ten, in batches of ${BATCH}`,
    figures: [
      us("log_us_per_record", logUs),
      { name: "records_per_second_of_one_core", value: 1e6 / logUs, unit: "" },
      { name: "log_cpu_percent_at_10000", value: paced.cpuPercent, unit: "%" },
      us("append_p50_us", paced.appends.percentileMs(50) * 1_000),
      us("append_p99_us", paced.appends.percentileMs(99) * 1_000),
      us("append_cpu_us", written.appendUs),
      us("verify_us_per_record", verifyMicros / count),
      { name: "find_p50_ms", value: finds.percentileMs(50), unit: "ms" },
      { name: "find_p99_ms", value: finds.percentileMs(99), unit: "ms" },
    ],
    notes: [
      "log: processor time of sync, merging, hashing, tiles, index and checkpoints, per record. " +
        `at_10000: the audit thread at work beside a writer of ${paced.perSecond} records a second; all ` +
        "processor time of the process but that of the writer's own thread, less what is used without a log, in " +
        "percent of one core. " +
        "append: what a decision waits for in group mode; its processor time includes the making of " +
        "the sample. verify: processor time per record of the whole log, so that 20 us are 20 s a million. " +
        `find: by request id, from the log alone, at ${count} records; the index of 10,000,000 is ` +
        "some 150 files, of which a question opens each and reads one or two.",
    ],
  };
}

function open(home: string): { wal: Wal; sync: WalSync; log: LogThread } {
  const dir = join(home, "wal");
  mkdirSync(dir);
  mkdirSync(join(home, "none"));
  const table = createTable({ rows: 16, loops: 1, scopes: 4, writers: 1 });
  const signal = createWalSignal(1);
  const shared = { dir, run: RUN, table, signal, clock: systemClock, disk: machineDisk };
  const wal = openWal({ ...shared, writer: { no: 0, name: "loop0" }, syncMaxMs: 60_000 });
  const onFault = (fault: Error): void => {
    throw fault;
  };
  const sync = new WalSync({ ...shared, writers: [{ no: 0, name: "loop0" }], onFault });
  const keys = fileKeys(join(home, "keys"));
  const log = new LogThread({ ...shared, name: NAME, home, walDir: dir, sync, keys, onFault });
  return { wal, sync, log };
}

/** A request is an allow and its settlement, or a refusal. */
function recordOf(i: number, t: number, rids: string[]): AuditRecord {
  const last = rids.at(-1);
  if (i % 5 !== 4 && i % 2 === 1 && last !== undefined) {
    const { v, node, ag, kid, c, hold } = ALLOW;
    const settled = { usd_u: 900, tok: 700, calls: 1, over_u: 0 };
    const settle = {
      v,
      k: "settle",
      t,
      node,
      rid: last,
      ph: "response",
      rc: "ok",
      settled,
    } as const;
    return {
      ...settle,
      ...(ag && { ag }),
      ...(kid && { kid }),
      ...(c && { c }),
      ...(hold && { hold }),
    };
  }
  const [time, no] = [t.toString(16).padStart(12, "0"), (i * 2_654_435_761) % 2 ** 48];
  const rid = `${time.slice(0, 8)}-${time.slice(8)}-7b2c-9d3e-${no.toString(16).padStart(12, "0")}`;
  rids.push(rid);
  return i % 5 === 4 ? { ...DENY, ag: ALLOW.ag as string, rid, t } : { ...ALLOW, rid, t };
}

function verified(home: string, vkey: string, count: number): number {
  const key = parseVkey(vkey);
  if (!key.ok) throw new Error(key.detail);
  const dir = logFolder(home, NAME);
  const read = (path: string): Buffer | undefined => {
    try {
      return readFileSync(join(dir, path));
    } catch {
      return undefined;
    }
  };
  const fromMicros = cpuMicros();
  const report = verifyLog({ reader: { read }, logKey: key.value });
  const took = cpuMicros() - fromMicros;
  const [finding] = report.findings;
  if (finding !== undefined || report.leaves !== count + 1) {
    throw new Error(`the log does not verify: ${finding?.code ?? report.leaves}`);
  }
  return took;
}

/** Of this process alone, so that neighbours on the machine do not count. */
function cpuMicros(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}
