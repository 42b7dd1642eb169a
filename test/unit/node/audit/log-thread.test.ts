import { dirname } from "node:path";
import { describe, expect, test } from "vitest";
import { encodeFrame } from "../../../../audit/frame.ts";
import type { AuditRecord } from "../../../../audit/record.ts";
import { TILE_WIDTH } from "../../../../audit/tiles.ts";
import { DENY } from "../../audit/sample-records.ts";
import {
  Life,
  LOG_DIR,
  newWorld,
  nextRid,
  recordsIn,
  verify,
  WAL_DIR,
  type World,
} from "./audit-life.ts";
import { TwinDisk } from "./twin-disk.ts";

function kindsIn(disk: TwinDisk, size: number): string[] {
  return recordsIn(disk, size).map(({ k }) => k);
}

function expectSound(world: World, disk: TwinDisk, size: number): void {
  const report = verify(world, disk);
  expect(report.findings).toEqual([]);
  expect(report.checkpoint?.size).toBe(size);
}

describe("the log", () => {
  test("begins with genesis and boot, and verifies", () => {
    const world = newWorld();
    const life = new Life(world, new TwinDisk());
    const rid = life.deny(0);
    life.checkpoint();
    expectSound(world, life.disk, 3);
    const records = recordsIn(life.disk, 3);
    expect(records.map(({ k }) => k)).toEqual(["genesis", "boot", "decision"]);
    expect(records[2]).toMatchObject({ rid, ep: 1, seq: 2 });
  });

  test("verifies at every size over two bundle edges, with every partial file it needs", () => {
    const world = newWorld();
    const life = new Life(world, new TwinDisk());
    const roots = new Map<number, string>();
    for (let i = 0; i < 530; i++) {
      life.deny((i % 2) as 0 | 1);
      if (i % 7 !== 0 && (i < 250 || i > 258)) continue;
      life.checkpoint();
      expectSound(world, life.disk, life.log.signedSize);
      roots.set(
        life.log.signedSize,
        life.disk.contentOf(`${LOG_DIR}/checkpoint`)?.toString() ?? "",
      );
    }
    expect(roots.size).toBeGreaterThan(70);
  });

  test("merges writers by time, and keeps the order of each", () => {
    const world = newWorld();
    const life = new Life(world, new TwinDisk());
    const { clock } = world;
    const rids: string[] = [];
    for (let i = 0; i < 40; i++) {
      clock.advance(1);
      rids.push(life.deny(i % 3 === 0 ? 0 : 1));
    }
    life.checkpoint();
    const found = recordsIn(life.disk, life.log.signedSize).flatMap((record) =>
      record.k === "decision" ? [record.rid] : [],
    );
    expect(found).toEqual(rids);
  });

  test("signs at most once a second, and only when there is something new", () => {
    const world = newWorld();
    const life = new Life(world, new TwinDisk());
    life.turn();
    const first = life.log.signedSize;
    for (let i = 0; i < 9; i++) {
      life.deny(0);
      world.clock.advance(100);
      life.turn();
    }
    expect(life.log.signedSize).toBe(first);
    life.checkpoint();
    expect(life.log.signedSize).toBe(first + 9);
    const steps = life.disk.steps.length;
    life.checkpoint();
    expect(life.disk.steps.length).toBe(steps);
  });

  test("takes only frames that are on the disk", () => {
    const world = newWorld();
    const life = new Life(world, new TwinDisk());
    life.checkpoint();
    const before = life.log.signedSize;
    life.deny(0);
    world.clock.advance(2_000);
    life.log.absorb(() => undefined);
    expect(life.log.signedSize).toBe(before);
    life.turn();
    world.clock.advance(2_000);
    life.turn();
    expect(life.log.signedSize).toBe(before + 1);
  });

  test("goes on after a stop; the end of a run is no leaf, the next boot says it was clean", () => {
    const world = newWorld();
    const first = new Life(world, new TwinDisk());
    first.deny(0);
    first.stop();
    world.clock.advance(5_000);
    const second = new Life(world, first.disk.afterCrash());
    second.deny(1);
    second.stop();
    const size = second.log.signedSize;
    expectSound(world, second.disk, size);
    expect(kindsIn(second.disk, size)).toEqual(["genesis", "boot", "decision", "boot", "decision"]);
    const boots = recordsIn(second.disk, size).filter(({ k }) => k === "boot");
    expect(boots).toMatchObject([{ clean: true }, { clean: true }]);
    expect(second.disk.openFiles).toBe(0);
  });

  test("takes up what a crash left in the WAL", () => {
    const world = newWorld();
    const first = new Life(world, new TwinDisk());
    first.checkpoint();
    for (let i = 0; i < 600; i++) first.deny((i % 2) as 0 | 1);
    first.turn();
    const second = new Life(world, first.disk.afterCrash());
    second.stop();
    expectSound(world, second.disk, 1 + 1 + 600 + 1);
    const boots = recordsIn(second.disk, 603).filter(({ k }) => k === "boot");
    expect(boots).toMatchObject([{ clean: true }, { clean: false }]);
  });
});

