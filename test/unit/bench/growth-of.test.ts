import { expect, test } from "vitest";
import { growthOf } from "../../../bench/growth/growth-of.ts";

const BUDGET = { agents_growth: { must: 1.5 } };

/** A point at which a request costs so many bare proxies, whatever the machine did to both. */
function point(proxies: number) {
  const pairs = [20, 25, 40, 22, 21].map((baseline) => ({ subject: proxies * baseline, baseline }));
  return { pairs };
}

test("a first point that is dear hides no growth", () => {
  const { value, pairs } = growthOf("agents", [6, 3, 4, 6].map(point), BUDGET);
  expect(value).toBeCloseTo(2);
  expect(pairs?.isBreach).toBe(true);
});

test("what falls has not grown", () => {
  const { value, pairs } = growthOf("agents", [6, 4, 3].map(point), BUDGET);
  expect(value).toBeCloseTo(0.75);
  expect(pairs?.isBreach).toBe(false);
});

test("one point shows no growth", () => {
  expect(() => growthOf("agents", [point(3)], BUDGET)).toThrow("no two points");
});
