// Simulates: `npm run sim -- --seed=N [--count=N] [--size=small|large] [--verbose]`. Ends with 1 at the
// first world in which an oracle is contradicted, and prints the command that repeats it.
// `npm run sim -- --mutations [--only=NAME ...]` breaks rules of the product and shows that oracles notice.

import { parseArgs } from "node:util";
import { poisonGlobals } from "./poison-globals.ts";
import { runMutations } from "./run-mutations.ts";
import { runWorld, type Violation } from "./world.ts";
import { SIZES } from "./world-sizes.ts";

const { values: flags } = parseArgs({
  options: {
    seed: { type: "string", default: "1" },
    count: { type: "string", default: "1" },
    // More seeds, after the others: the same one again must show the same.
    also: { type: "string", default: "" },
    size: { type: "string", default: "small" },
    verbose: { type: "boolean", default: false },
    mutations: { type: "boolean", default: false },
    only: { type: "string", multiple: true, default: [] },
  },
});

if (flags.mutations) process.exit(runMutations(flags.only) ? 0 : 1);

const first = Number(flags.seed);
const count = Number(flags.count);
const also = flags.also === "" ? [] : flags.also.split(",").map(Number);
const size = SIZES[flags.size as keyof typeof SIZES];
if (![first, count, ...also].every(Number.isSafeInteger) || size === undefined) {
  console.error("usage: npm run sim -- --seed=N [--count=N] [--size=small|large] [--verbose]");
  process.exit(2);
}

poisonGlobals();
let seed = first;
// Nobody waits for some promises of the product: what they reject with is a bug that it has met.
for (const event of ["uncaughtException", "unhandledRejection"] as const) {
  process.on(event, (error) => {
    const detail = error instanceof Error ? (error.stack ?? error.message) : String(error);
    fail({ oracle: "no-bug-is-met", detail, atMs: 0 });
  });
}
const seeds = Array.from({ length: count }, (_, no) => first + no);
for (seed of [...seeds, ...also]) {
  const began = process.hrtime.bigint();
  const { violation, counts } = await runWorld(seed, size);
  if (flags.verbose) {
    const ms = Number((process.hrtime.bigint() - began) / 1_000_000n);
    console.log(seed, ms, "ms", JSON.stringify(counts));
  }
  if (violation !== undefined) fail(violation);
}
const total = count + also.length;
console.log(`${total} worlds from seed ${first}, ${flags.size}: no oracle was contradicted`);

function fail({ oracle, detail, atMs }: Violation): never {
  console.log(`seed ${seed}: ${oracle} is contradicted after ${atMs} ms\n  ${detail}`);
  console.log(`  npm run sim -- --seed=${seed} --size=${flags.size}`);
  process.exit(1);
}
