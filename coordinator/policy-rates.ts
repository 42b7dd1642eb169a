import { RATE_METRICS, type RateLags } from "../mesh/rate-share.ts";
import { divideRates } from "../policy/team-rates.ts";
import { policyOfBundle } from "./policy-of-bundle.ts";

const US_PER_MS = 1_000;

/**
 * How long each agent's empty buckets take to fill up, microseconds, by account; agents without a rate
 * have no entry. Nothing of what is no policy.
 */
export function emptyLagsOfPolicy(bundle: Uint8Array): ReadonlyMap<string, RateLags> {
  const read = policyOfBundle(bundle);
  const lags = new Map<string, RateLags>();
  if (!read.ok) return lags;
  for (const [teamName, team] of read.document.teams) {
    const divided = divideRates(team);
    if (!divided.ok) continue;
    for (const [name, { rate: own }] of team.agents) {
      const rate = divided.rates.get(own) ?? [];
      const [requests = 0, tokens = 0, usdMicros = 0] = RATE_METRICS.map((metric) => {
        const limit = rate.find((one) => one.metric === metric);
        return limit === undefined ? 0 : fillUs(limit);
      });
      if (rate.length > 0) lags.set(`agent/${teamName}/${name}`, [requests, tokens, usdMicros]);
    }
  }
  return lags;
}

function fillUs(limit: {
  readonly amount: number;
  readonly windowMs: number;
  readonly burst: number;
}) {
  return Math.ceil((limit.burst * limit.windowMs * US_PER_MS) / limit.amount);
}
