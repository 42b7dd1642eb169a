import { expect, test } from "vitest";
import type { RateLimit } from "../../../policy/compiled-policy.ts";
import { agentRate } from "../../../policy/team-rates.ts";

const rate = (amount: number, windowMs = 60_000, burst = amount): RateLimit => ({
  metric: "requests",
  amount,
  windowMs,
  burst,
});

function rateOf(whole: readonly RateLimit[], own: readonly RateLimit[], common: RateLimit[] = []) {
  return agentRate({ rate: whole, defaults: { budget: [], rate: common } }, { rate: own });
}

test("an agent that names no rate may have all of its team's, with the others", () => {
  expect(rateOf([rate(100)], [])).toEqual([{ ...rate(100), shared: true }]);
});

test("an agent's own rate bounds it within its team's, and alone where the team has none", () => {
  const own = rate(40, 60_000, 30);
  expect(rateOf([rate(100)], [own])).toEqual([{ ...own, shared: true }]);
  expect(rateOf([], [own])).toEqual([own]);
  // Faster in the long run, with a smaller burst.
  const quick = rate(200, 60_000, 10);
  expect(rateOf([rate(100)], [quick])).toEqual([{ ...rate(100, 60_000, 10), shared: true }]);
});

test("amounts of different windows are compared as fractions", () => {
  const whole = rate(119);
  expect(rateOf([whole], [rate(2, 1_000, 2)])[0]).toMatchObject({ amount: 119, burst: 2 });
  expect(rateOf([rate(120)], [rate(2, 1_000, 2)])[0]).toMatchObject({ amount: 2, burst: 2 });
});

test("an agent's own rate goes before its team's default, metric by metric", () => {
  const tokens: RateLimit = { ...rate(500), metric: "tokens" };
  expect(rateOf([], [rate(5)], [rate(9), tokens])).toEqual([rate(5), tokens]);
  expect(rateOf([], [], [rate(9), tokens])).toEqual([rate(9), tokens]);
});
