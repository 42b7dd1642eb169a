import { describe, expect, test } from "vitest";
import { collectTexts } from "../../../../../node/dataplane/dialects/collect-texts.ts";
import type { JsonValue } from "../../../../../node/dataplane/dialects/dialect.ts";
import { compileRules } from "../../../../../node/dataplane/scan/compile-rules.ts";
import { DETECTORS } from "../../../../../node/dataplane/scan/detectors.ts";
import { scanBytes } from "../../../../../node/dataplane/scan/scan-text.ts";

const CARD = 4_111_111_111_111_111;

describe("the numbers of a value", () => {
  test.each<[string, JsonValue]>([
    ["one", CARD],
    ["among others", [1, 0.25, CARD, 7]],
    ["with something behind the point", CARD + 0.5],
  ])("are scanned: a card's, %s", (_how, value) => {
    expect(hits(value)).toEqual(["payment-card"]);
  });

  test.each<[string, JsonValue]>([
    ["the bytes of tokens", [{ bytes: [41, 11, 11, 11] }, { bytes: [11, 11, 11, 11] }]],
    ["digits one by one", [...String(CARD)].map(Number)],
    ["a fraction and what follows it", [0.411_111_111_111, 1111]],
    ["a probability", { logprob: -0.411_111_111_111_111_1 }],
  ])("make no card's that nobody said: %s", (_what, value) => {
    expect(hits(value)).toEqual([]);
  });

  test("are told as they are, but for the noise of a long fraction", () => {
    const texts: string[] = [];
    collectTexts({ a: [1.5, -0.25, 1e300], b: 0.123_456_789_012_345_6, c: 1.5e-7 }, texts);
    expect(texts).toEqual(["a", "b", "c", "1.5, -0.25, 1e+300, 0.123456789012, 1.5"]);
  });
});

function hits(value: JsonValue): readonly string[] {
  const texts: string[] = [];
  collectTexts(value, texts);
  const compiled = compileRules(DETECTORS, { purpose: "body" });
  if (!compiled.ok) throw new Error("the detectors are rules");
  return texts.flatMap((text) =>
    scanBytes(compiled.set, Buffer.from(text)).hits.map(({ id }) => id),
  );
}