test("what witnesses outside have cosigned lies beside the log that it is of, and makes no log anew", () => {
  const world = newWorld();
  const life = new Life(world, new TwinDisk());
  life.deny(0);
  life.checkpoint();
  life.log.witnessed(1, "cosigned");
  const after = life.disk.afterPowerLoss(() => 0.1);
  expect(after.contentOf(`${LOG_DIR}/witnessed`)?.toString()).toBe("cosigned");
  life.log.witnessed(2, "cosigned");
  expect(life.disk.list(dirname(LOG_DIR))).toEqual(["e1"]);
});

test("a crash while it catches up with earlier runs loses nothing of them", () => {
  const world = newWorld();
  const first = new Life(world, new TwinDisk(), { fileBytesMax: 64 * 1024 });
  for (let i = 0; i < 3_000; i++) first.deny((i % 2) as 0 | 1);
  const second = new Life(world, first.disk.afterCrash());
  second.log.absorb(() => undefined);
  const { signedSize } = second.log;
  expect(signedSize).toBeGreaterThan(1_000);
  expect(signedSize).toBeLessThan(3_000);
  const third = new Life(world, second.disk.afterCrash());
  third.stop();
  // Genesis, and the boots of three runs.
  expectSound(world, third.disk, 1 + 3 + 3_000);
});

describe("time", () => {
  test("a clock set back while the node runs is on record before what has the new time", () => {
    const world = newWorld();
    const life = new Life(world, new TwinDisk());
    life.deny(0);
    life.checkpoint();
    life.deny(0);
    world.clock.advance(3);
    world.clock.jumpWall(-3_600_000);
    life.deny(1);
    life.turn();
    world.clock.advance(5);
    life.deny(0);
    life.checkpoint();
    const size = life.log.signedSize;
    expectSound(world, life.disk, size);
    expect(recordsIn(life.disk, size).find(({ k }) => k === "clock")).toMatchObject({
      step_ms: -3_600_000,
    });
  });

  test("a clock set on while the node runs is on record after what has the old time", () => {
    const world = newWorld();
    const life = new Life(world, new TwinDisk());
    life.deny(0);
    life.checkpoint();
    life.deny(0);
    world.clock.advance(3);
    world.clock.jumpWall(86_400_000);
    life.deny(1);
    life.checkpoint();
    const size = life.log.signedSize;
    expectSound(world, life.disk, size);
    expect(kindsIn(life.disk, size)).toEqual([
      "genesis",
      "boot",
      "decision",
      "decision",
      "clock",
      "decision",
    ]);
  });

  test("frames that were held around a jump are the ones that were written, however many", () => {
    const world = newWorld();
    const life = new Life(world, new TwinDisk());
    // More than is read from a WAL at once, so that what was read first is read over.
    const rids = Array.from({ length: 1_600 }, () => life.allow(0));
    world.clock.advance(3);
    world.clock.jumpWall(86_400_000);
    life.deny(1);
    life.checkpoint();
    const size = life.log.signedSize;
    expectSound(world, life.disk, size);
    const found = recordsIn(life.disk, size).flatMap((one) => ("rid" in one ? [one.rid] : []));
    expect(found.slice(0, rids.length)).toEqual(rids);
  });

  test("a clock set back between two runs is on record", () => {
    const world = newWorld();
    const first = new Life(world, new TwinDisk());
    first.deny(0);
    first.checkpoint();
    first.deny(0);
    world.clock.jumpWall(-60_000);
    const second = new Life(world, first.disk.afterCrash());
    second.deny(0);
    second.stop();
    expectSound(world, second.disk, second.log.signedSize);
    expect(kindsIn(second.disk, second.log.signedSize)).toContain("clock");
  });

  test("a clock set back a little while the log was held up for minutes is in order", () => {
    const world = newWorld();
    const life = new Life(world, new TwinDisk());
    life.deny(0);
    life.checkpoint();
    world.clock.advance(1_000);
    life.deny(1);
    world.clock.advance(300_000);
    life.deny(0);
    world.clock.jumpWall(-3_000);
    life.deny(1);
    life.checkpoint();
    const size = life.log.signedSize;
    expect(kindsIn(life.disk, size)).toContain("clock");
    expectSound(world, life.disk, size);
  });

  test("small jumps add up to one that is on record", () => {
    const world = newWorld();
    const life = new Life(world, new TwinDisk());
    for (let i = 0; i < 4; i++) {
      life.deny(0);
      world.clock.jumpWall(-200);
      life.checkpoint();
    }
    expect(kindsIn(life.disk, life.log.signedSize).filter((k) => k === "clock")).toHaveLength(1);
  });
});

