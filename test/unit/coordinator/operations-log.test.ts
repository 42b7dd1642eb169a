import { describe, expect, test } from "vitest";
import { decodeRecord } from "../../../audit/leaf.ts";
import { KEY_TYPES, verifierKey } from "../../../audit/signed-note.ts";
import { readBundle } from "../../../audit/tiles.ts";
import { verifyLog } from "../../../audit/verify-log.ts";
import {
  type CallEntry,
  OPERATIONS_KEY,
  OperationsLog,
  operationsFolder,
  operationsOrigin,
} from "../../../coordinator/operations/operations-log.ts";
import { readWhole } from "../../../ports/disk.ts";
import { twinKeys } from "../../../ports/twin-keys.ts";
import { twinRandom } from "../../../ports/twin-random.ts";
import { proofCount } from "../../support/proof.ts";
import { TwinDisk } from "../node/audit/twin-disk.ts";

const T = 1_790_000_000_000;
const name = { mesh: "acme", replica: "c1" };
const keys = twinKeys(twinRandom(1));
const signer = keys.loadOrCreate(OPERATIONS_KEY);
const dir = `${operationsFolder("/home")}/${operationsOrigin(name)}`;

const openOn = (disk: TwinDisk) => new OperationsLog({ disk, home: "/home", name, signer });
const call = (t: number, more: Partial<CallEntry> = {}): CallEntry => ({
  t,
  op: "kill",
  rc: "ok",
  via: "socket",
  scope: "team/pay",
  ...more,
});

function verified(disk: TwinDisk) {
  const logKey = verifierKey(operationsOrigin(name), KEY_TYPES.log, signer.publicKey);
  return verifyLog({ reader: readerOf(disk), logKey });
}

function readerOf(disk: TwinDisk) {
  return { read: (path: string) => readWhole(disk, `${dir}/${path}`) };
}

describe("a coordinator's own log", () => {
  test("O1: verifies after every call, and goes on after a restart", () => {
    const disk = new TwinDisk();
    let log = openOn(disk);
    for (let no = 0; no < 300; no += 7) {
      log.append(Array.from({ length: 7 }, (_, i) => call(T + no + i)));
      if (no % 63 === 0) log = openOn(disk);
      if (no % 70 === 0) expect(verified(disk).findings).toEqual([]);
    }
    const { findings, leaves } = verified(disk);
    expect({ findings, leaves }).toEqual({ findings: [], leaves: 302 });
  });

  test("O1: loses nothing that it has said to be written when the power goes", () => {
    const { count, seed } = proofCount("power losses of the operations log", {
      small: 10,
      full: 400,
    });
    const random = twinRandom(seed);
    const draw = () => (random.bytes(1)[0] as number) / 256;
    for (let round = 0; round < count; round++) {
      let disk = new TwinDisk();
      const written = 1 + Math.floor(draw() * 300);
      const log = openOn(disk);
      log.append(Array.from({ length: written }, (_, i) => call(T + i)));
      log.append([call(T + written)]);
      disk = disk.afterPowerLoss(draw);
      const { findings, leaves } = verified(disk);
      expect({ findings, leaves }).toEqual({ findings: [], leaves: written + 2 });
      openOn(disk).append([call(T + written + 1)]);
      expect(verified(disk).findings).toEqual([]);
    }
  });

  test("says when the clock went back, and is no log with records out of order", () => {
    const disk = new TwinDisk();
    openOn(disk).append([call(T)]);
    openOn(disk).append([call(T - 3_600_000)]);
    const { findings, leaves } = verified(disk);
    expect({ findings, leaves }).toEqual({ findings: [], leaves: 4 });
    const bundle = readBundle(readerOf(disk), { index: 0, width: 4 });
    const kinds = (bundle.ok ? bundle.value : []).map((leaf) => {
      const decoded = decodeRecord(leaf);
      return decoded.ok && decoded.record.k;
    });
    expect(kinds).toEqual(["genesis", "call", "clock", "call"]);
  });

  test("O2: is not gone on with from anything that its key has not signed", () => {
    const disk = new TwinDisk();
    openOn(disk).append([call(T)]);
    const foreign = twinKeys(twinRandom(2)).loadOrCreate(OPERATIONS_KEY);
    const other = new TwinDisk();
    new OperationsLog({ disk: other, home: "/home", name, signer: foreign }).append([call(T)]);
    expect(() => openOn(other)).toThrow("log_signature");
    const changed = readWhole(disk, `${dir}/tile/entries/000.p/2`) as Buffer;
    const fd = disk.open(`${dir}/tile/entries/000.p/2`);
    changed[changed.length - 3] = 0x21;
    disk.write(fd, changed, 0);
    disk.close(fd);
    expect(() => openOn(disk)).toThrow("not what was taken");
    expect(verified(disk).findings).not.toEqual([]);
  });

  test("is taken up again from the disk after a write that failed", () => {
    const disk = new TwinDisk();
    const log = openOn(disk);
    log.append([call(T)]);
    disk.options = {
      onStep: (step) => {
        if (step === "syncData") throw new Error("the disk fails");
      },
    };
    expect(() => log.append([call(T + 1)])).toThrow("the disk fails");
    // What says that the clock went back is as little there as what was to follow it.
    expect(() => log.append([call(T - 3_600_000)])).toThrow("the disk fails");
    disk.options = {};
    log.append([call(T - 3_599_999)]);
    expect(verified(disk).findings).toEqual([]);
  });
});
