import { describe, expect, test } from "vitest";
import { encodeFrame } from "../../../../audit/frame.ts";
import { encodeLeaf } from "../../../../audit/leaf.ts";
import type { AuditRecord } from "../../../../audit/record.ts";
import {
  bootRecord,
  gapRecord,
  recoverWal,
  runEndRecord,
  type WalRecovery,
} from "../../../../node/audit/recover-wal.ts";
import { twinRandom } from "../../../../ports/twin-random.ts";
import { ALLOW, DENY } from "../../audit/sample-records.ts";
import { TwinDisk } from "./twin-disk.ts";

const DIR = "/home/wal";
const RUN = "00000007.0a1b2c3d";
const BOOT = { v: 1, k: "boot", t: DENY.t, node: "n", run: RUN, boot: "boot-1" } as const;
const STARTED: AuditRecord = { ...BOOT, clean: true, torn: 0, sw: "0.1.0" };
const ENDED = runEndRecord({ t: DENY.t + 10, node: "n" });

function recover(disk: TwinDisk, kernelBootId: string | undefined = "boot-1"): WalRecovery {
  return recoverWal({ dir: DIR, random: twinRandom(3), disk, kernelBootId });
}

function diskWith(files: Readonly<Record<string, readonly AuditRecord[]>>): TwinDisk {
  const disk = new TwinDisk();
  disk.makeFolder(DIR);
  for (const [name, records] of Object.entries(files)) {
    const fd = disk.create(`${DIR}/${name}.log`);
    disk.write(fd, framesOf(records), 0);
    disk.close(fd);
  }
  return disk;
}

function framesOf(records: readonly AuditRecord[]): Buffer {
  return Buffer.concat(records.map((record) => encodeFrame(encodeLeaf(record))));
}

function lengthOf(disk: TwinDisk, name: string): number | undefined {
  return disk.contentOf(`${DIR}/${name}.log`)?.length;
}

describe("a start", () => {
  test("without any file is clean and makes the folder, durably", () => {
    const disk = new TwinDisk();
    expect(recover(disk)).toMatchObject({
      lastRun: undefined,
      clean: true,
      tornBytes: 0,
      sameKernelBoot: false,
    });
    expect(disk.afterPowerLoss(() => 0).list(DIR)).toEqual([]);
  });

  test("gets an id that sorts after all runs that are there, and after those of years ago", () => {
    const disk = diskWith({ [`${RUN}-control-1`]: [STARTED, ENDED] });
    expect(recover(disk).run > RUN).toBe(true);
    const clock = { nowMs: () => Date.UTC(2027, 0, 1) };
    const options = { dir: DIR, random: twinRandom(3), kernelBootId: "boot-1" };
    const early = recoverWal({ ...options, disk: new TwinDisk(), clock });
    const nowMs = (): number => clock.nowMs() + 60_000;
    const late = recoverWal({ ...options, disk: new TwinDisk(), clock: { nowMs } });
    expect(late.run > early.run).toBe(true);
  });

  test("leaves files of other names alone", () => {
    const disk = diskWith({ "notes-from-an-operator": [DENY], [`${RUN}-control-1`]: [STARTED] });
    disk.spoil(`${DIR}/notes-from-an-operator.log`, () => Buffer.from("x"));
    expect(recover(disk).tornBytes).toBe(0);
    expect(lengthOf(disk, "notes-from-an-operator")).toBe(1);
  });
});

describe("the last run", () => {
  test("was clean when its control thread said that it ended", () => {
    const disk = diskWith({
      [`${RUN}-control-1`]: [STARTED, ENDED],
      [`${RUN}-loop0-1`]: [ALLOW, DENY],
    });
    expect(recover(disk)).toMatchObject({ lastRun: RUN, clean: true, sameKernelBoot: true });
  });

  test.each([
    ["did not end", { [`${RUN}-control-1`]: [STARTED] }],
    [
      "ended, but another thread said so",
      { [`${RUN}-control-1`]: [STARTED], [`${RUN}-loop0-1`]: [ENDED] },
    ],
    [
      "ended in an earlier run only",
      { "00000006.0a1b2c3d-control-1": [STARTED, ENDED], [`${RUN}-control-1`]: [STARTED] },
    ],
    ["said something after its end", { [`${RUN}-control-1`]: [STARTED, ENDED, DENY] }],
    ["has no control file", { [`${RUN}-loop0-1`]: [DENY] }],
  ])("was not clean when it %s", (_, files) => {
    expect(recover(diskWith(files)).clean).toBe(false);
  });

  test("ended in a second file of its control thread", () => {
    const disk = diskWith({
      [`${RUN}-control-1`]: [STARTED],
      [`${RUN}-control-2`]: [DENY, ENDED],
    });
    expect(recover(disk)).toMatchObject({ clean: true, sameKernelBoot: true });
  });

  test("was under another boot of the kernel", () => {
    const disk = diskWith({ [`${RUN}-control-1`]: [STARTED, ENDED] });
    expect(recover(disk, "boot-2")).toMatchObject({ clean: true, sameKernelBoot: false });
    const nowhere = recoverWal({ dir: DIR, random: twinRandom(1), disk, kernelBootId: undefined });
    expect(nowhere.sameKernelBoot).toBe(false);
  });
});

