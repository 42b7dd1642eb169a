import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { cleanEnv, NODE } from "../../support/run-altrace.ts";

const CLI = join(import.meta.dirname, "../../../cli/altrace.js");

test.each([
  ["that is named is where it is kept", "kept", ["kept"]],
  ["that is named as nothing is none, and not where somebody stands", "", []],
])("a folder of compiled sources %s", (_, NODE_COMPILE_CACHE, left) => {
  const cwd = mkdtempSync(join(tmpdir(), "altc-"));
  onTestFinished(() => rmSync(cwd, { recursive: true, force: true }));
  execFileSync(NODE, [CLI, "--version"], { cwd, env: { ...cleanEnv(), NODE_COMPILE_CACHE } });
  expect(readdirSync(cwd)).toEqual(left);
});
