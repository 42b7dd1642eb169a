import { execFile } from "node:child_process";
import { globSync, statSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { cleanEnv, NODE } from "../../support/run-altrace.ts";
import { tempDir } from "../../support/temp-dir.ts";

const ROOT = join(import.meta.dirname, "../../..");

test("what is compiled beforehand can be read by whoever runs it, and belongs to somebody else", async () => {
  using temp = tempDir();
  const folder = temp.path;
  const line = ["-c", 'umask 077 && exec "$0" scripts/precompile.ts', NODE];
  const env = { ...cleanEnv(), NODE_COMPILE_CACHE: folder };
  const { stdout } = await promisify(execFile)("sh", line, { cwd: ROOT, env });

  const [own = ""] = globSync("*", { cwd: folder });
  const files = globSync(`${own}/*`, { cwd: folder });
  const compiled = Number(/^\d+/.exec(stdout)?.[0]);
  expect(compiled).toBeGreaterThan(5);
  expect(files.length).toBeGreaterThanOrEqual(compiled);
  const modes = [own, ...files].map((file) => statSync(join(folder, file)).mode & 0o777);
  expect(modes.filter((mode) => mode !== 0o644)).toEqual([0o755]);
});
