import fc from "fast-check";
import { expect, test } from "vitest";
import type { RateLimit } from "../../../policy/compiled-policy.ts";
import type { GrantDocument, TeamDocument } from "../../../policy/policy-document.ts";
import { divideRates } from "../../../policy/team-rates.ts";

const windows = [1000, 60_000, 3_600_000, 86_400_000];
const rate = (amount: number, windowMs = 60_000, burst = amount): RateLimit => ({
  metric: "requests",
  amount,
  windowMs,
  burst,
});

function team(
  whole: readonly RateLimit[],
  agents: readonly (readonly RateLimit[])[],
): TeamDocument {
  const grant = (own: readonly RateLimit[]): GrantDocument => ({ budget: [], rate: own });
  return {
    budget: [],
    rate: whole,
    defaults: grant([]),
    agents: new Map(agents.map((own, i) => [`a${i}`, grant(own)])),
  };
}

function ratesOf(of: TeamDocument): readonly (readonly RateLimit[])[] {
  const divided = divideRates(of);
  if (!divided.ok) throw new Error(divided.message);
  return [...of.agents.values()].map((agent) => divided.rates.get(agent.rate) ?? []);
}

test("agents that name a rate have it, and the others share the rest", () => {
  const rates = ratesOf(team([rate(100)], [[rate(40, 60_000, 30)], [], []]));
  expect(rates).toEqual([[rate(40, 60_000, 30)], [rate(30, 60_000, 35)], [rate(30, 60_000, 35)]]);
});

test("an agent's own rate goes before its team's default, metric by metric", () => {
  const tokens: RateLimit = { ...rate(500), metric: "tokens" };
  const of = team([], [[rate(5)], []]);
  const rates = ratesOf({ ...of, defaults: { budget: [], rate: [rate(9), tokens] } });
  expect(rates).toEqual([
    [rate(5), tokens],
    [rate(9), tokens],
  ]);
});

test("what does not fit the team's is refused: amounts, bursts, and shares of nothing", () => {
  expect(divideRates(team([rate(100)], [[rate(60)], [rate(41)]])).ok).toBe(false);
  expect(divideRates(team([rate(100, 60_000, 10)], [[rate(1, 60_000, 11)]])).ok).toBe(false);
  expect(divideRates(team([rate(1)], [[], []])).ok).toBe(false);
  expect(divideRates(team([rate(100)], [[rate(60)], [rate(40)]])).ok).toBe(true);
  // 2 a second are 120 a minute.
  expect(divideRates(team([rate(119)], [[rate(2, 1000, 2)]])).ok).toBe(false);
  expect(divideRates(team([rate(120)], [[rate(2, 1000, 2)]])).ok).toBe(true);
});

test("the agents' buckets together never let through more than the team's would", () => {
  const any = fc
    .tuple(fc.integer({ min: 1, max: 5000 }), fc.constantFrom(...windows), fc.nat(5000))
    .map(([amount, windowMs, burst]) => rate(amount, windowMs, burst + 1));
  const own = fc.option(any, { nil: undefined }).map((limit) => (limit ? [limit] : []));
  fc.assert(
    fc.property(any, fc.array(own, { minLength: 1, maxLength: 5 }), (whole, agents) => {
      const of = team([whole], agents);
      fc.pre(divideRates(of).ok);
      const all = ratesOf(of).flat();
      expect(all).toHaveLength(agents.length);
      const perDay = (limit: RateLimit) =>
        BigInt(limit.amount) * BigInt(86_400_000 / limit.windowMs);
      const sum = all.reduce((total, limit) => total + perDay(limit), 0n);
      const burst = all.reduce((total, limit) => total + limit.burst, 0);
      expect(sum <= perDay(whole)).toBe(true);
      expect(burst).toBeLessThanOrEqual(whole.burst);
    }),
    { numRuns: 1000 },
  );
});
