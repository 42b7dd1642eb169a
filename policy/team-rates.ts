import type { AgentRateLimit, RateLimit, RateMetric } from "./compiled-policy.ts";
import type { Rate, TeamDocument } from "./policy-document.ts";

export const RATE_METRICS = [
  "requests",
  "tokens",
  "usd_micros",
] as const satisfies readonly RateMetric[];

/** What bounds an agent in one metric: its own rate, or its team's default, and the team's. */
export type RateBounds = {
  readonly own: RateLimit | undefined;
  readonly team: RateLimit | undefined;
};

/** What bounds the agent, by metric; metrics that nothing bounds are left out. */
export function rateBoundsOf(
  team: Pick<TeamDocument, "rate" | "defaults">,
  agent: { readonly rate: Rate },
): ReadonlyMap<RateMetric, RateBounds> {
  const bounds = new Map<RateMetric, RateBounds>();
  for (const metric of RATE_METRICS) {
    const own = rateOf(agent.rate, metric) ?? rateOf(team.defaults.rate, metric);
    const whole = rateOf(team.rate, metric);
    if (own !== undefined || whole !== undefined) bounds.set(metric, { own, team: whole });
  }
  return bounds;
}

/**
 * What an agent may have at most, when nobody else of its team asks for anything. A team's rate is not
 * divided by policy: it is lent to those of its agents that ask, so the agents' own rates may add up to
 * more than it.
 */
export function rateWithin({ own, team }: RateBounds): AgentRateLimit {
  if (team === undefined) {
    if (own === undefined) throw new Error("invariant broken: bounds bound something");
    return own;
  }
  if (own === undefined) return { ...team, shared: true };
  const slower = isFaster(own, team) ? team : own;
  return { ...slower, burst: Math.min(own.burst, team.burst), shared: true };
}

/** The agent's rate, met with its team's. */
export function agentRate(
  team: Pick<TeamDocument, "rate" | "defaults">,
  agent: { readonly rate: Rate },
): readonly AgentRateLimit[] {
  return [...rateBoundsOf(team, agent).values()].map(rateWithin);
}

export function rateOf(rate: Rate, metric: RateMetric): RateLimit | undefined {
  return rate.find((limit) => limit.metric === metric);
}

/** Amounts are compared as fractions, whatever window they are counted in. */
export function isFaster(one: RateLimit, other: RateLimit): boolean {
  return BigInt(one.amount) * BigInt(other.windowMs) > BigInt(other.amount) * BigInt(one.windowMs);
}