describe("a torn tail", () => {
  test("is cut, wherever in the frame the crash was", () => {
    const whole = framesOf([ALLOW]);
    const torn = framesOf([DENY]);
    for (let taken = 1; taken < torn.length; taken++) {
      const disk = diskWith({ [`${RUN}-control-1`]: [STARTED, ENDED], [`${RUN}-loop0-1`]: [] });
      disk.spoil(`${DIR}/${RUN}-loop0-1.log`, () =>
        Buffer.concat([whole, torn.subarray(0, taken)]),
      );
      expect(recover(disk)).toMatchObject({ clean: false, tornBytes: taken, damagedBytes: 0 });
      expect(lengthOf(disk, `${RUN}-loop0-1`)).toBe(whole.length);
      expect(recover(disk)).toMatchObject({ clean: true, tornBytes: 0 });
    }
  });

  test("is no gap under the same boot: its append never returned", () => {
    const disk = diskWith({ [`${RUN}-control-1`]: [STARTED], [`${RUN}-loop0-1`]: [ALLOW] });
    disk.spoil(`${DIR}/${RUN}-loop0-1.log`, (data) => data.subarray(0, -1));
    const now = { t: DENY.t + 99, node: "n" };
    expect(gapRecord(recover(disk), now)).toBeUndefined();
    disk.spoil(`${DIR}/${RUN}-control-1.log`, (data) => data.subarray(0, -1));
    const afterPowerLoss = recover(disk, "boot-2");
    expect(gapRecord(afterPowerLoss, now)).toMatchObject({ rc: "power_loss", exact: false });
  });

  test("is a gap where it was whole once: a bit has flipped, and takes what lies behind it with it", () => {
    const now = { t: DENY.t + 99, node: "n" };
    const frames = framesOf([ALLOW, DENY, ALLOW]);
    const second = framesOf([ALLOW]).length;
    for (const flipped of [second + 2, second + 3, second + 5, second + 40, second + 90]) {
      const disk = diskWith({ [`${RUN}-control-1`]: [STARTED], [`${RUN}-loop0-1`]: [] });
      const path = `${DIR}/${RUN}-loop0-1.log`;
      const spoilt = Buffer.from(frames);
      spoilt[flipped] = (spoilt[flipped] as number) ^ 4;
      disk.spoil(path, () => spoilt);
      const recovery = recover(disk);
      expect(recovery).toMatchObject({ sameKernelBoot: true, tornBytes: frames.length - second });
      expect(gapRecord(recovery, now)).toMatchObject({ rc: "wal_damaged", exact: false });
      expect(disk.contentOf(`${path}.cut`)).toEqual(spoilt.subarray(second));
    }
  });

  test("is a gap where nothing lies behind the frame whose head was changed, whichever bit it was", () => {
    const frames = framesOf([ALLOW, DENY]);
    const last = framesOf([ALLOW]).length;
    for (let bit = 0; bit < 64; bit++) {
      const disk = diskWith({ [`${RUN}-control-1`]: [STARTED], [`${RUN}-loop0-1`]: [] });
      const spoilt = Buffer.from(frames);
      const at = last + (bit >> 3);
      spoilt[at] = (spoilt[at] as number) ^ (1 << (bit & 7));
      disk.spoil(`${DIR}/${RUN}-loop0-1.log`, () => spoilt);
      const gap = gapRecord(recover(disk), { t: DENY.t + 99, node: "n" });
      expect(gap).toMatchObject({ rc: "wal_damaged" });
    }
  });

  test("that is too long for one frame is kept beside the file, and is a gap", () => {
    const disk = diskWith({ [`${RUN}-control-1`]: [STARTED], [`${RUN}-loop0-1`]: [ALLOW] });
    const path = `${DIR}/${RUN}-loop0-1.log`;
    const behind = Buffer.concat([Buffer.alloc(20), framesOf(Array(60).fill(ALLOW))]);
    const whole = lengthOf(disk, `${RUN}-loop0-1`);
    disk.spoil(path, (data) => Buffer.concat([data, behind]));
    const recovery = recover(disk);
    expect(recovery).toMatchObject({ tornBytes: behind.length });
    expect(lengthOf(disk, `${RUN}-loop0-1`)).toBe(whole);
    expect(disk.contentOf(`${path}.cut`)).toEqual(behind);
    const gap = gapRecord(recovery, { t: DENY.t + 99, node: "n" });
    expect(gap).toMatchObject({ rc: "wal_damaged", exact: false, t0: DENY.t, t1: DENY.t + 99 });
    expect(gap?.n).toBeGreaterThanOrEqual(60);
    expect(() => encodeLeaf(gap as AuditRecord)).not.toThrow();
  });

  test("in a file that is followed by another is damage, and stays", () => {
    const disk = diskWith({
      [`${RUN}-control-1`]: [STARTED, ENDED],
      [`${RUN}-loop0-1`]: [ALLOW, DENY],
      [`${RUN}-loop0-2`]: [DENY],
    });
    disk.spoil(`${DIR}/${RUN}-loop0-1.log`, (data) => data.subarray(0, -3));
    const length = lengthOf(disk, `${RUN}-loop0-1`);
    const lost = framesOf([DENY]).length - 3;
    expect(recover(disk)).toMatchObject({ clean: false, tornBytes: 0, damagedBytes: lost });
    expect(lengthOf(disk, `${RUN}-loop0-1`)).toBe(length);
  });
});

test("the boot record carries what was found", () => {
  const disk = diskWith({ [`${RUN}-control-1`]: [STARTED, DENY] });
  disk.spoil(`${DIR}/${RUN}-control-1.log`, (data) => data.subarray(0, -1));
  const recovery = recover(disk);
  const boot = bootRecord(recovery, { t: DENY.t + 5, node: "node-7", version: "0.1.0" });
  expect(boot).toMatchObject({ clean: false, torn: framesOf([DENY]).length - 1, boot: "boot-1" });
  expect(boot.run).toBe(recovery.run);
  expect(() => encodeLeaf(boot)).not.toThrow();
});
