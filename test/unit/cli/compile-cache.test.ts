import { execFileSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { cleanEnv, NODE } from "../../support/run-altrace.ts";
import { tempDir } from "../../support/temp-dir.ts";

const CLI = join(import.meta.dirname, "../../../cli/altrace.js");

test.each([
  ["that is named is where it is kept", "kept", ["kept"]],
  ["that is named as nothing is none, and not where somebody stands", "", []],
])("a folder of compiled sources %s", (_, NODE_COMPILE_CACHE, left) => {
  using folder = tempDir();
  const cwd = folder.path;
  execFileSync(NODE, [CLI, "--version"], { cwd, env: { ...cleanEnv(), NODE_COMPILE_CACHE } });
  expect(readdirSync(cwd)).toEqual(left);
});
