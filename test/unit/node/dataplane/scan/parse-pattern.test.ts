import fc from "fast-check";
import { RE2JS } from "re2js";
import { describe, expect, test } from "vitest";
import { codePointSet } from "../../../../../node/dataplane/scan/code-point-set.ts";
import { parsePattern } from "../../../../../node/dataplane/scan/parse-pattern.ts";
import { SCAN_LIMITS } from "../../../../../node/dataplane/scan/scan-limits.ts";
import { utf8Sequences } from "../../../../../node/dataplane/scan/utf8-ranges.ts";
import { bytesOf, hitsOf, setOf } from "./scan-fixture.ts";

function errorOf(pattern: string) {
  const parsed = parsePattern(pattern);
  return parsed.ok ? undefined : { code: parsed.error.code, position: parsed.error.position };
}

function matches(pattern: string, text: string): boolean {
  return hitsOf(setOf([pattern]), text).length > 0;
}

describe("parsePattern", () => {
  test.each([
    ["(a)\\1", "unsupported_syntax", 3],
    ["a(?=b)", "unsupported_syntax", 1],
    ["a(?!b)", "unsupported_syntax", 1],
    ["(?<=a)b", "unsupported_syntax", 0],
    ["(?<!a)b", "unsupported_syntax", 0],
    ["(?>a)", "unsupported_syntax", 0],
    ["(?P=name)", "unsupported_syntax", 0],
    ["(?)a", "unsupported_syntax", 0],
    ["(?U)a+", "unsupported_syntax", 0],
    ["ab\\pL", "unsupported_syntax", 2],
    ["a\\Z", "unsupported_syntax", 1],
    ["\\Qa.b\\E", "unsupported_syntax", 0],
    ["[[:alpha:]]", "unsupported_syntax", 1],
    ["[\\b]", "unsupported_syntax", 1],
    ["a\\012", "unsupported_syntax", 1],
    ["a{,5}", "unsupported_syntax", 1],
    ["(?i)[\\x{100}-\\x{2000}]", "unsupported_syntax", 4],
    ["a(b", "malformed_pattern", 1],
    ["ab)", "malformed_pattern", 2],
    ["a[b", "malformed_pattern", 1],
    ["[b-a]", "malformed_pattern", 1],
    ["*a", "malformed_pattern", 0],
    ["a|+", "malformed_pattern", 2],
    ["{2}", "malformed_pattern", 3],
    ["a**", "malformed_pattern", 2],
    ["a+?*", "malformed_pattern", 3],
    ["a{3,2}", "malformed_pattern", 1],
    ["a\\", "malformed_pattern", 1],
    ["\\x4", "malformed_pattern", 0],
    ["\\x{110000}", "malformed_pattern", 0],
    ["\\x{d800}", "malformed_pattern", 0],
    ["a{1001}", "repeat_too_large", 1],
    ["a{2,1001}", "repeat_too_large", 1],
    ["a\ud800", "lone_surrogate", 1],
  ])("refuses %s as %s at %i", (pattern, code, position) => {
    expect(errorOf(pattern)).toEqual({ code, position });
  });

  test("bounds length and nesting", () => {
    const { patternCharsMax, nestingMax } = SCAN_LIMITS;
    expect(errorOf("a".repeat(patternCharsMax))).toBeUndefined();
    expect(errorOf("a".repeat(patternCharsMax + 1))?.code).toBe("pattern_too_long");
    const nested = (depth: number) => `${"(".repeat(depth)}a${")".repeat(depth)}`;
    expect(errorOf(nested(nestingMax))).toBeUndefined();
    expect(errorOf(nested(nestingMax + 1))?.code).toBe("nesting_too_deep");
  });

  test.each([
    ["a{b", "a{b"],
    ['\\{"k"', '{"k"'],
    ['{"k"}', '{"k"}'],
    ["[]a]x", "]x"],
    ["[^]a]x", "bx"],
    ["[a-]x", "-x"],
    ["[-a]x", "-x"],
    ["[\\w-.]x", "-x"],
    ["\\x41\\x{20AC}", "A€"],
    ["\\t\\n\\r\\f\\v\\a", "\t\n\r\f\v\x07"],
    ["(?P<n>a)(?<m>b)", "ab"],
    ["a(?i)b|c", "C"],
    ["(?i:a(?-i)b)c", "Abc"],
    ["(?s)a.b", "a\nb"],
    ["(?i)straße", "STRAßE"],
    ["(?i)müller", "MÜLLER"],
    ["a|", "a"],
  ])("reads %j as matching %j, as RE2 does", (pattern, text) => {
    expect(RE2JS.compile(pattern).matcher(text).find()).toBe(true);
    expect(hitsOf(setOf([`z(?:${pattern})z`]), `z${text}z`)).toHaveLength(1);
  });

  test.each([
    ["a.b", "a\nb"],
    ["(?i:a)b", "AB"],
    ["(?i:a(?-i)b)c", "ABc"],
    ["[^a]b", "ab"],
    ["\\s", "\v"],
    ["\\w", "é"],
    ["\\x{20AC}", "ac"],
  ])("reads %j as not matching %j, as RE2 does", (pattern, text) => {
    expect(RE2JS.compile(pattern).matcher(text).find()).toBe(false);
    expect(matches(pattern, text)).toBe(false);
  });

  test("under (?i), ASCII letters fold among themselves alone", () => {
    expect(matches("(?i)k", "K")).toBe(true);
    expect(matches("(?i)k", "\u212a")).toBe(false);
    expect(matches("(?i)s", "\u017f")).toBe(false);
  });

  test("never throws, whatever it is given", () => {
    const soup = fc
      .array(fc.constantFrom(..."ab()[]{}|*+?\\^$.-,:<>=!P019xisd€", "\ud800"), { maxLength: 30 })
      .map((characters) => characters.join(""));
    fc.assert(
      fc.property(soup, (pattern) => {
        const parsed = parsePattern(pattern);
        if (parsed.ok) return;
        expect(parsed.error.position).toBeGreaterThanOrEqual(0);
        expect(parsed.error.position).toBeLessThanOrEqual(pattern.length);
      }),
      { numRuns: 3000 },
    );
  });

  test("accepts nothing that RE2 refuses", () => {
    const soup = fc
      .array(fc.constantFrom(..."ab()[]{}|*+?\\^$.-,:19isdB"), { maxLength: 12 })
      .map((characters) => characters.join(""));
    fc.assert(
      fc.property(soup, (pattern) => {
        if (parsePattern(pattern).ok) expect(() => RE2JS.compile(pattern)).not.toThrow();
      }),
      { numRuns: 3000 },
    );
  });
});

