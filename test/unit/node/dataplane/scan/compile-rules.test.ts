import { describe, expect, test } from "vitest";
import {
  compileRules,
  compileRulesInSlices,
  type ScanRule,
} from "../../../../../node/dataplane/scan/compile-rules.ts";
import { SCAN_LIMITS } from "../../../../../node/dataplane/scan/scan-limits.ts";
import { bytesOf, hitsOf, scanPieces, setOf } from "./scan-fixture.ts";

function codesOf(rules: readonly ScanRule[], purpose: "stream" | "body" = "stream") {
  const compiled = compileRules(rules, { purpose });
  return compiled.ok ? [] : compiled.errors.map(({ ruleId, code }) => `${ruleId}: ${code}`);
}

const always = () => true;

describe("compileRules", () => {
  test.each([
    ["abc", 3, 3],
    ["a{2,5}b?", 2, 6],
    ["[a€]", 1, 3],
    [".{2}", 2, 8],
    ["(?:ab|cde)+", 2, Number.POSITIVE_INFINITY],
    ["\\bab$", 2, 2],
    ["a(?:){0,}", 1, 1],
    ["ab{0}", 1, 1],
    ["a(?:b*){0}", 1, 1],
  ])("%s matches from %i to %d bytes", (pattern, minMatchBytes, maxMatchBytes) => {
    expect(setOf([pattern]).rules[0]).toMatchObject({ minMatchBytes, maxMatchBytes });
  });

  test("says of every refused rule why, and where in its pattern", () => {
    const compiled = compileRules(
      [
        { id: "good", pattern: "a" },
        { id: "loose", pattern: "b*" },
        { id: "broken", pattern: "ab(" },
        { id: "good", pattern: "c" },
      ],
      { purpose: "body" },
    );
    expect(compiled).toMatchObject({
      ok: false,
      errors: [
        { ruleId: "loose", code: "empty_match" },
        { ruleId: "broken", code: "malformed_pattern", position: 2 },
        { ruleId: "good", code: "duplicate_rule" },
      ],
    });
  });

  test("a stream's rule is bounded; a body's need not be", () => {
    const fits = { id: "fits", pattern: "a(?:[a-z]{819}){5}" };
    expect(codesOf([fits])).toEqual([]);
    expect(codesOf([{ id: "open", pattern: "ab+" }])).toEqual(["open: unbounded_match"]);
    expect(codesOf([{ id: "open", pattern: "ab+" }], "body")).toEqual([]);
    expect(codesOf([{ id: "long", pattern: "ab(?:[a-z]{819}){5}" }])).toEqual([
      "long: unbounded_match",
    ]);
  });

  test("the longest holding rule bounds a stream's hold-back", () => {
    const set = setOf(["abc", { pattern: "d{40}", hold: false }, "e{2,20}"], { purpose: "stream" });
    expect(set.holdBytesMax).toBe(20);
    expect(set.reachBytesMax).toBe(40);
  });

  test("cutAtLiteral stands for an unbounded rule in a stream, and only there", () => {
    const pattern = "-----BEGIN (?:RSA )?PRIVATE KEY-----(?s:.)+?-----END";
    const rule = { pattern, cutAtLiteral: "-----BEGIN " };
    const stream = setOf([rule], { purpose: "stream" });
    expect(stream.rules[0]).toMatchObject({ cut: true, minMatchBytes: 11, maxMatchBytes: 11 });
    expect(hitsOf(stream, "x-----BEGIN CERT")).toMatchObject([{ start: 1, end: 12 }]);
    const body = setOf([rule], { purpose: "body" });
    expect(body.rules[0]).toMatchObject({ cut: false, maxMatchBytes: Number.POSITIVE_INFINITY });
    expect(hitsOf(body, "x-----BEGIN CERT")).toEqual([]);
  });

  test("cutAtLiteral leaves a rule alone that a stream can bear whole", () => {
    const set = setOf([{ pattern: "abc[0-9]{4}", cutAtLiteral: "ab" }], { purpose: "stream" });
    expect(set.rules[0]?.cut).toBe(false);
    expect(hitsOf(set, "abab")).toEqual([]);
  });

  test.each([
    ["key-[a-z]+", "key-"],
    ["(?:ke)(?:y){1}-[a-z]+", "key-"],
    ["\\bkey[a-z]+", "key"],
    ["ab{2,}c", "abb"],
    ["(?s)€.+", "€"],
  ])("%s begins with %s", (pattern, cutAtLiteral) => {
    expect(codesOf([{ id: "r", pattern, cutAtLiteral }])).toEqual([]);
  });

  test.each([
    ["key-[a-z]+", "kex"],
    ["key-[a-z]+", ""],
    ["k?ey[a-z]+", "key"],
    ["(?:key|other).+", "key"],
    ["(?i)key.+", "key"],
    ["ab{2,}c", "abbc"],
    ["a(?:bc*)d.+", "abd"],
    ["(?:a[bc])*d.+", "a"],
  ])("%s need not begin with %j", (pattern, cutAtLiteral) => {
    expect(codesOf([{ id: "r", pattern, cutAtLiteral }])).toEqual(["r: cut_not_a_prefix"]);
  });

  test("what is validated is short, in streams and bodies", () => {
    const fits = { id: "r", pattern: "a{256}", validate: always };
    const long = { id: "r", pattern: "a{257}", validate: always };
    const open = { id: "r", pattern: "ab+", cutAtLiteral: "a", validate: always };
    expect(codesOf([fits])).toEqual([]);
    for (const rule of [long, open]) {
      expect(codesOf([rule], "stream")).toEqual(["r: validated_match_too_long"]);
      expect(codesOf([rule], "body")).toEqual(["r: validated_match_too_long"]);
    }
  });

  test.each([
    ["(?:(?:a{1000}){1000}){1000}"],
    ["(?:(?:(?:){1000}){1000}){1000}a"],
    ["(?:a?){1000}(?:a?){1000}b"],
    ["(?:(?:(?:a?){10}){10}){10}b"],
    [".{1000}.{1000}.{1000}"],
  ])("refuses %s as too large before it costs anything", (pattern) => {
    expect(codesOf([{ id: "r", pattern }], "body")).toEqual(["r: pattern_too_large"]);
  });

  test("leaves room for a thousand of any characters", () => {
    expect(codesOf([{ id: "r", pattern: "a.{0,1000}b" }], "body")).toEqual([]);
    expect(codesOf([{ id: "r", pattern: "[^<]{1000}" }], "stream")).toEqual([]);
  });

  test("bounds the set as a whole", () => {
    const many = Array.from({ length: SCAN_LIMITS.rulesMax + 1 }, (_, index) => ({
      id: `r${index}`,
      pattern: "a",
    }));
    expect(codesOf(many)).toEqual([": too_many_rules"]);
    expect(codesOf(many.slice(1))).toEqual([]);
    const large = Array.from({ length: 16 }, (_, index) => ({
      id: `r${index}`,
      pattern: "(?:a?){280}b",
    }));
    expect(codesOf(large.slice(0, 12), "body")).toEqual([]);
    expect(codesOf(large, "body")).toEqual(["r13: set_too_large"]);
  });

  test("compiles one rule per slice, and joins one per slice", () => {
    const rules = ["a", "b", "c"].map((pattern) => ({ id: pattern, pattern }));
    const slices = compileRulesInSlices(rules, { purpose: "body" });
    const done = [...rules, ...rules].map(() => slices.next().done);
    expect(done).toEqual([false, false, false, false, false, false]);
    expect(slices.next()).toMatchObject({ done: true, value: { ok: true } });
  });

  test("a set without rules finds nothing and holds nothing", () => {
    const seen = scanPieces(setOf([], { purpose: "stream" }), [bytesOf("any"), bytesOf("thing")]);
    expect(seen.map(({ released, hits }) => [released, hits.length])).toEqual([
      [3, 0],
      [8, 0],
      [8, 0],
    ]);
  });
});
