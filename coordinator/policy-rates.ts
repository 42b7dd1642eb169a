import { RATE_METRICS } from "../mesh/rate-share.ts";
import type { RateLimit } from "../policy/compiled-policy.ts";
import { type RateBounds, rateBoundsOf, rateWithin } from "../policy/team-rates.ts";
import { policyOfBundle } from "./policy-of-bundle.ts";

const US_PER_MS = 1_000;

/** A rate that bounds an agent, and how much of it the agent's own is when it has all that it may have. */
export type PoolPart = {
  readonly name: string;
  readonly isTeam: boolean;
  /** How long its empty bucket takes to fill up, microseconds. */
  readonly emptyUs: number;
  /** Above 0, at most 1: of what comes back, and of what may be had at once. */
  readonly rate: number;
  readonly burst: number;
};

export type MetricRate = {
  /** How long the agent's empty bucket takes to fill up, microseconds. */
  readonly emptyUs: number;
  readonly isShared: boolean;
  readonly pools: readonly PoolPart[];
};

/** By metric; a metric without a limit has none. */
export type AgentRate = readonly (MetricRate | undefined)[];

export type AgentRates = {
  readonly policy: AgentRate;
  /** Of each row of a contract: its team's alone. What policy gives the agent bounds each contract by itself. */
  readonly contracts: AgentRate;
};

/** What bounds the rate of each agent, by account; agents without a rate have no entry. Nothing of what is no policy. */
export function ratesOfPolicy(bundle: Uint8Array): ReadonlyMap<string, AgentRates> {
  const read = policyOfBundle(bundle);
  const rates = new Map<string, AgentRates>();
  if (!read.ok) return rates;
  for (const [teamName, team] of read.document.teams) {
    // Agents that name no rate are bound by the same, and a large team has many of them.
    let common: AgentRates | undefined;
    const isBound = team.defaults.rate.length > 0;
    for (const [name, agent] of team.agents) {
      const isCommon = !isBound && agent.rate.length === 0;
      if (isCommon && common !== undefined) {
        rates.set(`agent/${teamName}/${name}`, common);
        continue;
      }
      const bounds = rateBoundsOf(team, agent);
      if (bounds.size === 0) continue;
      const account = `agent/${teamName}/${name}`;
      const policy = RATE_METRICS.map((metric) => {
        const bound = bounds.get(metric);
        return bound && metricRate(bound, { account, team: `team/${teamName}`, metric });
      });
      const rate = { policy, contracts: policy.map(ofTeam) };
      if (isCommon) common = rate;
      rates.set(account, rate);
    }
  }
  return rates;
}

function ofTeam(rate: MetricRate | undefined): MetricRate | undefined {
  if (!rate?.isShared) return undefined;
  return { ...rate, pools: rate.pools.filter(({ isTeam }) => isTeam) };
}

function metricRate(
  bounds: RateBounds,
  names: { readonly account: string; readonly team: string; readonly metric: string },
): MetricRate {
  const { own, team } = bounds;
  const limit = rateWithin(bounds);
  const { account, metric } = names;
  const pools: PoolPart[] = [];
  if (own) pools.push(poolPart(`${account} ${metric}`, { limit, of: own, isTeam: false }));
  if (team) pools.push(poolPart(`${names.team} ${metric}`, { limit, of: team, isTeam: true }));
  return { emptyUs: emptyUsOf(limit), isShared: team !== undefined, pools };
}

function poolPart(
  name: string,
  of: { readonly limit: RateLimit; readonly of: RateLimit; readonly isTeam: boolean },
): PoolPart {
  const { limit, of: whole, isTeam } = of;
  const rate = (limit.amount / limit.windowMs) * (whole.windowMs / whole.amount);
  const burst = limit.burst / whole.burst;
  return { name, isTeam, emptyUs: emptyUsOf(whole), rate: Math.min(1, rate), burst };
}

function emptyUsOf({ burst, windowMs, amount }: RateLimit): number {
  return Math.ceil((burst * windowMs * US_PER_MS) / amount);
}
