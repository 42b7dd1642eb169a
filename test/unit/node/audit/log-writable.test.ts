import { expect, test } from "vitest";
import { isLogWritable } from "../../../../node/audit/log-writable.ts";
import { createWalSignal, setRoom } from "../../../../node/audit/wal-signal.ts";
import { openWal, RETRY_MS } from "../../../../node/audit/wal-writer.ts";
import { createTable, setSyncedAtNs } from "../../../../node/table/table.ts";
import { twinClock } from "../../../../ports/twin-clock.ts";
import { ALLOW, DENY } from "../../audit/sample-records.ts";
import { TwinDisk } from "./twin-disk.ts";

const NAMES = ["loop0", "loop1", "control", "mesh"] as const;

/** A node's writers, of which a test has one fail. */
function setUp() {
  const disk = new TwinDisk();
  const clock = twinClock();
  const table = createTable({ rows: 16, loops: 2, scopes: 4, writers: NAMES.length, proofs: 64 });
  const signal = createWalSignal(NAMES.length);
  const wals = NAMES.map((name, no) =>
    openWal({
      dir: "/home",
      run: "00000012.0a1b2c3d",
      writer: { no, name },
      table,
      signal,
      clock,
      syncMaxMs: 1_000,
      disk,
    }),
  );
  const isWritable = () =>
    isLogWritable({ signal, table, nowNs: clock.monoNs(), syncMaxNs: 1_000_000_000n });
  return { disk, clock, table, signal, wals, isWritable };
}

test.each(NAMES.map((name, no) => [name, no] as const))(
  "no more once a write of %s failed, and again by itself once the disk takes it",
  (name, no) => {
    const { disk, clock, wals, isWritable } = setUp();
    expect(isWritable()).toBe(true);
    disk.options = { taken: (path, bytes) => (path.includes(`-${name}-`) ? 0 : bytes) };
    expect(() => wals[no]?.append(DENY)).toThrow();
    expect(isWritable()).toBe(false);
    clock.advance(10 * RETRY_MS);
    expect(isWritable()).toBe(false);
    disk.options = {};
    clock.advance(RETRY_MS);
    expect(isWritable()).toBe(true);
  },
);

test.each(NAMES.map((name, no) => [name, no] as const))(
  "no more while what %s wrote does not get to the disk in time",
  (_, no) => {
    const { clock, table, wals, isWritable } = setUp();
    wals[no]?.append(ALLOW);
    clock.advance(999);
    expect(isWritable()).toBe(true);
    clock.advance(1);
    expect(isWritable()).toBe(false);
    setSyncedAtNs(table, no, clock.monoNs());
    expect(isWritable()).toBe(true);
  },
);

test("no more while the disk has no room", () => {
  const { signal, isWritable } = setUp();
  setRoom(signal, "none");
  expect(isWritable()).toBe(false);
  setRoom(signal, "short");
  expect(isWritable()).toBe(true);
});
