import { spawnSync } from "node:child_process";
import { cpSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { cleanEnv, NODE } from "../../support/run-altrace.ts";
import { tempDir } from "../../support/temp-dir.ts";

const ROOT = join(import.meta.dirname, "../../..");

test("what npm ci runs at its end does not fail where no program can be built, and says why", () => {
  using copy = tempDir();
  for (const name of ["package.json", "cli", "scripts"])
    cpSync(join(ROOT, name), join(copy.path, name), { recursive: true });
  const prepare = () =>
    spawnSync(NODE, [join(copy.path, "scripts", "prepare.js")], {
      env: cleanEnv(),
      encoding: "utf8",
    });
  const without = prepare();
  expect([without.status, without.stderr]).toEqual([0, expect.stringContaining("rolldown")]);
  symlinkSync(join(ROOT, "node_modules"), join(copy.path, "node_modules"));
  // Where programs would lie.
  writeFileSync(join(copy.path, ".cache"), "");
  const failing = prepare();
  expect([failing.status, failing.stderr]).toEqual([
    0,
    expect.stringMatching(/no program is built/),
  ]);
});
