import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { ROOT, runCommand } from "./run-command.ts";

/** One check: what is wrong, or `undefined`. */
export type Check = { readonly name: string; readonly run: () => Promise<string | undefined> };

/** Everything that is judged without running the product, in the order of its price. */
export const CHECKS: readonly Check[] = [
  { name: "format and lint (biome ci)", run: () => clean("biome", ["ci", "--colors=off", "."]) },
  { name: "proto (buf lint)", run: () => clean("buf", ["lint"]) },
  { name: "generated code is what proto/ says", run: generatedDiffers },
  { name: "types (tsc)", run: () => clean("tsc", ["--noEmit", "-p", "."]) },
  { name: "nothing unused (knip)", run: () => clean("knip", ["--no-progress"]) },
];

/** What is wrong with some work, for a check: why it failed, or `undefined`. */
export async function wrongIn(work: () => Promise<void>): Promise<string | undefined> {
  try {
    await work();
    return undefined;
  } catch (error) {
    return String(error);
  }
}

/** Runs one check and says so in a line. */
export async function runCheck({ name, run }: Check): Promise<boolean> {
  const startedNs = process.hrtime.bigint();
  const wrong = await run();
  const seconds = Number((process.hrtime.bigint() - startedNs) / 100_000_000n) / 10;
  console.log(`${wrong === undefined ? "ok    " : "FAILED"} ${name} (${seconds} s)`);
  if (wrong !== undefined) console.log(wrong.replaceAll(/^/gm, "       "));
  return wrong === undefined;
}

async function clean(program: string, args: readonly string[]): Promise<string | undefined> {
  const { code, output } = await runCommand(program, args, { env: { NO_COLOR: "1" } });
  return code === 0 ? undefined : output.trimEnd() || `${program} ends with ${code}`;
}

async function generatedDiffers(): Promise<string | undefined> {
  const folder = mkdtempSync(join(tmpdir(), "altrace-generated-"));
  try {
    const { code, output } = await runCommand("buf", ["generate", "-o", folder]);
    if (code !== 0) return output;
    const wanted = textsOf(join(folder, "proto", "gen"));
    const committed = textsOf(join(ROOT, "proto", "gen"));
    if (wanted.size === 0) return "buf generated nothing";
    const names = [...new Set([...wanted.keys(), ...committed.keys()])].sort();
    const wrong = names.filter((name) => wanted.get(name) !== committed.get(name));
    return wrong.length === 0 ? undefined : `run \`npm run generate\`; ${wrong.join(", ")} differ`;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function textsOf(folder: string): ReadonlyMap<string, string> {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
  return new Map(files.map((file) => [relative(folder, file), readFileSync(file, "utf8")]));
}
