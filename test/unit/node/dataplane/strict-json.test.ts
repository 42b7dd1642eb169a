import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { JsonValue } from "../../../../node/dataplane/dialects/dialect.ts";
import { parseStrict, parseStrictText } from "../../../../node/dataplane/strict-json.ts";
import { proofCount } from "../../../support/proof.ts";

const DEPTH_MAX = 64;

function read(text: string, depthMax = DEPTH_MAX) {
  return parseStrict(Buffer.from(text), { depthMax });
}

function readBytes(...bytes: number[]) {
  return parseStrict(Uint8Array.from(bytes), { depthMax: DEPTH_MAX });
}

const PROOF_TIMEOUT_MS = 240_000;

describe("what is read", () => {
  test(
    "is what JSON.parse reads, for every value that JSON carries",
    () => {
      const { count, seed } = proofCount("JSON values", { small: 60, full: 5_000 });
      fc.assert(
        fc.property(fc.jsonValue({ noUnicodeString: false }), fc.nat(3), (value, space) => {
          const text = JSON.stringify(value, null, space);
          const wellFormed = text.isWellFormed() && !/\\ud[89a-f]/i.test(text);
          const safe = !/\d{16}|[eE]\+/.test(text);
          fc.pre(wellFormed && safe);
          expect(read(text)).toEqual({ value: JSON.parse(text) });
        }),
        { numRuns: count, seed },
      );
    },
    PROOF_TIMEOUT_MS,
  );

  test("ends a string where JSON does, however many backslashes stand before its quotes", () => {
    const bits = ["\\", '"', "\\\\", "{", ":", "[", "a", '\\"'];
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...bits), { maxLength: 12 }), (parts) => {
        const said = parts.join("");
        const text = JSON.stringify({ [said]: said, b: [said] });
        expect(read(text)).toEqual({ value: JSON.parse(text) });
        expect(read(text, 1)).toEqual({ missing: "json_too_deep" });
        expect(read(`{"a":1,${text.slice(1, -1)},"a":2}`)).toEqual({ missing: "duplicate_key" });
      }),
      { numRuns: 100 },
    );
  });

  test("is nothing where JSON.parse reads nothing", () => {
    const bits = ['{"a":1}', '"x\\"', "[1,2", "nul", "{,}", " ", "", "01", "1.", "'a'", "[1]]"];
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...bits), { maxLength: 3 }), (parts) => {
        const text = parts.join("");
        let parsed: unknown;
        try {
          parsed = { value: JSON.parse(text) };
        } catch {
          parsed = { missing: "malformed_json" };
        }
        expect(read(text)).toEqual(parsed);
      }),
      { numRuns: 300 },
    );
  });

  test("survives serialising: what is judged is what is sent", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 60 }), fc.double(), (name, number) => {
        const result = read(`{${JSON.stringify(name)}:[${JSON.stringify(number)}]}`);
        if ("missing" in result) return;
        expect(JSON.parse(JSON.stringify(result.value))).toEqual(result.value);
      }),
      { numRuns: 500 },
    );
  });
});

describe("a member named twice", () => {
  test.each([
    ['{"a":1,"a":2}'],
    ['{"a":1,"b":2,"a":1}'],
    ['{"model":"small","\\u006dodel":"large"}'],
    ['[{"x":{"y":[{"a":1,"\\u0061":1}]}}]'],
    ['{"":1,"":2}'],
    ['{"__proto__":1,"__proto__":2}'],
    ['{"a":{"b":1},"a":{"b":1}}'],
    ['{ "a" \t:\n1 , "a"\r: 2 }'],
    ['{"q\\"":1,"q\\u0022":2}'],
    ['{"\\\\":1,"\\u005c":2}'],
  ])("is refused: %s", (text) => {
    expect(read(text)).toEqual({ missing: "duplicate_key" });
  });

  test.each([
    ['{"a":{"a":1},"b":[{"a":1},{"a":2}]}'],
    ['{"a":"a","b":"\\"a\\":1"}'],
    ['{"a":"{\\"b\\":1,\\"b\\":2}"}'],
    ['{"constructor":1,"toString":2}'],
  ])("is not one in another object or inside a string: %s", (text) => {
    expect(read(text)).toEqual({ value: JSON.parse(text) });
  });

  test(
    "is found wherever it is put, and found nowhere else",
    () => {
      const { count, seed } = proofCount("duplicate members", { small: 120, full: 100_000 });
      const member = fc.tuple(fc.constantFrom("a", "b", "A", "é", "\u0000", '"'), fc.jsonValue());
      fc.assert(
        fc.property(fc.array(member, { maxLength: 6 }), fc.boolean(), (members, escaped) => {
          const names = members.map(([name]) => name);
          const spelt = (name: string) => (escaped ? escaped16(name) : JSON.stringify(name));
          const text = `{${members.map(([name, value]) => `${spelt(name)}:${JSON.stringify(value)}`)}}`;
          fc.pre(text.isWellFormed() && !/\d{16}|[eE]\+|\\ud/.test(text));
          const twice = new Set(names).size < names.length;
          const wanted = twice ? { missing: "duplicate_key" } : { value: JSON.parse(text) };
          expect(read(text)).toEqual(wanted);
        }),
        { numRuns: count, seed },
      );
    },
    PROOF_TIMEOUT_MS,
  );
});