describe("utf8Sequences", () => {
  test("accept the encodings of a set's code points and no other bytes", () => {
    const codePoint = fc.oneof(
      fc.integer({ min: 0, max: 0x10ffff }),
      fc.constantFrom(0x7f, 0x80, 0x7ff, 0x800, 0xffff, 0x10000, 0x10ffff, 0xd7ff, 0xe000),
    );
    const ranges = fc.array(
      fc.tuple(codePoint, codePoint).map(([a, b]) => [Math.min(a, b), Math.max(a, b)] as const),
      { minLength: 1, maxLength: 3 },
    );
    fc.assert(
      fc.property(ranges, fc.array(codePoint, { minLength: 1, maxLength: 20 }), (drawn, probes) => {
        const set = codePointSet(drawn);
        const sequences = utf8Sequences(set);
        const near = drawn.flatMap(([low, high]) => [low - 1, low, high, high + 1]);
        for (const probe of [...probes, ...near]) {
          if (probe < 0 || probe > 0x10ffff || (probe >= 0xd800 && probe <= 0xdfff)) continue;
          const bytes = bytesOf(String.fromCodePoint(probe));
          const accepted = sequences.filter(
            (sequence) =>
              sequence.length === bytes.length &&
              sequence.every(([low, high], index) => {
                const byte = bytes[index] as number;
                return low <= byte && byte <= high;
              }),
          );
          const isMember = drawn.some(([low, high]) => low <= probe && probe <= high);
          expect(accepted).toHaveLength(isMember ? 1 : 0);
        }
      }),
      { numRuns: 500 },
    );
  });

  test("never accept overlong forms or surrogates", () => {
    const set = setOf(["(?s:.)"]);
    for (const bytes of [
      [0xc0, 0x80],
      [0xc1, 0xbf],
      [0xe0, 0x80, 0x80],
      [0xed, 0xa0, 0x80],
      [0xf0, 0x80, 0x80, 0x80],
      [0xf4, 0x90, 0x80, 0x80],
      [0xff],
    ]) {
      const { symbolOf, edgeSymbol } = set.automaton;
      let state = set.forward.cache.intern(set.forward.initial);
      for (const byte of bytes) {
        state = set.forward.step(state, symbolOf[byte] as number);
        expect(state.facts.matched).toEqual([]);
      }
      expect(set.forward.step(state, edgeSymbol).facts.matchedBefore).toEqual([]);
    }
  });
});
