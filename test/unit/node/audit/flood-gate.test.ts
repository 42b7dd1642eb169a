import { describe, expect, test } from "vitest";
import { readFrames } from "../../../../audit/frame.ts";
import { decodeRecord } from "../../../../audit/leaf.ts";
import { type AuditRecord, decisionsIn } from "../../../../audit/record.ts";
import { DiskRoom, FREE_BYTES_MIN } from "../../../../node/audit/disk-room.ts";
import {
  floodCountLeft,
  openFloodCountFile,
  removeFloodCounts,
} from "../../../../node/audit/flood-count-file.ts";
import { FLOOD_WINDOW_MS, FloodGate } from "../../../../node/audit/flood-gate.ts";
import { floodGapRecord, recoverWal } from "../../../../node/audit/recover-wal.ts";
import { createWalSignal, roomOf, setRoom } from "../../../../node/audit/wal-signal.ts";
import { openWal } from "../../../../node/audit/wal-writer.ts";
import { createTable } from "../../../../node/table/table.ts";
import { twinClock } from "../../../../ports/twin-clock.ts";
import { twinRandom } from "../../../../ports/twin-random.ts";
import { ALLOW, DENY } from "../../audit/sample-records.ts";
import { TwinDisk } from "./twin-disk.ts";

const DIR = "/home/wal";
const RUN = "00000012.0a1b2c3d";
const ALICE = "spiffe://acme/agent/research/alice";
const BOB = "spiffe://acme/agent/research/bob";

function setUp(singlesMax = 3) {
  const disk = new TwinDisk();
  disk.makeFolder(DIR);
  const clock = twinClock();
  const signal = createWalSignal(1);
  const wal = openWal({
    dir: DIR,
    run: RUN,
    writer: { no: 0, name: "loop0" },
    table: createTable({ rows: 16, loops: 1, scopes: 4, writers: 1, proofs: 64 }),
    signal,
    clock,
    syncMaxMs: 1_000,
    disk,
  });
  let counted = 0;
  let faults = 0;
  const gate = new FloodGate({
    wal,
    clock,
    singlesMax,
    isRoomShort: () => roomOf(signal) !== "enough",
    pending: openFloodCountFile(disk, { dir: DIR, run: RUN, writer: "loop0" }),
    onCounted: () => counted++,
    onFault: () => faults++,
  });
  let no = 0;
  const refuse = (ag?: string, over: Partial<typeof DENY> = {}): string => {
    const rid = `01998f3e-7c1a-7b2c-9d3e-${(no++).toString(16).padStart(12, "0")}`;
    gate.append({ ...DENY, t: clock.nowMs(), rid, ...(ag !== undefined && { ag }), ...over });
    return rid;
  };
  const written = (): AuditRecord[] => {
    const bytes = disk.contentOf(`${DIR}/${RUN}-loop0-1.log`) as Buffer;
    return readFrames(bytes).leaves.flatMap((leaf) => {
      const decoded = decodeRecord(leaf);
      return decoded.ok ? [decoded.record] : [];
    });
  };
  const sum = (): number => written().reduce((total, one) => total + decisionsIn(one), 0);
  return { disk, clock, signal, gate, refuse, written, sum, counts: () => ({ counted, faults }) };
}

