import { describe, expect, test } from "vitest";
import { SCAN_LIMITS } from "../../../../../node/dataplane/scan/scan-limits.ts";
import { scanBytes } from "../../../../../node/dataplane/scan/scan-text.ts";
import { bytesOf, setOf } from "./scan-fixture.ts";

describe("scanBytes", () => {
  test("finds what lies across two steps, and what only the end settles", () => {
    const text = bytesOf("..abcd..abcd");
    const set = setOf(["abcd\\b"]);
    for (let stepBytes = 1; stepBytes <= text.length + 1; stepBytes++) {
      const result = scanBytes(set, text, { stepBytes });
      expect(result).toMatchObject({ complete: true, scannedBytes: 12 });
      expect(result.hits.map(({ start, end }) => [start, end])).toEqual([
        [2, 6],
        [8, 12],
      ]);
    }
  });

  test("asks for the deadline between steps and says how far it came", () => {
    let asked = 0;
    const deadline = () => {
      asked += 1;
      return asked === 3;
    };
    const text = bytesOf("ab".repeat(50));
    const result = scanBytes(setOf(["ab"]), text, { stepBytes: 10, deadline });
    expect(result).toMatchObject({ complete: false, scannedBytes: 30 });
    expect(asked).toBe(3);
    expect(result.hits.every(({ end }) => end <= 30)).toBe(true);
    expect(result.hits).toHaveLength(15);
  });

  test("a text of one step is scanned whole, whatever the deadline says", () => {
    const text = new Uint8Array(SCAN_LIMITS.bodyStepBytes);
    const { complete } = scanBytes(setOf(["ab"]), text, { deadline: () => true });
    expect(complete).toBe(true);
    const longer = new Uint8Array(SCAN_LIMITS.bodyStepBytes + 1);
    expect(scanBytes(setOf(["ab"]), longer, { deadline: () => true })).toMatchObject({
      complete: false,
      scannedBytes: SCAN_LIMITS.bodyStepBytes,
    });
  });

  test("an incomplete scan does not pretend that the text ended where it stopped", () => {
    const set = setOf(["ab$"]);
    const result = scanBytes(set, bytesOf("xxab.."), { stepBytes: 4, deadline: () => true });
    expect(result).toMatchObject({ hits: [], complete: false });
  });

  test("an empty text is complete and clean", () => {
    expect(scanBytes(setOf(["a"]), bytesOf(""))).toMatchObject({
      hits: [],
      scannedBytes: 0,
      complete: true,
    });
  });

  test("refuses a step of no bytes", () => {
    expect(() => scanBytes(setOf(["a"]), bytesOf("a"), { stepBytes: 0 })).toThrow(
      "at least a byte",
    );
  });
});
