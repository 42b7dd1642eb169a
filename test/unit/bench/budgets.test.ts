import { expect, test } from "vitest";
import type { BenchResult } from "../../../bench/harness/bench.ts";
import { breaches } from "../../../bench/harness/budgets.ts";

function result(figures: BenchResult["figures"]): BenchResult {
  return { load: "", figures, notes: [] };
}

test("a figure at its limit is within it, one above is a breach", () => {
  const figures = [{ name: "violations", value: 1, unit: "" }];
  expect(breaches(result(figures), { violations: { must: 1 } })).toEqual([]);
  expect(breaches(result(figures), { violations: { must: 0 } })).toHaveLength(1);
});

test("a limit whose figure was not measured, or is no number, is a breach", () => {
  expect(breaches(result([]), { violations: { must: 0 } })).toHaveLength(1);
  const figures = [{ name: "violations", value: Number.NaN, unit: "" }];
  expect(breaches(result(figures), { violations: { must: 0 } })).toHaveLength(1);
});

test("what cannot be measured on this machine is no breach when its bench says why", () => {
  const skipped = new Map([["peer_ratio", "not to be had"]]);
  const budget = { peer_ratio: { must: 1 }, other: { must: 1 } };
  const over = breaches({ ...result([]), skipped }, budget);
  expect(over.map(({ figure }) => figure)).toEqual(["other"]);
});

test("pairs are judged as pairs", () => {
  const pairs = { median: 3, ratios: [3, 3, 1, 1, 3], over: 3, isBreach: false };
  const figures = [{ name: "cpu_ratio", value: 3, unit: "x", pairs }];
  expect(breaches(result(figures), { cpu_ratio: { must: 2 } })).toEqual([]);
});
