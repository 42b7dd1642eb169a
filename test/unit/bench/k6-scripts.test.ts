import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { K6_SCRIPTS } from "../../../bench/k6-scripts.ts";

const FOLDER = join(import.meta.dirname, "..", "..", "..", "bench", "k6");
const files = readdirSync(FOLDER).filter((name) => name.endsWith(".js"));

test("each script is run", () => {
  expect(K6_SCRIPTS.map(({ name }) => `${name}.js`).toSorted()).toEqual(files.toSorted());
});

test.each(files)("%s says its question first, and has a threshold that it can cross", (file) => {
  const source = readFileSync(join(FOLDER, file), "utf8");
  expect(source.split("\n")[0]).toMatch(/^\/\/ .+\?$/);
  expect(source).toMatch(/thresholds: \{\s+\w+: \[/);
});
