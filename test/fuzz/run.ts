// Fuzzes: `npm run fuzz -- <target> [--minutes N] [--seed S]`, or all targets in turn without a name.
// Ends with 1 at the first input of which something does not hold that must, and prints it.

import { parseArgs } from "node:util";
import { fuzz } from "./fuzz.ts";
import { TARGETS } from "./targets.ts";

const { values: flags, positionals: names } = parseArgs({
  allowPositionals: true,
  options: {
    minutes: { type: "string", default: "1" },
    seed: { type: "string", default: String(Date.now() % 2 ** 32) },
  },
});

const known = TARGETS.map(({ name }) => name);
const minutes = Number(flags.minutes);
const seed = Number(flags.seed);
if (names.some((name) => !known.includes(name)) || !(minutes > 0) || !Number.isInteger(seed)) {
  console.error(`usage: npm run fuzz -- [${known.join(" | ")}] [--minutes N] [--seed S]`);
  process.exit(2);
}

for (const target of TARGETS.filter(({ name }) => names.length === 0 || names.includes(name))) {
  const untilMs = Date.now() + minutes * 60_000;
  const result = await fuzz(target, { seed, isOver: () => Date.now() >= untilMs });
  const { runs, corpus, blocks, failure } = result;
  console.log(
    `${target.name}: ${runs} inputs, seed ${seed}, ${blocks} blocks reached, ${corpus} inputs kept`,
  );
  if (failure === undefined) continue;
  console.log(failure.error);
  console.log(`input, cut at ${failure.cut}: ${Buffer.from(failure.input).toString("hex")}`);
  process.exit(1);
}
