import { expect, test } from "vitest";
import { JOURNAL_LIMITS, partsOf } from "../../../coordinator/journal-parts.ts";
import { entryOf } from "../../../coordinator/journal-record.ts";

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
