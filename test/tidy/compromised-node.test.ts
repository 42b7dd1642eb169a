import { expect, test } from "vitest";
import { textOf } from "./sources.ts";

// docs/compromised-node.md says what a node that was taken over can do. Each clause is a test.

const ROW = /^\| (\d+) \| (can|cannot) \| (.*?) \| .*? \| `(.*?)` \| (.*?) \|$/gm;
const CLAUSES = [...textOf("docs/compromised-node.md").matchAll(ROW)].map(
  ([, no = "", , what = "", file = "", title = ""]) => ({ no, what, file, title }),
);

test("the clauses are numbered in their order", () => {
  expect(CLAUSES.length).toBeGreaterThan(20);
  expect(CLAUSES.map(({ no }) => Number(no))).toEqual(CLAUSES.map((_, at) => at + 1));
});

test.each(CLAUSES)("clause $no is tried: $what", ({ file, title }) => {
  expect(textOf(`test/${file}.test.ts`)).toContain(`"${title}`);
});
