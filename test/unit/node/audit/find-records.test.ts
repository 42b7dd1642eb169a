import { mkdirSync, readdirSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { machineDisk } from "../../../../adapters/machine-disk.ts";
import type { AuditRecord, DecisionRecord } from "../../../../audit/record.ts";
import { findRequest, recentDecisions } from "../../../../node/audit/find-records.ts";
import { logFolder } from "../../../../node/audit/log-origin.ts";
import { LogThread } from "../../../../node/audit/log-thread.ts";
import { createWalSignal } from "../../../../node/audit/wal-signal.ts";
import { WalSync } from "../../../../node/audit/wal-sync.ts";
import { openWal, type Wal } from "../../../../node/audit/wal-writer.ts";
import { createTable } from "../../../../node/table/table.ts";
import { uuidV7 } from "../../../../ports/random.ts";
import { type TwinClock, twinClock } from "../../../../ports/twin-clock.ts";
import { twinKeys } from "../../../../ports/twin-keys.ts";
import { twinRandom } from "../../../../ports/twin-random.ts";
import { tempDir } from "../../../support/temp-dir.ts";
import { ALLOW, DENY } from "../../audit/sample-records.ts";

const NAME = { mesh: "acme", node: "node-7", epoch: 1 };
const WRITERS = [
  { no: 0, name: "loop0" },
  { no: 1, name: "loop1" },
  { no: 2, name: "control" },
];
const AGENT = ALLOW.ag as string;
const OTHER = "spiffe://acme/agent/payments/worker-18";

/** A node's writers and its log on the machine's own disk; files get the twin clock's time. */
class Files implements Disposable {
  readonly clock: TwinClock = twinClock();
  readonly random = twinRandom(5);
  readonly wals: readonly Wal[];
  readonly walDir: string;
  readonly logDir: string;
  readonly #home = tempDir();
  readonly #sync: WalSync;
  readonly #log: LogThread;

  constructor(run = "00000012.0a1b2c3d") {
    const { clock } = this;
    this.walDir = join(this.#home.path, "wal");
    this.logDir = logFolder(this.#home.path, NAME);
    mkdirSync(this.walDir);
    const table = createTable({ rows: 16, loops: 2, scopes: 4, writers: 3, proofs: 64 });
    const signal = createWalSignal(3);
    const shared = { dir: this.walDir, run, table, signal, clock };
    this.wals = WRITERS.map((writer) =>
      openWal({ ...shared, disk: machineDisk, writer, syncMaxMs: 1_000, fileBytesMax: 64 * 1024 }),
    );
    const onFault = (fault: Error): void => {
      throw fault;
    };
    const disk = machineDisk;
    this.#sync = new WalSync({ ...shared, writers: WRITERS, disk, onFault });
    this.#log = new LogThread({
      name: NAME,
      home: this.#home.path,
      walDir: this.walDir,
      run,
      sync: this.#sync,
      keys: twinKeys(twinRandom(1)),
      clock,
      disk,
      onFault,
    });
  }

  rid(): string {
    return uuidV7(this.clock.nowMs(), this.random);
  }

  append(loop: number, record: AuditRecord): void {
    this.wals[loop]?.append(record);
  }

  decide(loop: number, of: Partial<DecisionRecord> = {}): DecisionRecord {
    this.clock.advance(2);
    const record = { ...DENY, ag: AGENT, rid: this.rid(), t: this.clock.nowMs(), ...of };
    this.append(loop, record);
    return record;
  }

  /** Everything into the log; the WAL files that it made superfluous are gone. */
  toLog(): void {
    this.clock.advance(1_001);
    this.#sync.round();
    while (this.#log.absorb(() => undefined));
  }

  /** What a restart would leave: the log alone. */
  dropWal(): void {
    for (const name of readdirSync(this.walDir)) rmSync(join(this.walDir, name));
  }

  touchWal(): void {
    const seconds = this.clock.nowMs() / 1_000;
    for (const name of readdirSync(this.walDir))
      utimesSync(join(this.walDir, name), seconds, seconds);
  }

  [Symbol.dispose](): void {
    for (const wal of this.wals) wal.close();
    this.#log.finish();
    this.#sync.close();
    this.#home[Symbol.dispose]();
  }
}

function settleOf(decision: DecisionRecord, t: number): AuditRecord {
  const settled = { usd_u: 1, tok: 1, calls: 1, over_u: 0 };
  const { rid } = decision;
  return { v: 1, k: "settle", t, node: "node-7", rid, ph: "response", rc: "ok", settled };
}

function allow(files: Files, loop: number): DecisionRecord {
  const { rid: _rid, t: _t, ...rest } = ALLOW;
  return files.decide(loop, rest);
}

describe("one request", () => {
  test("is found in the WAL, oldest record first, whichever file they are in", async () => {
    using files = new Files();
    for (let i = 0; i < 50; i++) files.decide(0);
    const wanted = allow(files, 0);
    for (let i = 0; i < 300; i++) files.decide(i % 2);
    const settled = settleOf(wanted, files.clock.nowMs());
    files.append(0, settled);
    for (let i = 0; i < 50; i++) files.decide(0);
    files.touchWal();
    expect(await findRequest({ walDir: files.walDir }, wanted.rid)).toEqual([wanted, settled]);
  });

  test("is found in the log when its WAL is gone, with its place", async () => {
    using files = new Files();
    const all: DecisionRecord[] = [];
    for (let i = 0; i < 600; i++) all.push(files.decide(0));
    files.toLog();
    files.dropWal();
    for (const i of [0, 1, 254, 255, 256, 511, 599]) {
      const [found, ...others] = await findRequest(files, (all[i] as DecisionRecord).rid);
      expect(others).toEqual([]);
      // Leaf 0 is the log's genesis.
      expect(found).toEqual({ ...all[i], ep: 1, seq: i + 1 });
    }
  });

  test("is given once when WAL and log have it, and whole when each has a part", async () => {
    using files = new Files();
    const first = allow(files, 0);
    files.toLog();
    const settled = settleOf(first, files.clock.nowMs());
    files.append(0, settled);
    files.touchWal();
    const found = await findRequest(files, first.rid);
    expect(found.map(({ k }) => k)).toEqual(["decision", "settle"]);
    expect(await findRequest({ walDir: files.walDir }, first.rid)).toHaveLength(2);
    const open = allow(files, 1);
    files.toLog();
    expect(await findRequest(files, open.rid)).toMatchObject([{ rid: open.rid, seq: 3 }]);
  });

  test("that nobody made has no records", async () => {
    using files = new Files();
    for (let i = 0; i < 300; i++) files.decide(0);
    files.toLog();
    const unknown = uuidV7(files.clock.nowMs() - 50, twinRandom(99));
    expect(await findRequest(files, unknown)).toEqual([]);
  });

  test("is not mixed with one whose client used its id", async () => {
    using files = new Files();
    const wanted = files.decide(0);
    files.decide(0, { cid: wanted.rid });
    files.touchWal();
    expect(await findRequest(files, wanted.rid)).toEqual([wanted]);
  });

  test("is found in a file that is torn behind it", async () => {
    using files = new Files();
    const wanted = files.decide(0);
    const [name] = readdirSync(files.walDir).filter((one) => one.includes("loop0"));
    const fd = machineDisk.open(join(files.walDir, name as string));
    machineDisk.write(fd, Buffer.from([0, 0, 1, 0, 1, 2]), machineDisk.size(fd));
    machineDisk.close(fd);
    files.touchWal();
    expect(await findRequest(files, wanted.rid)).toEqual([wanted]);
  });

  test("is not looked for in files that were finished before it was made", async () => {
    using files = new Files();
    const old = files.decide(0);
    files.touchWal();
    const later = uuidV7(files.clock.nowMs() + 3_600_000, files.random);
    files.append(1, { ...old, rid: later });
    // The record is there, but its file's time says that it cannot be.
    files.touchWal();
    expect(await findRequest({ walDir: files.walDir }, later)).toEqual([]);
  });
});

describe("a log whose first entries were removed", () => {
  test("is answered from what is left, and knows nothing of the rest", async () => {
    using files = new Files();
    const early = files.decide(0);
    for (let i = 0; i < 600; i++) files.decide(i % 2);
    const late = files.decide(0);
    files.toLog();
    files.dropWal();
    writeFileSync(join(files.logDir, "minimum"), "512\n");
    for (const name of ["000", "001"]) rmSync(join(files.logDir, "tile", "entries", name));
    expect(await findRequest(files, early.rid)).toEqual([]);
    expect(await findRequest(files, late.rid)).toMatchObject([{ rid: late.rid }]);
    const latest = await recentDecisions(files, AGENT, 1_000);
    expect(latest.length).toBeGreaterThan(50);
    expect(latest.length).toBeLessThan(256);
  });
});

describe("an agent's latest decisions", () => {
  test("come newest first, from all writers, WAL and log together, each once", async () => {
    using files = new Files();
    const own: DecisionRecord[] = [];
    for (let i = 0; i < 500; i++) {
      const record = files.decide(i % 2, i % 3 === 0 ? {} : { ag: OTHER });
      if (record.ag === AGENT) own.push(record);
    }
    files.toLog();
    for (let i = 0; i < 20; i++) own.push(files.decide(1));
    files.touchWal();
    const newest = own.toReversed();
    for (const count of [1, 20, 50, 1_000]) {
      const found = await recentDecisions(files, AGENT, count);
      expect(found.map(({ rid }) => rid)).toEqual(newest.slice(0, count).map(({ rid }) => rid));
    }
    expect(await recentDecisions(files, "spiffe://acme/agent/payments/nobody", 5)).toEqual([]);
    expect(await recentDecisions(files, AGENT, 0)).toEqual([]);
  });

  test("are decisions alone", async () => {
    using files = new Files();
    const allowed = allow(files, 0);
    files.append(0, { ...settleOf(allowed, files.clock.nowMs()), ag: AGENT } as AuditRecord);
    files.touchWal();
    expect(await recentDecisions({ walDir: files.walDir }, AGENT, 9)).toEqual([allowed]);
  });
});