describe("files", () => {
  test("WAL files go once a checkpoint has passed them, but not the one with the boot", () => {
    const world = newWorld();
    const life = new Life(world, new TwinDisk(), { fileBytesMax: 4_096 });
    for (let i = 0; i < 60; i++) life.deny(0);
    for (let i = 0; i < 60; i++) {
      life.append(2, { ...DENY, rid: nextRid(world), t: world.clock.nowMs() });
    }
    const walFiles = (): string[] =>
      life.disk
        .paths()
        .filter((path) => path.startsWith(WAL_DIR))
        .map((path) => path.slice(27));
    expect(walFiles().length).toBeGreaterThan(8);
    life.checkpoint();
    const { run } = life.recovery;
    const last = life.disk.steps.filter((step) =>
      step.startsWith(`create ${WAL_DIR}/${run}-loop0`),
    );
    expect(walFiles()).toEqual([
      "-control-1.log",
      expect.stringMatching(/^-control-[2-9]+\.log$/),
      `-loop0-${last.length}.log`,
      "-loop1-1.log",
    ]);
  });

  test("files of the last run stay until this run's boot is signed over", () => {
    const world = newWorld();
    const first = new Life(world, new TwinDisk());
    first.deny(0);
    const disk = first.disk.afterCrash();
    const second = new Life(world, disk);
    const ofFirst = (): number =>
      disk.paths().filter((path) => path.includes(first.recovery.run)).length;
    // Nothing of this run is synced yet, so its boot record may still be lost.
    second.log.absorb(() => undefined);
    expect(second.log.signedSize).toBe(3);
    expect(ofFirst()).toBe(3);
    second.checkpoint();
    expect(ofFirst()).toBe(0);
  });

  test("partial files go when the full one is signed over", () => {
    const world = newWorld();
    const life = new Life(world, new TwinDisk());
    for (let i = 0; i < TILE_WIDTH + 20; i++) {
      life.deny(0);
      if (i % 50 === 0) life.checkpoint();
    }
    life.checkpoint();
    const partials = life.disk.paths().filter((path) => path.includes(".p/"));
    expect(partials.filter((path) => path.includes("000.p/"))).toEqual([
      `${LOG_DIR}/tile/1/000.p/1`,
    ]);
    expectSound(world, life.disk, life.log.signedSize);
  });

  test("one file of consumed positions stays, the checkpoint's", () => {
    const world = newWorld();
    const life = new Life(world, new TwinDisk());
    for (let i = 0; i < 5; i++) {
      life.deny(0);
      life.checkpoint();
    }
    const { signedSize } = life.log;
    const consumed = life.disk.paths().filter((path) => path.includes("/consumed/"));
    expect(consumed).toEqual([`${LOG_DIR}/consumed/${signedSize}`]);
  });

  test("a checkpoint is replaced only after all it stands on is on the disk", () => {
    const world = newWorld();
    const life = new Life(world, new TwinDisk());
    for (let i = 0; i < 300; i++) life.deny(0);
    const from = life.disk.steps.length;
    life.checkpoint();
    const steps = life.disk.steps.slice(from);
    const signed = steps.indexOf(`rename ${LOG_DIR}/checkpoint`);
    const after = steps.slice(signed + 1).filter((step) => !step.startsWith("remove"));
    expect(signed).toBeGreaterThan(0);
    expect(after).toEqual([`syncFolder ${LOG_DIR}`]);
    const written = steps
      .filter((step) => step.startsWith("recreate"))
      .map((step) => step.slice(9));
    for (const path of written.filter((one) => !one.endsWith("checkpoint.new"))) {
      const synced = steps.indexOf(`syncData ${path}`);
      const renamed = steps.indexOf(`rename ${path.slice(0, -".new".length)}`);
      const folder = path.slice(0, path.lastIndexOf("/"));
      const named = steps.findIndex((step, i) => i > renamed && step === `syncFolder ${folder}`);
      expect(synced).toBeGreaterThanOrEqual(0);
      expect(renamed).toBeGreaterThan(synced);
      expect(named).toBeGreaterThan(renamed);
      expect(signed).toBeGreaterThan(named);
    }
    const consumed = steps.findIndex(
      (step) => step.startsWith("rename") && step.includes("consumed"),
    );
    expect(consumed).toBeLessThan(steps.indexOf(`recreate ${LOG_DIR}/checkpoint.new`));
  });

  test("a checkpoint that fails is told once and made later; the WAL goes on", () => {
    const world = newWorld();
    const disk = new TwinDisk();
    const life = new Life(world, disk);
    life.checkpoint();
    const before = life.log.signedSize;
    disk.options = {
      onStep: (step, path) => {
        if (step === "recreate") throw new Error(`no space for ${path}`);
      },
    };
    for (let i = 0; i < 3; i++) {
      life.deny(0);
      life.checkpoint();
    }
    expect(life.log.signedSize).toBe(before);
    expect(life.faults).toEqual(["the log's checkpoint could not be made"]);
    expect(life.wals[0]?.canAllow(world.clock.monoNs())).toBe(true);
    disk.options = {};
    life.checkpoint();
    expectSound(world, disk, before + 3);
  });
});

