import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { encodeLeaf, sealLeaf } from "../../../audit/leaf.ts";
import { placeLeaf } from "../../../audit/place-leaf.ts";
import { ALLOW, RECORDS } from "./sample-records.ts";

describe("placing without reading", () => {
  test.each(RECORDS.map((record) => [record.k, record] as const))(
    "gives the bytes that sealing gives for a %s",
    (_kind, record) => {
      const leaf = encodeLeaf(record);
      for (const place of [
        { ep: 1, seq: 0 },
        { ep: 12, seq: 2 ** 40 },
      ]) {
        expect(placeLeaf(leaf, place)).toEqual(sealLeaf(leaf, place));
      }
    },
  );

  test("gives the same whatever texts from outside hold", () => {
    const text = fc.string({
      unit: fc.constantFrom(...' "\\{}[],:aseqpt'.split("")),
      minLength: 1,
      maxLength: 40,
    });
    fc.assert(
      fc.property(text, (cid) => {
        const leaf = encodeLeaf({ ...ALLOW, cid });
        expect(placeLeaf(leaf, { ep: 3, seq: 7 })).toEqual(sealLeaf(leaf, { ep: 3, seq: 7 }));
      }),
    );
  });

  test("is refused for a leaf with a place, and for what is no leaf", () => {
    const place = { ep: 1, seq: 1 };
    expect(() => placeLeaf(sealLeaf(encodeLeaf(ALLOW), place), place)).toThrow(/already/);
    for (const text of ["", "{}", "[]", '{"a":1}', '{"a":"', "x"]) {
      expect(() => placeLeaf(Buffer.from(text), place)).toThrow(/not a leaf/);
    }
  });
});
