import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, test, vi } from "vitest";
import { proofCount } from "../support/proof.ts";
import { NODE } from "../support/run-altrace.ts";
import { MUTATIONS } from "./mutations.ts";
import { ORACLES } from "./oracles/all.ts";

/** Ends what hangs, however busy the machine is. */
vi.setConfig({ testTimeout: 900_000 });

const RUN = join(import.meta.dirname, "run.ts");
const README = readFileSync(join(import.meta.dirname, "README.md"), "utf8");
/** So many that most of the known mutations would be noticed in them, as README.md has it. */
const FIXED_SEEDS = 12;
/** Beside the fixed ones: small worlds and large ones from seeds that nobody has chosen. */
const SMALL = proofCount("simulated small worlds", { small: 1, full: 300 });
const LARGE = proofCount("simulated large worlds", { small: 0, full: 40 });

/** In a process of its own, whose clock and chance are poisoned; says what it printed. */
async function simulate(
  seed: number,
  count: number,
  of: { readonly size: string; readonly also?: readonly number[] },
): Promise<string> {
  const { size, also = [] } = of;
  const seeds = [`--seed=${seed}`, `--count=${count}`, `--also=${also.join(",")}`];
  const args = [RUN, ...seeds, `--size=${size}`, "--verbose"];
  const ran = await promisify(execFile)(NODE, args).catch((error: { stdout: string }) => error);
  return ran.stdout;
}

/** What was seen of one world each time, without the time that it took. */
function seenOf(printed: string, seed: number): readonly string[] {
  const lines = printed.split("\n").filter((one) => one.startsWith(`${seed} `));
  return lines.map((line) => line.replace(/ \d+ ms /, " "));
}

describe("simulated worlds", () => {
  test(`contradict no oracle at ${FIXED_SEEDS} fixed seeds and at drawn ones, and follow from their seed alone`, async () => {
    // In one process: what a world leaves behind must not change another either.
    const drawn = Array.from({ length: SMALL.count }, (_, no) => SMALL.seed + no);
    const printed = await simulate(1, FIXED_SEEDS, {
      size: "small",
      also: [FIXED_SEEDS, ...drawn],
    });
    expect(printed).toContain("no oracle was contradicted");
    const [once, again] = seenOf(printed, FIXED_SEEDS);
    expect(once).toBeDefined();
    expect(again).toBe(once);
  });

  test.runIf(LARGE.count > 0)("contradict no oracle in large ones", async () => {
    const large = await simulate(LARGE.seed, LARGE.count, { size: "large" });
    expect(large).toContain("no oracle was contradicted");
  });
});

describe("README", () => {
  test("names every oracle and its rule", () => {
    for (const { name, rule } of ORACLES) expect(README).toContain(`| \`${name}\` | ${rule} |`);
  });

  test.each([
    ...["K1", "K2", "K3", "K4", "K5", "K6", "K7"],
    ...["I1", "I2", "I3", "I4", "I5", "I6", "I7", "I8", "I9"],
  ])("%s is the rule of an oracle", (invariant) => {
    const named = new RegExp(`\\([^()]*\\b${invariant}\\b[^()]*\\)`);
    expect(ORACLES.filter(({ rule }) => named.test(rule))).not.toEqual([]);
  });

  test("names every mutation, and an oracle that notices it", () => {
    for (const { name, oracles } of MUTATIONS) {
      const row = README.split("\n").find((line) => line.startsWith(`| ${name} |`)) ?? "";
      expect(oracles.filter((oracle) => row.includes(`\`${oracle}\``))).not.toEqual([]);
    }
  });
});
