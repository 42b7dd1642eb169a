import { describe, expect, test } from "vitest";
import { createWalSignal } from "../../../../node/audit/wal-signal.ts";
import { WalSync } from "../../../../node/audit/wal-sync.ts";
import { openWal } from "../../../../node/audit/wal-writer.ts";
import { createTable, syncedAtNs } from "../../../../node/table/table.ts";
import { twinClock } from "../../../../ports/twin-clock.ts";
import { ALLOW } from "../../audit/sample-records.ts";
import { type StepName, TwinDisk } from "./twin-disk.ts";

const DIR = "/home";
const RUN = "00000012.0a1b2c3d";
const WRITERS = [
  { no: 0, name: "loop0" },
  { no: 1, name: "loop1" },
];

function setUp() {
  const disk = new TwinDisk();
  const clock = twinClock();
  const table = createTable({ rows: 16, loops: 2, scopes: 4, writers: 2, proofs: 64 });
  const signal = createWalSignal(2);
  const shared = { dir: DIR, run: RUN, table, signal, clock, disk };
  const [first, second] = WRITERS.map((writer) =>
    openWal({ ...shared, writer, syncMaxMs: 1_000, fileBytesMax: 3_000 }),
  );
  const faults: string[] = [];
  const onFault = (fault: Error): void => {
    faults.push(`${fault.message}: ${(fault.cause as Error).message}`);
  };
  const sync = new WalSync({ ...shared, writers: WRITERS, onFault });
  const syncedNs = (writer: number): bigint => syncedAtNs(table, writer);
  return { disk, clock, table, sync, syncedNs, faults, loops: [first, second] as const };
}

function failing(step: StepName, part: string): TwinDisk["options"] {
  return {
    onStep: (name, path) => {
      if (name === step && path.includes(part)) throw new Error(`${step} fails`);
    },
  };
}

describe("a round", () => {
  test("syncs a file and its folder's names before it counts it", () => {
    const { disk, sync, clock, syncedNs, loops } = setUp();
    loops[0]?.append(ALLOW);
    const from = disk.steps.length;
    const counted: bigint[] = [];
    disk.options = {
      onStep: (_, path) => {
        if (!path.includes("loop1")) counted.push(syncedNs(0));
      },
    };
    clock.advance(3);
    sync.round();
    const steps = disk.steps.slice(from);
    expect(steps).toContain(`syncFolder ${DIR}`);
    expect(steps).toContain(`syncData ${DIR}/${RUN}-loop0-1.log`);
    expect(new Set(counted)).toEqual(new Set([0n]));
    expect(syncedNs(0)).toBe(clock.monoNs());
  });

  test("syncs the folder for new files alone", () => {
    const { disk, sync, loops } = setUp();
    sync.round();
    const from = disk.steps.length;
    loops[0]?.append(ALLOW);
    sync.round();
    expect(disk.steps.slice(from)).not.toContain(`syncFolder ${DIR}`);
    for (let i = 0; i < 3; i++) loops[0]?.append(ALLOW);
    sync.round();
    expect(disk.steps.slice(from)).toContain(`syncFolder ${DIR}`);
  });

  test("syncs every file that was written since, and leaves one open for each writer", () => {
    const { disk, sync, loops } = setUp();
    for (let i = 0; i < 8; i++) loops[0]?.append(ALLOW);
    sync.round();
    const lost = disk.afterPowerLoss(() => 0);
    for (const no of [1, 2, 3]) {
      const path = `${DIR}/${RUN}-loop0-${no}.log`;
      expect(lost.contentOf(path)).toEqual(disk.contentOf(path));
    }
    // One of the writer and one of the sync, for both of them.
    expect(disk.openFiles).toBe(4);
    sync.close();
    expect(disk.openFiles).toBe(2);
  });

  test("does not count a frame that was appended while it synced", () => {
    const { disk, clock, sync, syncedNs, loops } = setUp();
    loops[0]?.append(ALLOW);
    clock.advance(1);
    const beganNs = clock.monoNs();
    disk.options = {
      onStep: (step) => {
        if (step !== "syncData") return;
        disk.options = {};
        clock.advance(1);
        loops[0]?.append(ALLOW);
      },
    };
    sync.round();
    expect(syncedNs(0)).toBe(beganNs);
    expect(sync.hasNews()).toBe(true);
  });

  test("is followed by one that confirms what was written while it began", () => {
    const { clock, sync, syncedNs, loops } = setUp();
    loops[0]?.append(ALLOW);
    const writtenNs = clock.monoNs() + 5n;
    sync.round();
    expect(syncedNs(0)).toBeLessThan(writtenNs);
    expect(sync.hasNews()).toBe(true);
    clock.advance(5);
    sync.round();
    expect(syncedNs(0)).toBeGreaterThanOrEqual(writtenNs);
    expect(sync.hasNews()).toBe(false);
  });
});

describe("a sync that fails", () => {
  test("is never counted, not even when the next one succeeds, and is told once", () => {
    const { disk, clock, sync, syncedNs, faults, loops } = setUp();
    sync.round();
    clock.advance(1);
    loops[0]?.append(ALLOW);
    loops[1]?.append(ALLOW);
    const beforeNs = syncedNs(0);
    disk.options = failing("syncData", "loop0");
    sync.round();
    disk.options = {};
    for (let i = 0; i < 3; i++) {
      clock.advance(400);
      loops[0]?.append(ALLOW);
      sync.round();
    }
    expect(syncedNs(0)).toBe(beforeNs);
    expect(loops[0]?.canAllow(clock.monoNs())).toBe(false);
    expect(faults).toHaveLength(1);
    expect(syncedNs(1)).toBe(clock.monoNs());
    expect(loops[1]?.canAllow(clock.monoNs())).toBe(true);
  });

  test("of the folder stops those that have a new file, and nobody else", () => {
    const { disk, clock, sync, syncedNs, faults, loops } = setUp();
    for (const loop of loops) loop?.append(ALLOW);
    sync.round();
    for (let i = 0; i < 4; i++) loops[0]?.append(ALLOW);
    loops[1]?.append(ALLOW);
    clock.advance(1);
    disk.options = failing("syncFolder", DIR);
    sync.round();
    disk.options = {};
    clock.advance(1);
    sync.round();
    expect(syncedNs(1)).toBe(clock.monoNs());
    expect(syncedNs(0)).toBeLessThan(clock.monoNs());
    expect(faults).toHaveLength(1);
  });

  test("a file that cannot be opened is tried again, and told once", () => {
    const { disk, clock, sync, syncedNs, faults, loops } = setUp();
    loops[0]?.append(ALLOW);
    disk.options = failing("open", "loop0");
    for (let i = 0; i < 3; i++) sync.round();
    expect(syncedNs(0)).toBe(0n);
    expect(faults).toHaveLength(1);
    disk.options = {};
    sync.round();
    expect(syncedNs(0)).toBe(clock.monoNs());
  });
});
