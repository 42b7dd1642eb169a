import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MUTATIONS, type Mutation } from "./mutations.ts";

const ROOT = join(import.meta.dirname, "..", "..");
const ROOMS = ["adapters", "audit", "authority", "cli", "coordinator", "mesh", "node", "policy"];
const COPIED = [...ROOMS, "ports", "proto", "test/sim", "package.json"];
/** Worlds that a broken rule may stay hidden in. */
const SEEDS_MAX = 60;
/** Ends what hangs: a broken rule may keep a world in one turn for ever, where nobody looks on. */
const TIMEOUT_MS = 300_000;

/**
 * Breaks one rule after another in a copy of the sources, and runs worlds until an oracle notices.
 *
 * @param wanted Names; none: all.
 * @returns False when a broken rule was not noticed, or by an oracle that is not about it.
 */
export function runMutations(wanted: readonly string[]): boolean {
  const folder = mkdtempSync(join(tmpdir(), "altrace-sim-"));
  try {
    for (const room of COPIED) cpSync(join(ROOT, room), join(folder, room), { recursive: true });
    symlinkSync(join(ROOT, "node_modules"), join(folder, "node_modules"));
    const unknown = wanted.filter((one) => !MUTATIONS.some(({ name }) => name === one));
    if (unknown.length > 0) throw new Error(`no mutation is called ${unknown.join(", ")}`);
    const chosen = MUTATIONS.filter(({ name }) => wanted.length === 0 || wanted.includes(name));
    return chosen.map((mutation) => isNoticed(folder, mutation)).every((noticed) => noticed);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function isNoticed(folder: string, mutation: Mutation): boolean {
  const { name, file, find, replace, oracles, fromSeed = 1 } = mutation;
  const path = join(folder, file);
  const text = readFileSync(path, "utf8");
  if (text.split(find).length !== 2) {
    console.log(`${name}: ${file} does not have the line any more that it breaks`);
    return false;
  }
  writeFileSync(
    path,
    text.replace(find, () => replace),
  );
  const args = ["test/sim/run.ts", `--seed=${fromSeed}`, `--count=${SEEDS_MAX}`];
  const { stdout, stderr } = spawnSync(process.execPath, args, {
    cwd: folder,
    encoding: "utf8",
    timeout: TIMEOUT_MS,
  });
  writeFileSync(path, text);
  const [, seed, oracle = "nobody"] = /^seed (\d+): (\S+) is contradicted/m.exec(stdout) ?? [];
  const isRight = oracles.includes(oracle);
  const detail = stdout.split("\n")[1]?.trim() ?? stderr.slice(-300);
  console.log(`${isRight ? "caught" : "NOT CAUGHT"}  ${name}: ${oracle} at seed ${seed ?? "none"}`);
  if (!isRight) console.log(`  expected ${oracles.join(" or ")}; ${detail}`);
  return isRight;
}
