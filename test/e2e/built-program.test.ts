import { appendFileSync, cpSync, readdirSync, symlinkSync } from "node:fs";
import { basename, join } from "node:path";
import { expect, test, vi } from "vitest";
import { E2E_TIMEOUTS, NODE, startProgram } from "../support/run-altrace.ts";
import { tempDir } from "../support/temp-dir.ts";

vi.setConfig(E2E_TIMEOUTS);

const ROOT = join(import.meta.dirname, "..", "..");
const SOURCES = /^(adapters|audit|authority|cli|coordinator|mesh|node|policy|ports|proto)$/;
/** Has the engine name every file that it loads. */
const NAMING = { NODE_DEBUG_NATIVE: "COMPILE_CACHE" };

/** Of the repository itself, what a process has said that it loads; packages left out. */
function loaded(root: string, said: string): ReadonlySet<string> {
  const files = [...said.matchAll(/reading cache from \S+ for \S+ file:\/\/(\S+?)\.\.\./g)].map(
    ([, file = ""]) => file,
  );
  return new Set(files.filter((file) => file.startsWith(root) && !file.includes("/node_modules/")));
}

test("sources that were changed are run themselves, and so are those of which nothing was built", async () => {
  using copy = tempDir();
  for (const name of readdirSync(ROOT).filter((one) => SOURCES.test(one)))
    cpSync(join(ROOT, name), join(copy.path, name), { recursive: true, preserveTimestamps: true });
  for (const name of ["package.json", "scripts"])
    cpSync(join(ROOT, name), join(copy.path, name), { recursive: true, preserveTimestamps: true });
  symlinkSync(join(ROOT, "node_modules"), join(copy.path, "node_modules"));
  const runs = async () => {
    const line = [NODE, join(copy.path, "cli", "altrace.js"), "--version"];
    const run = startProgram(line, { env: NAMING });
    expect((await run.ended).code).toBe(0);
    return [...loaded(copy.path, run.stdout() + run.stderr())].map((file) => basename(file));
  };
  expect(await runs()).toContain("main.ts");
  const built = join(copy.path, ".cache", "program");
  cpSync(join(ROOT, ".cache", "program"), built, { recursive: true });
  expect(await runs()).toContain("main.mjs");
  appendFileSync(join(copy.path, "node", "loop-worker.ts"), "\n");
  expect(await runs()).toContain("main.ts");
});
