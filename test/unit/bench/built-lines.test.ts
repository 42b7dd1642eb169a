import { readdirSync } from "node:fs";
import { expect, test } from "vitest";
import { sourceOf } from "../../../bench/harness/built-lines.ts";
import { builtProgram } from "../../../cli/built-program.js";

const ROOT = new URL("../../../", import.meta.url).href;

test("a line of the built program is of the source that the bundler names above it", () => {
  const place = new URL(".", builtProgram(new URL(ROOT)));
  const loop = new URL("node-loop-worker.mjs", place).href;
  expect(readdirSync(place)).toContain("node-loop-worker.mjs");
  const found = new Set(
    Array.from({ length: 100_000 }, (_, line) => sourceOf(loop, line, ROOT)).filter(
      (url) => url !== loop,
    ),
  );
  expect(found).toContain(`${ROOT}node/enforce.ts`);
  expect(found).toContain(`${ROOT}node/decision/chain.ts`);
  expect(
    [...found].filter((url) => url.includes("/node_modules/prom-client/")).length,
  ).toBeGreaterThan(10);
});

test("a file that is not of it is its own source", () => {
  expect(sourceOf(`${ROOT}node/app.ts`, 3, ROOT)).toBe(`${ROOT}node/app.ts`);
});
