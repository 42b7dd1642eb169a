import { expect, test } from "vitest";
import { fitsLink, JOURNAL_LIMITS, partsOf } from "../../../coordinator/journal-parts.ts";
import { entryOf } from "../../../coordinator/journal-record.ts";

const HALF_MIB = 512 * 1024;

/** One value for all: what counts is how much there is of it. */
const VALUE = new Uint8Array(1_000);

function ledgerOf(bytes: number) {
  const key = (no: number) => `ledger/lease/${String(no).padStart(10, "0")}`;
  const count = Math.ceil(bytes / (VALUE.length + key(0).length));
  return Array.from({ length: count }, (_, no) => entryOf({ key: key(no), value: VALUE }));
}

const { journalBytesMax } = JOURNAL_LIMITS;

test("a ledger that may still be lent from fits into a snapshot, and so does a fifth more", () => {
  expect(partsOf(ledgerOf(journalBytesMax)).length).toBeLessThan(325);
  expect(partsOf(ledgerOf(journalBytesMax * 1.2)).length).toBeLessThan(400);
});

test("J9: one that has grown beyond that can be taken over all the same, and nothing of it is left out", () => {
  const entries = ledgerOf(journalBytesMax * 2);
  const parts = partsOf(entries);
  expect(parts.length).toBeGreaterThan(400);
  expect(parts.flat().length).toBe(entries.length);
});

test("J9: one that the stream does not hold is told so", () => {
  expect(() => partsOf(ledgerOf(journalBytesMax * 2.6))).toThrow("too large");
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
