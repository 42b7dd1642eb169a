import { describe, expect, test } from "vitest";
import { AuditFault } from "../../../../audit/audit-fault.ts";
import { readFrames } from "../../../../audit/frame.ts";
import { decodeRecord } from "../../../../audit/leaf.ts";
import type { AuditRecord } from "../../../../audit/record.ts";
import { createWalSignal, positionOf } from "../../../../node/audit/wal-signal.ts";
import { openWal, RETRY_MS, type Wal } from "../../../../node/audit/wal-writer.ts";
import { createTable, setSyncedAtNs } from "../../../../node/table/table.ts";
import { twinClock } from "../../../../ports/twin-clock.ts";
import { ALLOW, DENY, RECORDS } from "../../audit/sample-records.ts";
import { TwinDisk } from "./twin-disk.ts";

const DIR = "/home";
const RUN = "00000012.0a1b2c3d";
const FIRST = `${DIR}/${RUN}-loop0-1.log`;
const SECOND = `${DIR}/${RUN}-loop0-2.log`;

function setUp(fileBytesMax?: number) {
  const disk = new TwinDisk();
  const clock = twinClock();
  const table = createTable({ rows: 16, loops: 1, scopes: 4, writers: 2, proofs: 64 });
  const signal = createWalSignal(2);
  const wal: Wal = openWal({
    dir: DIR,
    run: RUN,
    writer: { no: 0, name: "loop0" },
    table,
    signal,
    clock,
    syncMaxMs: 1_000,
    disk,
    ...(fileBytesMax !== undefined && { fileBytesMax }),
  });
  return { disk, clock, table, signal, wal, canAllow: () => wal.canAllow(clock.monoNs()) };
}

function recordsOf(disk: TwinDisk, path: string): AuditRecord[] {
  const frames = readFrames(disk.contentOf(path) as Buffer);
  expect(frames.torn).toBe(false);
  return frames.leaves.map((leaf) => {
    const decoded = decodeRecord(leaf);
    if (!decoded.ok) throw new Error(decoded.detail);
    return decoded.record;
  });
}

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

describe("append", () => {
  test("writes each kind of record as one frame, in order", () => {
    const { disk, wal, signal } = setUp();
    const writes = disk.steps.length;
    for (const record of RECORDS) wal.append(record);
    expect(recordsOf(disk, FIRST)).toEqual(RECORDS);
    expect(disk.steps.slice(writes)).toEqual(RECORDS.map(() => `write ${FIRST}`));
    const bytes = disk.contentOf(FIRST)?.length;
    expect(positionOf(signal, 0)).toEqual({ fileNo: 1, bytes });
  });

  test("begins a new file where a frame would not fit, and says so", () => {
    const { disk, wal, signal } = setUp(3_000);
    for (let i = 0; i < 7; i++) wal.append(ALLOW);
    expect(recordsOf(disk, FIRST)).toHaveLength(3);
    expect(recordsOf(disk, SECOND)).toHaveLength(3);
    expect(positionOf(signal, 0)).toMatchObject({ fileNo: 3 });
    expect(disk.openFiles).toBe(1);
  });

  test("a record that breaks its schema is a fault, writes nothing and stops nobody", () => {
    const { disk, wal, canAllow } = setUp();
    const wrong = { ...DENY, sv: "PPP" };
    expect(() => wal.append(wrong)).toThrow(AuditFault);
    expect(disk.contentOf(FIRST)).toHaveLength(0);
    expect(canAllow()).toBe(true);
  });

  test("a record that could not take its place in the log is not written", () => {
    const { disk, wal } = setUp();
    const prev = "x".repeat(8_000);
    const genesis = { v: 1, k: "genesis", t: 1, node: "n", origin: "o", rc: "new", prev } as const;
    wal.append(genesis);
    // Control characters take six bytes each: 2,722 of them fill a leaf to the last few bytes.
    const full = { ...genesis, prev: "\u0001".repeat(2_718) };
    expect(() => wal.append(full)).toThrow(AuditFault);
    expect(recordsOf(disk, FIRST)).toHaveLength(1);
  });

  test("throws once it is closed", () => {
    const { wal, disk } = setUp();
    wal.close();
    expect(() => wal.append(DENY)).toThrow(AuditFault);
    expect(disk.openFiles).toBe(0);
  });

  test("does not open over a file that is there", () => {
    const { disk, clock, table, signal } = setUp();
    const again = () =>
      openWal({
        dir: DIR,
        run: RUN,
        writer: { no: 0, name: "loop0" },
        table,
        signal,
        clock,
        syncMaxMs: 1_000,
        disk,
      });
    expect(again).toThrow(AuditFault);
  });
});

