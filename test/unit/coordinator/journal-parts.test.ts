import { expect, test } from "vitest";
import { fitsLink, JOURNAL_LIMITS, partsOf } from "../../../coordinator/journal-parts.ts";
import { entryOf } from "../../../coordinator/journal-record.ts";

const HALF_MIB = 512 * 1024;

test("a ledger that may still be lent from fits into a snapshot, and so does a fifth more", () => {
  const entries = (bytes: number) => {
    const value = new Uint8Array(1_000);
    const key = (no: number) => `ledger/lease/${String(no).padStart(10, "0")}`;
    return Array.from({ length: Math.ceil(bytes / (1_000 + key(0).length)) }, (_, no) =>
      entryOf({ key: key(no), value }),
    );
  };
  const { journalBytesMax } = JOURNAL_LIMITS;
  expect(partsOf(entries(journalBytesMax)).length).toBeLessThan(325);
  expect(partsOf(entries(journalBytesMax * 1.2)).length).toBeLessThan(400);
  expect(() => partsOf(entries(journalBytesMax * 1.3))).toThrow("too large");
});

/** A change of so many bytes, its key of four included. */
const changeOf = (bytes: number) => ({ key: "used", value: new Uint8Array(bytes - 4) });

test("half a MiB of changes is one link, and a byte more is none", () => {
  expect(fitsLink([changeOf(HALF_MIB)])).toBe(true);
  expect(fitsLink([changeOf(HALF_MIB + 1)])).toBe(false);
  expect(fitsLink([changeOf(HALF_MIB / 2), changeOf(HALF_MIB / 2)])).toBe(true);
});

test("of a key that is removed the key counts", () => {
  const removed = { key: "gone", value: undefined };
  expect(fitsLink([changeOf(HALF_MIB - 4), removed])).toBe(true);
  expect(fitsLink([changeOf(HALF_MIB - 3), removed])).toBe(false);
});
