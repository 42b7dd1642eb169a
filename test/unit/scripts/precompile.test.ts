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

  const compiled = Number(/^\d+/.exec(stdout)?.[0]);
  expect(compiled).toBeGreaterThan(5);
  // One for each set of flags that the engine runs under.
  const folders = globSync("*", { cwd: folder });
  expect(folders).toHaveLength(2);
  for (const own of folders) {
    const files = globSync(`${own}/*`, { cwd: folder });
    expect(files.length).toBeGreaterThanOrEqual(compiled);
    const modes = [own, ...files].map((file) => statSync(join(folder, file)).mode & 0o777);
    expect(modes.filter((mode) => mode !== 0o644)).toEqual([0o755]);
  }
});

test("the engine takes what an earlier start has compiled, for a node as for whoever asks it", async () => {
  const { NODE_COMPILE_CACHE, ...env } = cleanEnv();
  const run = async (word: string) => {
    const { stdout, stderr } = await promisify(execFile)(NODE, ["cli/altrace.js", word, "--help"], {
      cwd: ROOT,
      env: { ...env, NODE_DEBUG_NATIVE: "COMPILE_CACHE" },
    });
    return (stdout + stderr).split("\n").filter((line) => /was (accepted|rejected)/.test(line));
  };
  // Under other flags of the engine: neither must keep from the other what it has compiled.
  await run("node");
  await run("kill");
  const asked = [...(await run("node")), ...(await run("kill"))];
  expect(asked.length).toBeGreaterThan(5);
  expect(asked.filter((line) => line.includes("rejected"))).toEqual([]);
});
