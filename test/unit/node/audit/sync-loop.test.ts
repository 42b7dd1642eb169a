import { setImmediate as nextTurn } from "node:timers/promises";
import { expect, test } from "vitest";
import {
  ABSORB_EVERY_MS,
  SYNC_EVERY_MS,
  type SyncedFrames,
  SyncLoop,
} from "../../../../node/audit/sync-loop.ts";
import { createWalSignal } from "../../../../node/audit/wal-signal.ts";
import { WalSync } from "../../../../node/audit/wal-sync.ts";
import { openWal } from "../../../../node/audit/wal-writer.ts";
import { createTable, syncedAtNs } from "../../../../node/table/table.ts";
import { twinClock } from "../../../../ports/twin-clock.ts";
import { ALLOW } from "../../audit/sample-records.ts";
import { TwinDisk } from "./twin-disk.ts";

const HOLDS_MAX = 1_000;

function setUp(frames?: SyncedFrames, whenHeld: () => void = () => undefined) {
  const disk = new TwinDisk();
  const clock = twinClock();
  const table = createTable({ rows: 16, loops: 1, scopes: 4, writers: 1, proofs: 64 });
  const signal = createWalSignal(1);
  const writer = { no: 0, name: "loop0" };
  const shared = { dir: "/home", run: "00000012.0a1b2c3d", table, signal, clock, disk };
  const wal = openWal({ ...shared, writer, syncMaxMs: 1_000 });
  const onFault = (fault: Error): void => {
    throw fault;
  };
  const sync = new WalSync({ ...shared, writers: [writer], onFault });
  const held: number[] = [];
  const hold = (ms: number): void => {
    held.push(ms);
    // A loop that never ends its turn would be seen by nobody.
    if (held.length > HOLDS_MAX) throw new Error("nothing else gets a turn");
    whenHeld();
    clock.advance(ms);
  };
  const loop = new SyncLoop({ sync, signal, clock, hold, ...(frames && { frames }) });
  return { disk, clock, wal, loop, held, syncedNs: () => syncedAtNs(table, 0) };
}

/** Lets the loop sleep, wake and do its round, however many turns that takes. */
async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await nextTurn();
}

test("the first frame is synced at once, the next ones with the end of their batch", async () => {
  const syncs = (): number => world.disk.steps.filter((step) => step.startsWith("syncData")).length;
  const seen: [number, bigint][] = [];
  const world = setUp(undefined, () => {
    seen.push([syncs(), world.syncedNs()]);
    if (seen.length === 1) world.wal.append(ALLOW);
  });
  const running = world.loop.run();
  await until(() => syncs() === 1);
  const firstNs = world.syncedNs();
  world.clock.advance(1);
  world.wal.append(ALLOW);
  await until(() => seen.length >= 2);
  expect(world.held.slice(0, 2)).toEqual([4, SYNC_EVERY_MS]);
  expect(seen.slice(0, 2)).toEqual([
    [1, firstNs],
    [2, firstNs + 5_000_000n],
  ]);
  world.loop.stop();
  await running;
});

test("while frames come all the time, others get their turns", async () => {
  const world = setUp({ absorb: () => false, finish: () => undefined }, () =>
    world.wal.append(ALLOW),
  );
  const running = world.loop.run();
  for (let turn = 0; turn < 3; turn++) await nextTurn();
  expect(world.held.length).toBeGreaterThan(2);
  world.loop.stop();
  await running;
});

test("once nothing is written any more, others need not wait for the end of a batch", async () => {
  let absorbed = 0;
  const absorb = (): boolean => {
    absorbed += 1;
    return false;
  };
  const world = setUp({ absorb, finish: () => undefined });
  const running = world.loop.run();
  await until(() => absorbed === 1);
  world.wal.append(ALLOW);
  await nextTurn();
  world.loop.stop();
  await running;
  expect(world.held.length).toBeLessThan(ABSORB_EVERY_MS / SYNC_EVERY_MS);
});

test("what is made of the frames does not hold up their sync", async () => {
  const seen: bigint[] = [];
  const frames: SyncedFrames = {
    absorb: (between) => {
      if (seen.length > 0) return false;
      for (let i = 0; i < 4; i++) {
        world.wal.append(ALLOW);
        world.clock.advance(3);
        between();
        seen.push(world.syncedNs());
      }
      return false;
    },
    finish: () => undefined,
  };
  const world = setUp(frames);
  const startNs = world.clock.monoNs();
  const running = world.loop.run();
  await until(() => seen.length === 4);
  // Every 5 ms at most, and here a look every 3.
  expect(seen.map((ns) => (ns - startNs) / 1_000_000n)).toEqual([0n, 6n, 6n, 12n]);
  world.loop.stop();
  await running;
});

test("what is synced is absorbed in batches, the last of it too", async () => {
  const absorbedMs: number[] = [];
  const nowMs = (): number => Number(world.clock.monoNs() / 1_000_000n);
  const absorb = (): boolean => {
    absorbedMs.push(nowMs());
    return false;
  };
  const world = setUp({ absorb, finish: () => undefined }, () => {
    // Nothing is written in the second half: what was synced before must not wait for more.
    const sinceMs = nowMs() - (absorbedMs[0] ?? 0);
    if (sinceMs < ABSORB_EVERY_MS / 2) world.wal.append(ALLOW);
  });
  const running = world.loop.run();
  await until(() => absorbedMs.length === 2);
  const [first = 0, second = 0] = absorbedMs;
  expect(second - first).toBe(ABSORB_EVERY_MS);
  world.loop.stop();
  await running;
});

test("a stop syncs what was appended before it, and hands it on, before it ends", async () => {
  const order: string[] = [];
  const frames: SyncedFrames = {
    absorb: () => false,
    finish: () => {
      order.push(world.syncedNs() === world.clock.monoNs() ? "finish after sync" : "finish before");
    },
  };
  const world = setUp(frames);
  const running = world.loop.run();
  await until(() => world.syncedNs() > 0n);
  world.clock.advance(100);
  world.wal.append(ALLOW);
  world.loop.stop();
  await running;
  expect(order).toEqual(["finish after sync"]);
  expect(world.disk.openFiles).toBe(1);
});

test("one that is stopped before it began syncs all the same", async () => {
  const world = setUp();
  world.wal.append(ALLOW);
  world.loop.stop();
  await world.loop.run();
  expect(world.syncedNs()).toBe(world.clock.monoNs());
});