describe("appendSoon", () => {
  const SOON: AuditRecord = { ...ALLOW, t: ALLOW.t + 1 };

  test("is written in the same write as the next record, and before it", () => {
    const { disk, wal, signal } = setUp();
    const writes = disk.steps.length;
    wal.appendSoon(SOON);
    wal.appendSoon(SOON);
    expect(recordsOf(disk, FIRST)).toEqual([]);
    wal.append(ALLOW);
    expect(recordsOf(disk, FIRST)).toEqual([SOON, SOON, ALLOW]);
    expect(disk.steps.slice(writes)).toEqual([`write ${FIRST}`]);
    expect(positionOf(signal, 0)).toEqual({ fileNo: 1, bytes: disk.contentOf(FIRST)?.length });
  });

  test("is written by itself at the end of the turn, and once", async () => {
    const { disk, wal, signal } = setUp();
    wal.appendSoon(SOON);
    await turn();
    expect(recordsOf(disk, FIRST)).toEqual([SOON]);
    wal.appendSoon(SOON);
    wal.append(ALLOW);
    await turn();
    expect(recordsOf(disk, FIRST)).toEqual([SOON, SOON, ALLOW]);
    expect(positionOf(signal, 0)).toEqual({ fileNo: 1, bytes: disk.contentOf(FIRST)?.length });
  });

  test("keeps records that are as long as may be whole, as many as may wait and one behind them", () => {
    const { disk, wal } = setUp();
    const prev = "\u0001".repeat(2_700);
    const long = { v: 1, k: "genesis", t: 1, node: "n", origin: "o", rc: "new", prev } as const;
    const writes = disk.steps.length;
    for (let i = 0; i < 5; i++) wal.appendSoon(long);
    wal.append({ ...long, t: 2 });
    expect(disk.steps.slice(writes)).toEqual([`write ${FIRST}`]);
    expect(recordsOf(disk, FIRST)).toEqual([long, long, long, long, long, { ...long, t: 2 }]);
  });

  test("is written by close", () => {
    const { disk, wal } = setUp();
    wal.appendSoon(SOON);
    wal.close();
    expect(recordsOf(disk, FIRST)).toEqual([SOON]);
    expect(disk.openFiles).toBe(0);
  });

  test("is written when it is handed over, and no more than that", () => {
    const { disk, wal } = setUp();
    wal.appendSoon(SOON);
    const writes = disk.steps.length;
    wal.handOver();
    wal.handOver();
    expect(recordsOf(disk, FIRST)).toEqual([SOON]);
    expect(disk.steps.slice(writes)).toEqual([`write ${FIRST}`]);
  });

  test("waits where it cannot be handed over", () => {
    const { disk, wal, canAllow } = setUp();
    wal.appendSoon(SOON);
    disk.options = { taken: () => 5 };
    expect(() => wal.handOver()).toThrow(AuditFault);
    expect(canAllow()).toBe(false);
    disk.options = {};
    wal.handOver();
    expect(recordsOf(disk, FIRST)).toEqual([SOON]);
  });

  test("throws once the log is closed", () => {
    const { wal } = setUp();
    wal.close();
    expect(() => wal.appendSoon(SOON)).toThrow(AuditFault);
  });

  test("waits for a write that succeeds, and until then nothing is allowed", async () => {
    const { disk, wal, canAllow } = setUp();
    disk.options = { taken: () => 5 };
    wal.appendSoon(SOON);
    await turn();
    expect(canAllow()).toBe(false);
    expect(() => wal.append(ALLOW)).toThrow(AuditFault);
    expect(recordsOf(disk, FIRST)).toEqual([]);
    disk.options = {};
    wal.append(DENY);
    expect(canAllow()).toBe(true);
    expect(recordsOf(disk, FIRST)).toEqual([SOON, DENY]);
  });

  test("throws where too much waits for a disk that takes nothing, and for what is no record", () => {
    const { disk, wal } = setUp();
    expect(() => wal.appendSoon({ ...DENY, sv: "PPP" })).toThrow(AuditFault);
    disk.options = { taken: () => 0 };
    const fill = (): void => {
      for (let i = 0; i < 1_000; i++) wal.appendSoon(SOON);
    };
    expect(fill).toThrow("what waits could not be written");
    disk.options = {};
    wal.appendSoon(DENY);
    wal.append(ALLOW);
    expect(recordsOf(disk, FIRST).slice(-2)).toEqual([DENY, ALLOW]);
  });
});