describe("a name that is escaped", () => {
  // Names with a backslash of their own, which the engine then expects in that place.
  const misleading = ['{"x":1,"\\\\u006":2}', '{"\\"":1,"\\\\":2}', '[{"x":1,"\\\\u006":2}]'];

  test.each([
    ['{"x":1,"\\u006dodel":"large"}', { x: 1, model: "large" }],
    ['[{"x":1,"\\u006dodel":{"x":1,"\\u006dodel":3}}]', [{ x: 1, model: { x: 1, model: 3 } }]],
    ['{"\\"":1,"\\u0061":2}', { '"': 1, a: 2 }],
    ['{"\\"":1,"\\n":2}', { '"': 1, "\n": 2 }],
    ['{"x" :\t1,"\\u006":2}', undefined],
    ['{"x":1,"\\\\u006":2}', { x: 1, "\\u006": 2 }],
  ])("is read as itself, whatever was read before: %s", (text, value) => {
    for (let i = 0; i < 10; i++) for (const earlier of misleading) read(earlier);
    expect(read(text)).toEqual(value === undefined ? { missing: "malformed_json" } : { value });
  });

  test("is found to come twice, whatever was read before", () => {
    for (let i = 0; i < 10; i++) for (const earlier of misleading) read(earlier);
    const twice = '{"\\u0022":null,"\\u0061":{},"\\u0041":null,"\\u0061":0}';
    expect(read(twice)).toEqual({ missing: "duplicate_key" });
  });

  test("is an ordinary one, also where it is __proto__ or a number", () => {
    const text = '{"2":1,"\\u0031":2,"\\u005f_proto__":{"a":3}}';
    const found = read(text);
    expect(found).toEqual({ value: JSON.parse(text) });
    expect(JSON.stringify(found)).toBe('{"value":{"1":2,"2":1,"__proto__":{"a":3}}}');
  });
});

describe("text", () => {
  test.each([
    ["an overlong slash", [0x22, 0xc0, 0xaf, 0x22]],
    ["a lone continuation byte", [0x22, 0x80, 0x22]],
    ["a surrogate in UTF-8", [0x22, 0xed, 0xa0, 0x80, 0x22]],
    ["a character cut short", [0x22, 0xe2, 0x82, 0x22]],
    ["a code point beyond the last", [0x22, 0xf4, 0x90, 0x80, 0x80, 0x22]],
  ])("that is not UTF-8 is refused: %s", (_title, bytes) => {
    expect(readBytes(...bytes)).toEqual({ missing: "invalid_utf8" });
  });

  test.each([['"\\ud800"'], ['"\\udc00\\ud800"'], ['{"\\uDBFF":1}'], ['["a","b\\ud83d"]']])(
    "with a lone surrogate is refused however deep: %s",
    (text) => {
      expect(read(text)).toEqual({ missing: "invalid_utf8" });
    },
  );

  test("with a pair of escaped surrogates is one character", () => {
    expect(read('"\\ud83d\\ude00"')).toEqual({ value: "😀" });
  });

  test("with a byte order mark is refused", () => {
    expect(readBytes(0xef, 0xbb, 0xbf, 0x7b, 0x7d)).toEqual({ missing: "malformed_json" });
  });
});

describe("numbers", () => {
  test.each([["1e400"], ["-1e400"], ["9007199254740993"], ["-9007199254740992"], ["1e17"]])(
    "that do not survive are refused: %s",
    (text) => {
      expect(read(`{"a":[${text}]}`)).toEqual({ missing: "malformed_json" });
    },
  );

  test.each([["9007199254740991"], ["-9007199254740991"], ["0.1"], ["-0"], ["1e15"]])(
    "that do survive are read: %s",
    (text) => {
      expect(read(text)).toEqual({ value: JSON.parse(text) });
    },
  );
});

describe("depth", () => {
  const nested = (depth: number) => `${"[".repeat(depth)}${"]".repeat(depth)}`;

  test("up to the limit is read, one more is refused", () => {
    expect(read(nested(5), 5)).toHaveProperty("value");
    expect(read(nested(6), 5)).toEqual({ missing: "json_too_deep" });
    expect(read('{"a":{"b":{}}}', 3)).toHaveProperty("value");
    expect(read('{"a":{"b":{}}}', 2)).toEqual({ missing: "json_too_deep" });
  });

  test("does not count brackets in strings or that were closed", () => {
    expect(read('["[[[[[[","{{{{\\"[[["]', 1)).toHaveProperty("value");
    expect(read(`[${"[],".repeat(100)}{}]`, 2)).toHaveProperty("value");
  });

  test("of a million is refused without running out of stack", () => {
    expect(read(nested(1_000_000))).toEqual({ missing: "json_too_deep" });
  });
});

test("a member __proto__ is an ordinary one and changes no prototype", () => {
  const result = read('{"__proto__":{"admin":true},"a":1}') as { value: JsonValue };
  expect(Object.keys(result.value as object)).toEqual(["__proto__", "a"]);
  expect(Object.getPrototypeOf(result.value)).toBe(Object.prototype);
  expect(({} as { admin?: boolean }).admin).toBeUndefined();
  expect(JSON.stringify({ ...(result.value as object) })).toBe(
    '{"__proto__":{"admin":true},"a":1}',
  );
});

test("what is passed on as it came may hold numbers and surrogates that do not survive", () => {
  const options = { depthMax: DEPTH_MAX, mustRoundTrip: false };
  expect(parseStrictText('["\\ud83d",9007199254740993]', options)).toHaveProperty("value");
  expect(parseStrictText('{"a":1,"a":2}', options)).toEqual({ missing: "duplicate_key" });
});

function escaped16(text: string): string {
  const units = Array.from({ length: text.length }, (_, index) => text.charCodeAt(index));
  return `"${units.map((unit) => `\\u${unit.toString(16).padStart(4, "0")}`).join("")}"`;
}