describe("a flood", () => {
  test("F1: of each source so many are written singly in a second, and again in the next", () => {
    const { clock, refuse, written } = setUp();
    for (let i = 0; i < 5; i++) refuse(ALICE);
    for (let i = 0; i < 3; i++) refuse(BOB);
    expect(written().map(({ k }) => k)).toEqual(Array(6).fill("decision"));
    clock.advance(FLOOD_WINDOW_MS);
    refuse(ALICE);
    expect(written().at(-1)).toMatchObject({ k: "decision", ag: ALICE });
  });

  test("F1: whoever is not known is one source, whatever they are refused for", () => {
    const { refuse, written } = setUp();
    for (let i = 0; i < 4; i++) refuse(undefined, i % 2 ? { st: 2, sv: "PD------------" } : {});
    expect(written()).toHaveLength(3);
  });

  test("F2: equal refusals become one record with their count, first id and last", () => {
    const { clock, refuse, written, sum, counts } = setUp();
    const rids: string[] = [];
    for (let i = 0; i < 3; i++) refuse(ALICE);
    for (let i = 0; i < 5_000; i++) rids.push(refuse(ALICE));
    for (let i = 0; i < 7; i++) refuse(ALICE, { rc: "model_unknown" });
    clock.advance(FLOOD_WINDOW_MS);
    const floods = written().filter(({ k }) => k === "flood");
    expect(floods).toMatchObject([
      { n: 5_000, first: rids[0], last: rids.at(-1), st: 9, rc: DENY.rc, ag: ALICE, pol: "v12" },
      { n: 7, rc: "model_unknown" },
    ]);
    expect(sum()).toBe(3 + 5_000 + 7);
    expect(counts()).toEqual({ counted: 5_007, faults: 0 });
  });

  test("F2: is written within a second although nothing more comes, and when the log closes", () => {
    const { clock, gate, refuse, sum } = setUp();
    for (let i = 0; i < 10; i++) refuse();
    clock.advance(FLOOD_WINDOW_MS);
    expect(sum()).toBe(10);
    for (let i = 0; i < 10; i++) refuse();
    gate.close();
    expect(sum()).toBe(20);
    expect(clock.pendingTimers).toBe(0);
  });

  test("F2: over a clock that is set back is still a record", () => {
    const { clock, refuse, sum } = setUp(0);
    refuse();
    clock.jumpWall(-3_600_000);
    refuse();
    clock.advance(FLOOD_WINDOW_MS);
    expect(sum()).toBe(2);
  });

  test("ends in order where the disk does not take what waits, and says so", () => {
    const { disk, gate, written, counts } = setUp();
    gate.append(ALLOW);
    gate.appendSoon({ ...ALLOW, t: ALLOW.t + 1 });
    disk.options = { taken: () => 5 };
    gate.close();
    expect(counts()).toEqual({ counted: 0, faults: 1 });
    expect(written()).toEqual([ALLOW]);
    expect(disk.openFiles).toBe(0);
  });

  test("touches neither allows nor what follows them", () => {
    const { gate, written } = setUp(0);
    gate.append(ALLOW);
    gate.append({ ...DENY, ph: "response" });
    expect(written()).toHaveLength(2);
  });

  test("that cannot be written is in the gap that follows", () => {
    const { disk, clock, gate, refuse, written, counts } = setUp(0);
    for (let i = 0; i < 9; i++) refuse();
    disk.options = { taken: (path, bytes) => (path.endsWith(".log") ? 0 : bytes) };
    clock.advance(FLOOD_WINDOW_MS);
    disk.options = {};
    expect(counts().faults).toBe(1);
    gate.append(ALLOW);
    expect(written()).toMatchObject([{ k: "gap", n: 9, exact: true }, { k: "decision" }]);
  });
});

test("F3: while room is short nothing is refused singly, and allows go on", () => {
  const { signal, gate, clock, refuse, written } = setUp();
  setRoom(signal, "short");
  refuse(ALICE);
  expect(gate.canAllow(clock.monoNs())).toBe(true);
  gate.append(ALLOW);
  setRoom(signal, "none");
  expect(gate.canAllow(clock.monoNs())).toBe(false);
  setRoom(signal, "enough");
  expect(gate.canAllow(clock.monoNs())).toBe(true);
  clock.advance(FLOOD_WINDOW_MS);
  expect(written()).toMatchObject([
    { k: "decision", dec: "allow" },
    { k: "flood", n: 1 },
  ]);
});

test("F4: what was counted when the process died is a gap of the next start, once", () => {
  const { disk, clock, refuse } = setUp();
  for (let i = 0; i < 50; i++) refuse();
  const start = () => recoverWal({ dir: DIR, random: twinRandom(1), disk, kernelBootId: "b" });
  const now = { t: clock.nowMs() + 5, node: "n" };
  const recovery = start();
  expect(floodGapRecord(recovery, now)).toMatchObject({
    k: "gap",
    n: 47,
    exact: false,
    t0: clock.nowMs(),
  });
  removeFloodCounts(disk, DIR, recovery.run);
  expect(floodGapRecord(start(), now)).toBeUndefined();
});

test("F4: nothing is left when all of it was written", () => {
  const { disk, clock, refuse } = setUp(0);
  refuse();
  clock.advance(FLOOD_WINDOW_MS);
  expect(floodCountLeft(disk, DIR, "99999999.00000000")).toBeUndefined();
});

test("the disk's room is told to all writers, and less of it to whoever runs the node", () => {
  const disk = new TwinDisk();
  const clock = twinClock();
  const signal = createWalSignal(1);
  const faults: string[] = [];
  const reserveBytes = 512 * 1024 * 1024;
  const room = new DiskRoom({
    disk,
    dir: DIR,
    reserveBytes,
    signal,
    clock,
    onFault: ({ message }) => faults.push(message),
  });
  const seen = [reserveBytes, reserveBytes - 1, FREE_BYTES_MIN - 1, FREE_BYTES_MIN, reserveBytes];
  const told = seen.map((free) => {
    disk.free = free;
    room.lookIfDue();
    clock.advance(1_000);
    return roomOf(signal);
  });
  expect(told).toEqual(["enough", "short", "none", "short", "enough"]);
  expect(faults).toEqual([
    expect.stringContaining("refusals are only counted"),
    expect.stringContaining("nothing is allowed"),
  ]);
});