describe("a write that fails", () => {
  test.each([0, 1, 7, 8, 300])("is cut back to whole frames when only %i bytes are taken", (n) => {
    const { disk, wal, canAllow, signal } = setUp();
    wal.append(ALLOW);
    const position = positionOf(signal, 0);
    disk.options = { taken: () => n };
    expect(() => wal.append(ALLOW)).toThrow(AuditFault);
    expect(recordsOf(disk, FIRST)).toEqual([ALLOW]);
    expect(positionOf(signal, 0)).toEqual(position);
    expect(canAllow()).toBe(false);
  });

  test("stops allows until an append succeeds", () => {
    const { disk, wal, canAllow } = setUp();
    disk.options = { taken: () => 5 };
    expect(() => wal.append(ALLOW)).toThrow(AuditFault);
    expect(canAllow()).toBe(false);
    disk.options = {};
    wal.append(ALLOW);
    expect(canAllow()).toBe(true);
    expect(recordsOf(disk, FIRST)).toEqual([ALLOW]);
  });

  test("loses refusals, which are said in one gap record before the next one", () => {
    const { disk, wal } = setUp();
    disk.options = { taken: () => 5 };
    const lost: readonly AuditRecord[] = [
      { ...DENY, t: DENY.t + 1 },
      { ...ALLOW, t: DENY.t + 2 },
      { ...DENY, t: DENY.t + 3, n: 4 },
    ];
    for (const record of lost) expect(() => wal.append(record)).toThrow(AuditFault);
    disk.options = {};
    wal.append({ ...DENY, t: DENY.t + 9 });
    wal.append({ ...DENY, t: DENY.t + 10 });
    const gap = { k: "gap", n: 5, exact: true, rc: "audit_unavailable", t: DENY.t + 9 };
    expect(recordsOf(disk, FIRST)).toMatchObject([
      { ...gap, t0: DENY.t + 1, t1: DENY.t + 3 },
      { k: "decision" },
      { k: "decision" },
    ]);
  });

  test("of an allow alone leaves no gap: without its record it did not happen", () => {
    const { disk, wal } = setUp();
    disk.options = { taken: () => 5 };
    expect(() => wal.append(ALLOW)).toThrow(AuditFault);
    disk.options = {};
    wal.append(DENY);
    expect(recordsOf(disk, FIRST)).toEqual([DENY]);
  });

  test("leaves remains when cutting fails too; they are cut before the next write", () => {
    const { disk, wal } = setUp();
    wal.append(DENY);
    disk.options = {
      taken: () => 400,
      onStep: (step) => {
        if (step === "truncate") throw new Error("cannot cut");
      },
    };
    expect(() => wal.append(ALLOW)).toThrow(AuditFault);
    disk.options = {};
    // Shorter than what is left of the other one, so writing over it would not do.
    wal.append({ v: 1, k: "clock", t: 1, node: "n", step_ms: 1 });
    expect(recordsOf(disk, FIRST)).toHaveLength(2);
  });

  test("a full disk at a file's end is tried again", () => {
    const { disk, wal } = setUp(2_000);
    for (let i = 0; i < 2; i++) wal.append(ALLOW);
    disk.options = {
      onStep: (step) => {
        if (step === "create") throw new Error("no space");
      },
    };
    for (let i = 0; i < 3; i++) expect(() => wal.append(ALLOW)).toThrow(AuditFault);
    disk.options = {};
    wal.append(ALLOW);
    expect(recordsOf(disk, FIRST)).toHaveLength(2);
    expect(recordsOf(disk, SECOND)).toHaveLength(1);
  });
});