describe("damage", () => {
  function rotated(): { readonly world: World; readonly disk: TwinDisk; readonly run: string } {
    const world = newWorld();
    const life = new Life(world, new TwinDisk(), { fileBytesMax: 4_096 });
    for (let i = 0; i < 40; i++) life.deny(0);
    life.sync.round();
    return { world, disk: life.disk.afterCrash(), run: life.recovery.run };
  }

  test("a file that cannot be read to its end leaves a gap and is kept", () => {
    const { world, disk, run } = rotated();
    const path = `${WAL_DIR}/${run}-loop0-2.log`;
    disk.spoil(path, (data) => {
      data[data.length - 700] = (data.at(-700) as number) ^ 1;
      return data;
    });
    const life = new Life(world, disk);
    expect(life.recovery.damagedBytes).toBeGreaterThan(600);
    life.stop();
    expectSound(world, disk, life.log.signedSize);
    const records = recordsIn(disk, life.log.signedSize);
    const gap = records.find(({ k }) => k === "gap");
    expect(gap).toMatchObject({ rc: "wal_damaged", exact: false });
    const lost = 40 - records.filter(({ k }) => k === "decision").length;
    expect(lost).toBeGreaterThan(0);
    expect((gap as { n: number }).n).toBeGreaterThanOrEqual(lost);
    expect(disk.paths()).toContain(`${path}.damaged`);
  });

  test("a file that is shorter than what was written to it leaves a gap", () => {
    const world = newWorld();
    const life = new Life(world, new TwinDisk());
    for (let i = 0; i < 4; i++) life.deny(0);
    const path = `${WAL_DIR}/${life.recovery.run}-loop0-1.log`;
    life.disk.spoil(path, (data) => data.subarray(0, data.length / 2));
    life.deny(1);
    life.checkpoint();
    expectSound(world, life.disk, life.log.signedSize);
    const kinds = kindsIn(life.disk, life.log.signedSize);
    expect(kinds.filter((k) => k === "decision")).toHaveLength(3);
    expect(kinds).toContain("gap");
    expect(life.faults).toEqual([expect.stringMatching(/cannot be read/)]);
  });

  test("a file that is missing in the middle leaves a gap", () => {
    const { world, disk, run } = rotated();
    disk.remove(`${WAL_DIR}/${run}-loop0-2.log`);
    const life = new Life(world, disk);
    life.stop();
    expectSound(world, disk, life.log.signedSize);
    expect(kindsIn(disk, life.log.signedSize)).toContain("gap");
  });

  test("a frame that is no record of this version leaves a gap and does not block the rest", () => {
    const { world, disk, run } = rotated();
    const path = `${WAL_DIR}/${run}-control-1.log`;
    const strange = encodeFrame(Buffer.from('{"k":"tomorrow","t":1790000000000,"v":2}'));
    disk.spoil(path, (data) => Buffer.concat([data, strange]));
    const life = new Life(world, disk);
    life.stop();
    const records = recordsIn(disk, life.log.signedSize);
    expect(records.filter(({ k }) => k === "decision")).toHaveLength(40);
    expect(records.find(({ k }) => k === "gap")).toMatchObject({ rc: "leaf_malformed" });
  });

  const spoilt: readonly (readonly [string, string, RegExp])[] = [
    ["a tile", "tile/0/000.p/4", /do not have the signed root/],
    ["the entries", "tile/entries/000.p/4", /bundle_|not what was signed/],
    ["the checkpoint", "checkpoint", /cannot be continued/],
    ["the consumed positions", "consumed/4", /consumed_malformed/],
  ];
  test.each(spoilt)("does not go on from %s that is not what was signed", (_, path, message) => {
    const world = newWorld();
    const first = new Life(world, new TwinDisk());
    first.deny(0);
    first.deny(1);
    first.stop();
    const { disk } = first;
    disk.spoil(`${LOG_DIR}/${path}`, (data) => {
      data[40] = (data[40] as number) ^ 1;
      return data;
    });
    expect(() => new Life(world, disk.afterCrash())).toThrow(message);
  });

  test("does not go on from a position that is another number than what was written", () => {
    const world = newWorld();
    const first = new Life(world, new TwinDisk());
    first.deny(0);
    first.stop();
    const { disk } = first;
    disk.spoil(`${LOG_DIR}/consumed/${first.log.signedSize}`, (data) => {
      const changed = data.toString().replace(/"bytes":(\d)/, (_, digit) => `"bytes":${9 - digit}`);
      return Buffer.from(changed);
    });
    expect(() => new Life(world, disk.afterCrash())).toThrow(/consumed_malformed/);
  });

  test("does not go on when it cannot tell what the checkpoint holds", () => {
    const world = newWorld();
    const first = new Life(world, new TwinDisk());
    first.deny(0);
    first.stop();
    first.disk.remove(`${LOG_DIR}/consumed/${first.log.signedSize}`);
    expect(() => new Life(world, first.disk.afterCrash())).toThrow(/not known which records/);
  });

  test("does not go on with another key", () => {
    const world = newWorld();
    const first = new Life(world, new TwinDisk());
    first.stop();
    world.keys.remove("log-e1");
    expect(() => new Life(world, first.disk.afterCrash())).toThrow(/log_signature_missing/);
  });

  test("goes on when somebody emptied the WAL folder", () => {
    const world = newWorld();
    const first = new Life(world, new TwinDisk());
    first.deny(0);
    first.stop();
    const disk = first.disk.afterCrash();
    for (const path of disk.paths()) if (path.startsWith(WAL_DIR)) disk.remove(path);
    world.clock.advance(60_000);
    const second = new Life(world, disk);
    second.deny(0);
    second.stop();
    expectSound(world, disk, second.log.signedSize);
    expect(second.recovery.run > first.recovery.run).toBe(true);
  });
});

test("a record of the control thread stands in the log as it was written", () => {
  const world = newWorld();
  const life = new Life(world, new TwinDisk());
  const t = world.clock.nowMs();
  const record = { v: 1, k: "policy", t, node: "node-7", pol: "v2", prev: "v1" } as const;
  life.append(2, record satisfies AuditRecord);
  life.checkpoint();
  expect(recordsIn(life.disk, 3)[2]).toEqual({ ...record, ep: 1, seq: 2 });
});
