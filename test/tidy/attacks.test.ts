import { globSync } from "node:fs";
import { expect, test } from "vitest";
import { textOf } from "./sources.ts";

// The table of attacks in docs/contracts.md is a promise: each is tried, and refused by its own name.

const ROW = /^\| (\d+) \| .*? \| (.*?) \| `(.*?)` \|$/gm;
const ROWS = [...textOf("docs/contracts.md").matchAll(ROW)].map(
  ([, no = "", refused = "", file = ""]) => ({ no, refused, file }),
);
const TESTS = globSync("test/unit/**/*.test.ts").map(textOf);

test("42 attacks on contracts are listed, in their order", () => {
  expect(ROWS.map(({ no }) => Number(no))).toEqual(Array.from({ length: 42 }, (_, at) => at + 1));
});

test.each(ROWS)("attack $no is a title in test/unit/$file", ({ no, file }) => {
  const titles = new RegExp(`["'\`](?:\\d+, )*${no}(?:, C?\\d+)*: `);
  expect(textOf(`test/unit/${file}.test.ts`)).toMatch(titles);
});

test.each(ROWS)(
  "attack $no is refused by a reason that a test expects: $refused",
  ({ refused }) => {
    const reasons = [...refused.matchAll(/`(\w+)`/g)].map(([, reason = ""]) => reason);
    for (const reason of reasons) {
      expect(
        TESTS.some((text) => text.includes(reason)),
        reason,
      ).toBe(true);
    }
  },
);
