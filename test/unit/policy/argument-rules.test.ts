import { describe, expect, test } from "vitest";
import { type CallArguments, isPlace, refusedArgument } from "../../../policy/argument-rules.ts";
import type { ArgumentRule, ArgumentRules } from "../../../policy/compiled-policy.ts";

const TOOL = "mcp/files/read";

function refusedBy(rules: Readonly<Record<string, ArgumentRule>>, given: CallArguments) {
  return refusedArgument(new Map([[TOOL, new Map(Object.entries(rules))]]), TOOL, given);
}

const only = (rule: ArgumentRule, value: string | number | undefined) =>
  refusedBy({ a: rule }, new Map([["a", value]])) === undefined;

describe("a rule", () => {
  const within: ArgumentRule = { within: ["/srv/data", "https://api.example.com/v1"] };

  test.each<[ArgumentRule, (string | number | undefined)[], (string | number | undefined)[]]>([
    [{}, ["", "x", 7, undefined], []],
    [{ oneOf: ["fast", "7"] }, ["fast", "7"], ["Fast", "", 7, undefined]],
    [{ charsMax: 3 }, ["", "abc"], ["abcd", 2, undefined]],
    [{ atLeast: -1, atMost: 5 }, [-1, 0, 4.5, 5], [-1.01, 6, "3", undefined, Number.NaN]],
    [
      within,
      [
        "/srv/data",
        "/srv/data/",
        "/srv/data/a/..b/.c",
        "/srv/data/sub/",
        "https://api.example.com/v1/x",
      ],
      [
        "",
        "/srv/database",
        "/srv/data/../secret",
        "/srv/data/a/./b",
        "/srv/data//etc",
        "/srv/data/a//",
        "/srv/data/..",
        "/srv/data/%2e%2e/x",
        "/srv/data/..\\x",
        "/srv/data/a\0",
        "/srv/data/a\n",
        "srv/data/a",
        "file:///srv/data/a",
        "https://api.example.com/v1?to=x",
        "https://api.example.com/v1/#x",
        "https://api.example.com/v1@evil.example",
        "https://api.example.com.evil.example/v1/x",
        7,
        undefined,
      ],
    ],
  ])("%j takes what it says and nothing else", (rule, taken, refused) => {
    for (const value of taken) expect(only(rule, value), String(value)).toBe(true);
    for (const value of refused) expect(only(rule, value), String(value)).toBe(false);
  });
});

describe("a tool that has rules", () => {
  test("takes no argument that none of them names", () => {
    expect(refusedBy({ a: {} }, new Map([["a", 1]]))).toBeUndefined();
    expect(refusedBy({ a: {} }, new Map([["b", 1]]))).toBe("b");
    expect(refusedBy({}, new Map([["__proto__", 1]]))).toBe("__proto__");
    expect(refusedBy({}, new Map())).toBeUndefined();
  });

  test("goes without what is not required", () => {
    const rules = { a: { required: true, atMost: 3 }, b: { atMost: 3 } } as const;
    expect(refusedBy(rules, new Map())).toBe("a");
    expect(refusedBy(rules, new Map([["a", 1]]))).toBeUndefined();
  });

  test("has those of its own name, else of the narrowest pattern", () => {
    const of = (name: string): ArgumentRules => new Map([[name, {}]]);
    const rules = new Map([
      ["mcp/*", of("any")],
      ["mcp/files/*", of("files")],
      [TOOL, of("own")],
    ]);
    const takes = (tool: string, name: string) =>
      refusedArgument(rules, tool, new Map([[name, 1]])) === undefined;
    expect([takes(TOOL, "own"), takes(TOOL, "files")]).toEqual([true, false]);
    expect([takes("mcp/files/x", "files"), takes("mcp/files/x", "any")]).toEqual([true, false]);
    expect([takes("mcp/db/x", "any"), takes("search", "whatever")]).toEqual([true, true]);
  });
});

test.each(["/srv/data", "srv", "https://api.example.com", "https://api.example.com/v1", "~/x y"])(
  "%s is a place",
  (text) => expect(isPlace(text)).toBe(true),
);

test.each(["", "/", "/srv/", "/srv/../x", "./x", "/a//b", "https://", "/a%2e", "/a\\b", "/a?b"])(
  "%j is no place that anything could be within",
  (text) => expect(isPlace(text)).toBe(false),
);
