import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { covers, isNarrower, isPattern, isPlainName } from "../../../policy/pattern.ts";

const segment = fc.constantFrom("a", "b", "git", "github", "a.b", "x-1", "_y", "A");
const name = fc.array(segment, { minLength: 1, maxLength: 4 }).map((parts) => parts.join("/"));
const pattern = fc.tuple(name, fc.boolean()).map(([text, open]) => (open ? `${text}/*` : text));

/** The grammar said again, by segments instead of text. */
function coversBySegments(pattern: string, name: string): boolean {
  const wanted = pattern.split("/");
  const given = name.split("/");
  if (wanted.at(-1) !== "*") return pattern === name;
  const prefix = wanted.slice(0, -1);
  return given.length > prefix.length && prefix.every((part, i) => part === given[i]);
}

describe("covers", () => {
  test("agrees with matching segment by segment", () => {
    fc.assert(
      fc.property(pattern, name, (one, other) => {
        expect(covers([one], other)).toBe(coversBySegments(one, other));
      }),
      { numRuns: 2000 },
    );
  });

  test.each([
    ["mcp/github/*", "mcp/github/issues/read"],
    ["openai/gpt-5-mini", "openai/gpt-5-mini"],
  ])("%s covers %s", (pattern, name) => {
    expect(covers([pattern], name)).toBe(true);
  });

  test.each([
    ["mcp/github/*", "mcp/github"],
    ["mcp/github/*", "mcp/github/"],
    ["mcp/github/*", "mcp/github2/x"],
    ["mcp/git*", "mcp/github/x"],
    ["*", "anything"],
    ["mcp/github/*", "mcp/github/../jira"],
    ["mcp/github/*", "mcp/github/./x"],
    ["mcp/github/*", "mcp/github//x"],
    ["mcp/github/*", "mcp/github/%2f"],
    ["mcp/github/*", "mcp/github/x\n"],
    ["mcp/github/*", "mcp/github/\u0440ead"],
    ["mcp/github/*", "MCP/github/x"],
    ["a/*", `a/${"b".repeat(127)}`],
    ["openai/gpt-5", "openai/gpt-5-mini"],
  ])("%s does not cover %j", (pattern, name) => {
    expect(covers([pattern], name)).toBe(false);
  });

  test("a name outside the grammar is not covered even by itself", () => {
    expect(covers(["a/../b"], "a/../b")).toBe(false);
  });

  test("no patterns cover nothing", () => {
    expect(covers([], "a")).toBe(false);
  });
});

describe("isNarrower", () => {
  test("holds exactly when every name of one is a name of the other", () => {
    fc.assert(
      fc.property(pattern, pattern, name, (narrow, wide, any) => {
        if (isNarrower(narrow, wide) && covers([narrow], any)) {
          expect(covers([wide], any)).toBe(true);
        }
        // The least name that only an open pattern has: one segment more, which nothing else uses.
        const inside = narrow.replace(/\*$/, "zzz");
        expect(isNarrower(narrow, wide)).toBe(
          covers([wide], inside) && (narrow === inside || wide.endsWith("/*")),
        );
      }),
      { numRuns: 2000 },
    );
  });
});

describe("grammar", () => {
  test.each(["*", "/*", "a/*/b", "a/**", "a*", "a//b", "/a", "a/", "", "-a", ".a", "a b", "ä"])(
    "%j is no pattern",
    (text) => {
      expect(isPattern(text)).toBe(false);
    },
  );

  test("a pattern with a star is no name", () => {
    expect(isPattern("a/*")).toBe(true);
    expect(isPlainName("a/*")).toBe(false);
  });

  test("names have at most 128 characters", () => {
    expect(isPlainName("a".repeat(128))).toBe(true);
    expect(isPlainName("a".repeat(129))).toBe(false);
  });
});
