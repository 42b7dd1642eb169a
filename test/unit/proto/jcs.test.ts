import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { canonicalJson, JCS_DEPTH_MAX, JcsError } from "../../../proto/jcs.ts";
import { proofCount } from "../../support/proof.ts";

function double(hex: string): number {
  return Buffer.from(hex, "hex").readDoubleBE(0);
}

describe("RFC 8785", () => {
  test("writes the sample of section 3.2.2", () => {
    const input = String.raw`{"numbers":[333333333.33333329,1E30,4.50,2e-3,0.000000000000000000000000001],
      "string":"\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/","literals":[null,true,false]}`;
    expect(canonicalJson(JSON.parse(input))).toBe(
      `{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],` +
        String.raw`"string":"€$\u000f\nA'B\"\\\\\"/"}`,
    );
  });

  test("sorts keys by UTF-16 code units, as in section 3.2.3", () => {
    const input = {
      "\u20ac": "Euro Sign",
      "\r": "Carriage Return",
      "\ufb33": "Hebrew Letter Dalet With Dagesh",
      1: "One",
      "\ud83d\ude00": "Emoji: Grinning Face",
      "\u0080": "Control",
      "\u00f6": "Latin Small Letter O With Diaeresis",
    };
    // The emoji's first unit is d83d and sorts before fb33, though its code point is larger.
    const order = [...canonicalJson(input).matchAll(/:"([^"]+)"/g)].map((match) => match[1]);
    expect(order).toEqual([
      "Carriage Return",
      "One",
      "Control",
      "Latin Small Letter O With Diaeresis",
      "Euro Sign",
      "Emoji: Grinning Face",
      "Hebrew Letter Dalet With Dagesh",
    ]);
  });

  test.each([
    ["0000000000000000", "0"],
    ["8000000000000000", "0"],
    ["0000000000000001", "5e-324"],
    ["8000000000000001", "-5e-324"],
    ["7fefffffffffffff", "1.7976931348623157e+308"],
    ["ffefffffffffffff", "-1.7976931348623157e+308"],
    ["4340000000000000", "9007199254740992"],
    ["c340000000000000", "-9007199254740992"],
    ["4430000000000000", "295147905179352830000"],
    ["44b52d02c7e14af5", "9.999999999999997e+22"],
    ["44b52d02c7e14af6", "1e+23"],
    ["44b52d02c7e14af7", "1.0000000000000001e+23"],
    ["444b1ae4d6e2ef4e", "999999999999999700000"],
    ["444b1ae4d6e2ef4f", "999999999999999900000"],
    ["444b1ae4d6e2ef50", "1e+21"],
    ["3eb0c6f7a0b5ed8c", "9.999999999999997e-7"],
    ["3eb0c6f7a0b5ed8d", "0.000001"],
    ["41b3de4355555553", "333333333.3333332"],
    ["41b3de4355555554", "333333333.33333325"],
    ["41b3de4355555555", "333333333.3333333"],
    ["41b3de4355555556", "333333333.3333334"],
    ["41b3de4355555557", "333333333.33333343"],
    ["becbf647612f3696", "-0.0000033333333333333333"],
    ["43143ff3c1cb0959", "1424953923781206.2"],
  ])("writes the double %s of appendix B as %s", (hex, text) => {
    expect(canonicalJson(double(hex))).toBe(text);
  });
});

describe("refuses what has no canonical spelling", () => {
  const hole: unknown[] = [1];
  hole[2] = 3;
  test.each<[string, unknown]>([
    ["NaN", double("7fffffffffffffff")],
    ["infinity", double("7ff0000000000000")],
    ["minus infinity", Number.NEGATIVE_INFINITY],
    ["a lone high surrogate", "\ud800"],
    ["a lone low surrogate", "a\udc00b"],
    ["a lone surrogate in a key", { "\udead": 1 }],
    ["undefined", undefined],
    ["an undefined member", { a: undefined }],
    ["undefined in an array", [undefined]],
    ["a hole in an array", hole],
    ["a bigint", 1n],
    ["a function", () => 1],
    ["a symbol", Symbol("a")],
    ["a date", new Date(0)],
    ["a map", new Map()],
    ["a buffer", Buffer.from("a")],
  ])("%s", (_name, value) => {
    expect(() => canonicalJson(value)).toThrow(JcsError);
    expect(() => canonicalJson({ deep: [value] })).toThrow(JcsError);
  });

  test("nesting deeper than the limit, and not at it", () => {
    const nested = (levels: number) => {
      let value: unknown = 1;
      for (let i = 0; i < levels; i++) value = [value];
      return value;
    };
    expect(canonicalJson(nested(JCS_DEPTH_MAX))).toHaveLength(2 * JCS_DEPTH_MAX + 1);
    expect(() => canonicalJson(nested(JCS_DEPTH_MAX + 1))).toThrow(JcsError);
  });
});

test("canonical text parses back to the value, whatever order its members were added in", () => {
  const { count: numRuns, seed } = proofCount("canonical JSON", { small: 40, full: 5_000 });
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 4, stringUnit: "binary" }), (value) => {
      const text = canonicalJson(value);
      expect(JSON.parse(text)).toEqual(JSON.parse(JSON.stringify(value)));
      expect(canonicalJson(reversed(JSON.parse(text)))).toBe(text);
    }),
    { numRuns, seed },
  );
});

function reversed(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(reversed);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).reverse();
  return Object.fromEntries(entries.map(([key, member]) => [key, reversed(member)]));
}
