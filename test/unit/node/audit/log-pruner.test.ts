import { dirname } from "node:path";
import { expect, test } from "vitest";
import { bundlePath } from "../../../../audit/tiles.ts";
import { verifyLog } from "../../../../audit/verify-log.ts";
import { SMALL_SEGMENT_LEAVES } from "../../../../node/audit/index-segment.ts";
import {
  LogPruner,
  type LogPrunerOptions,
  TAIL_LEAVES_MIN,
} from "../../../../node/audit/log-pruner.ts";
import { twinClock } from "../../../../ports/twin-clock.ts";
import { buildLog, entriesOf, LOG, recordsOf } from "../../audit/sample-log.ts";
import { TwinDisk } from "./twin-disk.ts";

const DIRS = ["/home/log/e1", "/home/log/e2"];
const KEEP_MS = 86_400_000;
const BUNDLE_BYTES = 1_000;
const SEGMENT = SMALL_SEGMENT_LEAVES / 256;

function setUp(bundles: readonly number[], keepBytes: number, disk = new TwinDisk()) {
  for (const [no, dir] of DIRS.entries()) {
    disk.makeFolder(`${dir}/tile/entries`);
    disk.makeFolder(`${dir}/index/small`);
    for (let index = 0; index < (bundles[no] ?? 0); index++) {
      writeFile(disk, `${dir}/${bundlePath({ index, width: 256 })}`, BUNDLE_BYTES);
      if (index % SEGMENT === 0) writeFile(disk, `${dir}/index/small/${index / SEGMENT}`, 10);
    }
  }
  const shipped = [0, 0];
  const faults: string[] = [];
  const open = (on: TwinDisk, more: Partial<LogPrunerOptions> = {}) =>
    new LogPruner({
      disk: on,
      home: "/home",
      dirs: DIRS,
      keepBytes,
      clock: twinClock(),
      shippedSize: (log) => shipped[log] ?? 0,
      onFault: (message) => faults.push(message),
      ...more,
    });
  return { disk, shipped, faults, open };
}

function writeFile(disk: TwinDisk, path: string, bytes: number, content?: Buffer): void {
  const fd = disk.create(path);
  disk.write(fd, content ?? Buffer.alloc(bytes), 0);
  disk.close(fd);
}

function turnAll(pruner: LogPruner): void {
  while (pruner.turn());
}

function bundlesLeft(disk: TwinDisk, dir: string): number {
  return disk.paths().filter((path) => path.startsWith(`${dir}/tile/entries/`)).length;
}

const minimumOf = (disk: TwinDisk, dir: string) => disk.contentOf(`${dir}/minimum`)?.toString();

test("P1: nothing goes that is not shipped, however much there is", () => {
  const { disk, shipped, open } = setUp([0, 10 * SEGMENT], 0);
  const pruner = open(disk);
  turnAll(pruner);
  expect(pruner.bytes).toBe(10 * SEGMENT * BUNDLE_BYTES);
  shipped[1] = SMALL_SEGMENT_LEAVES + TAIL_LEAVES_MIN - 1;
  turnAll(pruner);
  expect(bundlesLeft(disk, DIRS[1] as string)).toBe(10 * SEGMENT);
  shipped[1] += 1;
  turnAll(pruner);
  expect(bundlesLeft(disk, DIRS[1] as string)).toBe(9 * SEGMENT);
  expect(minimumOf(disk, DIRS[1] as string)).toBe(`${SMALL_SEGMENT_LEAVES}\n`);
  expect(disk.paths()).not.toContain(`${DIRS[1]}/index/small/0`);
  expect(disk.paths()).toContain(`${DIRS[1]}/index/small/1`);
});

test("P2: oldest first, and no more than the limit asks for", () => {
  const keep = 9 * SEGMENT * BUNDLE_BYTES;
  const { disk, shipped, open } = setUp([4 * SEGMENT, 8 * SEGMENT], keep);
  shipped[0] = 4 * SMALL_SEGMENT_LEAVES;
  shipped[1] = 8 * SMALL_SEGMENT_LEAVES;
  const pruner = open(disk);
  turnAll(pruner);
  expect(bundlesLeft(disk, DIRS[0] as string)).toBe(2 * SEGMENT);
  expect(bundlesLeft(disk, DIRS[1] as string)).toBe(7 * SEGMENT);
  expect(pruner.bytes).toBeLessThanOrEqual(keep);
  // Another start counts the same, and finds nothing to do.
  const again = open(disk.afterCrash());
  turnAll(again);
  expect(again.bytes).toBe(pruner.bytes);
});

test("P2: after a crash between word and deed the rest goes too", () => {
  const { disk, shipped, open } = setUp([0, 6 * SEGMENT], 0);
  shipped[1] = 6 * SMALL_SEGMENT_LEAVES;
  let removals = 5;
  disk.options = {
    onStep: (step) => {
      if (step === "remove" && removals-- <= 0) throw new Error("no power");
    },
  };
  const pruner = open(disk);
  expect(() => turnAll(pruner)).toThrow("no power");
  const after = disk.afterPowerLoss(() => 0.99);
  expect(minimumOf(after, DIRS[1] as string)).toBe(`${SMALL_SEGMENT_LEAVES}\n`);
  turnAll(open(after));
  expect(bundlesLeft(after, DIRS[1] as string)).toBe(TAIL_LEAVES_MIN / 256);
});

test("a disk that does not let go is told once, and tried again", () => {
  const { disk, shipped, faults, open } = setUp([0, 6 * SEGMENT], 0);
  shipped[1] = 6 * SMALL_SEGMENT_LEAVES;
  disk.options = {
    onStep: (step) => {
      if (step === "remove") throw new Error("EIO");
    },
  };
  const pruner = open(disk);
  pruner.start();
  pruner.start();
  expect(faults).toEqual(["shipped records could not be removed: EIO"]);
  pruner.stop();
});

test("P4: a log that ended goes once it is old and was shipped whole, and neither before", () => {
  const { disk, shipped, open } = setUp([0, 0], 0);
  const t = 1_790_000_000_000;
  const close = { v: 1, k: "close", t, node: "node-7", rc: "epoch_age" } as const;
  const { files } = buildLog(entriesOf([...recordsOf(600), close]));
  for (const [path, bytes] of files) {
    disk.makeFolder(dirname(`${DIRS[0]}/${path}`));
    writeFile(disk, `${DIRS[0]}/${path}`, bytes.length, bytes);
  }
  const clock = twinClock({ nowMs: t + KEEP_MS - 1, monoNs: 0n });
  const more = { clock, keepMs: KEEP_MS };
  turnAll(open(disk, more));
  shipped[0] = 601;
  turnAll(open(disk, more));
  expect(bundlesLeft(disk, DIRS[0] as string)).toBe(3);
  shipped[0] = 600;
  clock.advance(1);
  turnAll(open(disk, more));
  expect(bundlesLeft(disk, DIRS[0] as string)).toBe(3);
  shipped[0] = 601;
  turnAll(open(disk, more));
  expect(bundlesLeft(disk, DIRS[0] as string)).toBe(0);
  const reader = { read: (path: string) => disk.contentOf(`${DIRS[0]}/${path}`) };
  const report = verifyLog({ reader, logKey: LOG.key });
  expect(report).toMatchObject({ findings: [], isRetired: true, pruned: 601 });
  // The next start leaves it as it is, and goes on.
  const steps = disk.steps.length;
  const pruner = open(disk.afterCrash(), more);
  turnAll(pruner);
  expect([pruner.bytes, disk.steps.length]).toEqual([0, steps]);
});
