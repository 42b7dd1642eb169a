import { describe, expect, test } from "vitest";
import { encodeFrame } from "../../../../audit/frame.ts";
import { encodeLeaf } from "../../../../audit/leaf.ts";
import type { AuditRecord, DecisionRecord, SettleRecord } from "../../../../audit/record.ts";
import { usedInWal, usedSince } from "../../../../node/audit/used-since.ts";
import { ALLOW, RECORDS } from "../../audit/sample-records.ts";
import { TwinDisk } from "./twin-disk.ts";

const DIR = "/home/wal";
const RUN = "00000007.0a1b2c3d";
const A = "agent/research/a";
const AMOUNTS = { usd_u: 100, tok: 50, calls: 1, over_u: 10 };
const START = { loop0: { fileNo: 1, bytes: 0 } };

const SETTLE = RECORDS.find((one): one is SettleRecord => one.k === "settle") as SettleRecord;

const ridOf = (no: number) => `01a202b2-5480-7b8c-a575-${String(no).padStart(12, "0")}`;

function allow(no: number, acct = A): DecisionRecord {
  return { ...ALLOW, rid: ridOf(no), dec: "allow", hold: { ...AMOUNTS, acct, lease: "table" } };
}

function settle(no: number, settled = { usd_u: 7, tok: 60, calls: 1, over_u: 0 }): SettleRecord {
  return { ...SETTLE, rid: ridOf(no), settled };
}

/** Used since the record of that number, as if each took one byte. */
function used(records: readonly AuditRecord[], from: number, account = A) {
  const logged = records.map((record, bytes) => ({
    writer: "loop0",
    at: { fileNo: 1, bytes },
    record,
  }));
  const ends = { loop0: { fileNo: 1, bytes: from } };
  return usedSince(logged, new Map([[account, ends]])).get(account);
}

const cost = (usd: number, tokens: number, calls: number) => ({
  usdMicros: BigInt(usd),
  tokens: BigInt(tokens),
  calls: BigInt(calls),
});

describe("what was used since a mark", () => {
  test("U2: is the outcome where there is one, and the whole hold where there is none", () => {
    expect(used([allow(1), settle(1)], 0)).toEqual(cost(7, 60, 1));
    expect(used([allow(1), settle(1), allow(2)], 0)).toEqual(cost(107, 110, 2));
    expect(used([allow(1), { ...allow(2), dec: "deny" }], 0)).toEqual(cost(100, 50, 1));
  });

  test("U2: a hold from before the mark counts with nothing but what went beyond it", () => {
    expect(used([allow(1), settle(1)], 1)).toEqual(cost(0, 10, 0));
    expect(used([allow(1), settle(1)], 2)).toEqual(cost(0, 0, 0));
    expect(used([allow(1)], 1)).toEqual(cost(0, 0, 0));
  });

  test("an outcome whose hold is not there counts whole, since nobody knows whose it is", () => {
    expect(used([settle(1)], 0)).toEqual(cost(7, 60, 1));
  });

  test("counts each account's own requests, and of the overrun account its share of each", () => {
    const records = [allow(1), settle(1, { ...AMOUNTS, over_u: 3 }), allow(2, "contract/c1")];
    expect(used(records, 0)).toEqual(cost(100, 50, 1));
    expect(used(records, 0, "contract/c1")).toEqual(cost(100, 50, 1));
    expect(used(records, 0, "overrun")).toEqual(cost(13, 0, 0));
  });
});

describe("the files of a run", () => {
  const files = (names: Readonly<Record<string, readonly AuditRecord[]>>): TwinDisk => {
    const disk = new TwinDisk();
    disk.makeFolder(DIR);
    for (const [name, records] of Object.entries(names)) {
      const fd = disk.create(`${DIR}/${name}.log`);
      disk.write(fd, Buffer.concat(records.map((one) => encodeFrame(encodeLeaf(one)))), 0);
      disk.close(fd);
    }
    return disk;
  };
  const read = (disk: TwinDisk, ends: Record<string, { fileNo: number; bytes: number }>) =>
    usedInWal(disk, DIR, { run: RUN, marks: new Map([[A, ends]]) }).get(A);

  test("are read from the mark on, to the byte", () => {
    const disk = files({
      [`${RUN}-loop0-1`]: [allow(1), allow(2)],
      [`${RUN}-loop0-2`]: [allow(3)],
    });
    const first = encodeFrame(encodeLeaf(allow(1))).length;
    expect(read(disk, START)).toEqual(cost(300, 150, 3));
    expect(read(disk, { loop0: { fileNo: 1, bytes: first } })).toEqual(cost(200, 100, 2));
    expect(read(disk, { loop0: { fileNo: 2, bytes: 0 } })).toEqual(cost(100, 50, 1));
  });

  test("U3: prove nothing where one of them is gone", () => {
    const disk = files({ [`${RUN}-loop0-2`]: [allow(3)], [`${RUN}-loop1-1`]: [] });
    expect(read(disk, START)).toBeUndefined();
    expect(read(disk, { loop0: { fileNo: 3, bytes: 0 } })).toBeUndefined();
    expect(read(disk, { loop1: { fileNo: 2, bytes: 0 } })).toBeUndefined();
    expect(read(disk, { loop2: { fileNo: 1, bytes: 0 } })).toBeUndefined();
    expect(read(disk, { loop0: { fileNo: 2, bytes: 0 } })).toEqual(cost(100, 50, 1));
  });
});
