import { globSync } from "node:fs";
import { basename } from "node:path";
import { expect, test } from "vitest";
import { textOf } from "./sources.ts";

// What the kernel's part must withstand is a list of groups in test/README.md. Each is in the files that it names, by
// titles that begin with it; a group of which every test was renamed or left out would be missed by nobody.

const ROWS = [...textOf("test/README.md").matchAll(/^\| (`.+?`) \| .+? \| (`.+`) \|$/gm)].flatMap(
  ([, groups = "", files = ""]) =>
    words(groups).flatMap((group) => [{ group, files: words(files) }]),
);

test("all groups are listed", () => {
  expect(ROWS.length).toBeGreaterThanOrEqual(15);
});

test.each(ROWS)(
  "kernel group $group is begun by a title in one of its files",
  ({ group, files }) => {
    const titles = files.map((file) => textOf(`test/kernel/${file}.test.ts`));
    const begins = new RegExp(`"(?:[a-zA-Z ]+, )*${group}(?:, [a-zA-Z ]+)*: `);
    expect(titles.some((text) => begins.test(text))).toBe(true);
  },
);

test("everything that prepares a run of tests is part of one", () => {
  const config = textOf("vitest.config.ts");
  const names = globSync("test/setup/*.ts").map((file) => basename(file, ".ts"));
  expect(names.filter((name) => !config.includes(name))).toEqual([]);
});

function words(cell: string): string[] {
  return [...cell.matchAll(/`(.+?)`/g)].map(([, word = ""]) => word);
}