describe("a writer that failed tries again by itself", () => {
  const GAP = { k: "gap", exact: true, rc: "audit_unavailable" };

  test("with a gap record for the refusals that it lost, once the disk takes it", () => {
    const { disk, clock, wal, canAllow } = setUp();
    disk.options = { taken: () => 5 };
    expect(() => wal.append(DENY)).toThrow(AuditFault);
    clock.advance(5 * RETRY_MS);
    expect(canAllow()).toBe(false);
    disk.options = {};
    clock.advance(RETRY_MS);
    expect(canAllow()).toBe(true);
    expect(recordsOf(disk, FIRST)).toMatchObject([{ ...GAP, n: 1, t0: DENY.t, t1: DENY.t }]);
    wal.append(DENY);
    expect(recordsOf(disk, FIRST).map(({ k }) => k)).toEqual(["gap", "decision"]);
  });

  test("with a gap record of nothing where only an allow failed", () => {
    const { disk, clock, wal, canAllow } = setUp();
    disk.options = { taken: () => 5 };
    expect(() => wal.append(ALLOW)).toThrow(AuditFault);
    disk.options = {};
    clock.advance(RETRY_MS);
    expect(canAllow()).toBe(true);
    expect(recordsOf(disk, FIRST)).toMatchObject([{ ...GAP, n: 0 }]);
  });

  test("with what waits, before the gap", async () => {
    const { disk, clock, wal, canAllow } = setUp();
    disk.options = { taken: () => 5 };
    wal.appendSoon(ALLOW);
    await turn();
    expect(() => wal.append(DENY)).toThrow(AuditFault);
    disk.options = {};
    clock.advance(RETRY_MS);
    expect(canAllow()).toBe(true);
    expect(recordsOf(disk, FIRST)).toMatchObject([ALLOW, { ...GAP, n: 1 }]);
  });

  test("with what waits alone where nothing was lost", async () => {
    const { disk, clock, wal, canAllow } = setUp();
    disk.options = { taken: () => 5 };
    wal.appendSoon(ALLOW);
    await turn();
    disk.options = {};
    clock.advance(RETRY_MS);
    expect(canAllow()).toBe(true);
    expect(recordsOf(disk, FIRST)).toEqual([ALLOW]);
  });

  test("once in that time, however many records fail meanwhile, and never once it is closed", () => {
    const { disk, clock, wal } = setUp();
    disk.options = { taken: () => 5 };
    for (let i = 0; i < 100; i++) expect(() => wal.append(DENY)).toThrow(AuditFault);
    expect(clock.pendingTimers).toBe(1);
    const writes = disk.steps.length;
    clock.advance(RETRY_MS);
    expect(disk.steps.slice(writes)).toEqual([`write ${FIRST}`, `truncate ${FIRST}`]);
    disk.options = {};
    wal.close();
    expect(clock.pendingTimers).toBe(0);
  });
});

describe("the bound on what is unsynced", () => {
  test("stops allows when the oldest unsynced frame reaches it, and not before", () => {
    const { clock, wal, canAllow } = setUp();
    expect(canAllow()).toBe(true);
    clock.advance(5_000);
    wal.append(ALLOW);
    clock.advance(600);
    wal.append(ALLOW);
    clock.advance(399);
    expect(canAllow()).toBe(true);
    clock.advance(1);
    expect(canAllow()).toBe(false);
  });

  test("allows go on when all is synced, however long ago that was", () => {
    const { clock, table, wal, canAllow } = setUp();
    wal.append(ALLOW);
    clock.advance(1);
    setSyncedAtNs(table, 0, clock.monoNs());
    clock.advance(60_000);
    expect(canAllow()).toBe(true);
  });

  test("counts from the sync on when that left something newer behind", () => {
    const { clock, table, wal, canAllow } = setUp();
    wal.append(ALLOW);
    clock.advance(800);
    const syncBeganNs = clock.monoNs();
    clock.advance(100);
    wal.append(ALLOW);
    setSyncedAtNs(table, 0, syncBeganNs);
    clock.advance(899);
    expect(canAllow()).toBe(true);
    clock.advance(1);
    expect(canAllow()).toBe(false);
  });

  test("another writer's sync does not count", () => {
    const { clock, table, wal, canAllow } = setUp();
    wal.append(ALLOW);
    clock.advance(1_000);
    setSyncedAtNs(table, 1, clock.monoNs());
    expect(canAllow()).toBe(false);
  });

  test("a frame that was synced as it was written is not taken for unsynced for ever", () => {
    const { clock, table, wal, canAllow } = setUp();
    wal.append(ALLOW);
    setSyncedAtNs(table, 0, clock.monoNs());
    clock.advance(10_000);
    wal.append(ALLOW);
    expect(canAllow()).toBe(true);
    clock.advance(999);
    expect(canAllow()).toBe(true);
  });
});
