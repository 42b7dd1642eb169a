import { describe, expect, test } from "vitest";
import { encodeFrame } from "../../../../audit/frame.ts";
import { encodeLeaf } from "../../../../audit/leaf.ts";
import type { AuditRecord } from "../../../../audit/record.ts";
import { crashProofIn } from "../../../../node/audit/crash-proof.ts";
import { recoverWal } from "../../../../node/audit/recover-wal.ts";
import { twinRandom } from "../../../../ports/twin-random.ts";
import { ALLOW } from "../../audit/sample-records.ts";
import { TwinDisk } from "./twin-disk.ts";

const DIR = "/home/wal";
const RUN = "00000007.0a1b2c3d";
const A = "agent/research/a";
const HELD = { usd_u: 100, tok: 50, calls: 1, over_u: 10 };
const BOOT: AuditRecord = {
  ...{ v: 1, k: "boot", t: ALLOW.t, node: "n", run: RUN, boot: "boot-1" },
  ...{ clean: true, torn: 0, sw: "0.1.0" },
};
const LOOP = `${DIR}/${RUN}-loop0-1.log`;
const CONTROL = `${DIR}/${RUN}-control-1.log`;

/** What a node that crashed in the midst of one request has left, in the files of its log. */
function crashed(): TwinDisk {
  const disk = new TwinDisk();
  disk.makeFolder(DIR);
  const hold = { ...HELD, acct: A, lease: "table" };
  for (const [path, record] of [
    [CONTROL, BOOT],
    [LOOP, { ...ALLOW, dec: "allow", hold }],
  ] as const) {
    const fd = disk.create(path);
    disk.write(fd, encodeFrame(encodeLeaf(record)), 0);
    disk.close(fd);
  }
  return disk;
}

/** The next start, as a node does it: the log is put in order, then asked what it proves. */
function start(disk: TwinDisk, kernelBootId: string | undefined = "boot-1") {
  const faults: string[] = [];
  const asked: string[] = [];
  const recovery = recoverWal({ dir: DIR, random: twinRandom(3), disk, kernelBootId });
  const options = {
    disk,
    moneyMarks: (run: string) => {
      asked.push(run);
      return new Map([[A, { loop0: { fileNo: 1, bytes: 0 } }]]);
    },
    onFault: (message: string) => faults.push(message),
  };
  return { proof: crashProofIn(options, DIR, recovery), faults, asked };
}

describe("what a log proves after a crash", () => {
  test("under the same boot and whole: what requests used at most, of that very run", () => {
    const { proof, asked } = start(crashed());
    expect(asked).toEqual([RUN]);
    expect(proof?.run).toBe(RUN);
    expect(proof?.used.get(A)).toEqual({ usdMicros: 100n, tokens: 50n, calls: 1n });
  });

  test("under another boot of the kernel: nothing, though no byte is missing that one could see", () => {
    expect(start(crashed(), "boot-2").proof).toBeUndefined();
  });

  test("where the system has no id of its boot, or the log has none: nothing", () => {
    const { proof } = start(crashed(), "");
    expect(proof).toBeUndefined();
    const withoutBoot = crashed();
    withoutBoot.spoil(CONTROL, () => Buffer.alloc(0));
    expect(start(withoutBoot).proof).toBeUndefined();
  });

  test.each([LOOP, CONTROL])("with a torn frame at the end of %s: nothing", (path) => {
    const disk = crashed();
    disk.spoil(path, (bytes) => Buffer.concat([bytes, bytes.subarray(0, 9)]));
    expect(start(disk).proof).toBeUndefined();
    // That start has cut it away and, say, died right after: what is left looks whole to the next one.
    expect(start(disk.afterPowerLoss(() => 0)).proof).toBeUndefined();
    expect(start(disk).proof).toBeUndefined();
  });

  test("with a bit flipped in a frame: nothing", () => {
    const disk = crashed();
    disk.spoil(LOOP, (bytes) => {
      const flipped = Buffer.from(bytes);
      flipped[20] = (flipped[20] ?? 0) ^ 1;
      return flipped;
    });
    expect(start(disk).proof).toBeUndefined();
  });

  test("where a file of it is gone: nothing of the accounts that it may be about", () => {
    const disk = crashed();
    disk.remove(LOOP);
    expect(start(disk).proof?.used.get(A)).toBeUndefined();
  });

  test("where it cannot be read: nothing, and that is told", () => {
    const disk = crashed();
    const recovery = recoverWal({ dir: DIR, random: twinRandom(3), disk, kernelBootId: "boot-1" });
    const faults: string[] = [];
    const proof = crashProofIn(
      {
        disk,
        moneyMarks: () => {
          throw new Error("the store is closed");
        },
        onFault: (message) => faults.push(message),
      },
      DIR,
      recovery,
    );
    expect(proof).toBeUndefined();
    expect(faults).toEqual([expect.stringContaining("the store is closed")]);
  });

  test("of no run before: nothing", () => {
    expect(start(new TwinDisk()).proof).toBeUndefined();
  });
});
