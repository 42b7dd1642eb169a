import { expect, test } from "vitest";
import { proofCount } from "../support/proof.ts";
import { fuzz } from "./fuzz.ts";
import type { Target } from "./target.ts";
import { TARGETS } from "./targets.ts";

const { count: RUNS, seed } = proofCount("fuzzed inputs", { small: 250, full: 30_000 });

test.each(TARGETS)("$name: nothing that must hold is contradicted", async (target) => {
  const { failure, runs } = await fuzz(target, {
    seed,
    isOver: (done) => done >= RUNS,
    batch: 100,
  });
  expect(failure).toBeUndefined();
  expect(runs).toBeGreaterThanOrEqual(RUNS);
});

test("what does not hold is found, and the input that shows it", async () => {
  const brittle: Target = {
    name: "brittle",
    seeds: [new Uint8Array([97, 98])],
    words: ["!"],
    run: (bytes) => {
      if (bytes.includes(33)) throw new Error("no exclamations");
    },
  };
  const { failure } = await fuzz(brittle, { seed, isOver: (done) => done >= 1_000 });
  expect(failure?.input).toContain(33);
});
