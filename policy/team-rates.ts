import type { RateLimit, RateMetric } from "./compiled-policy.ts";
import type { Rate, TeamDocument } from "./policy-document.ts";

const METRICS = ["requests", "tokens", "usd_micros"] as const satisfies readonly RateMetric[];
const DAY_MS = 86_400_000n;

/**
 * The rate of each agent of a team.
 *
 * A request charges one bucket a metric, its agent's, so a team's rate is kept by dividing it:
 * agents that name a rate have that, and the others share evenly what is left. Then the agents'
 * buckets together never let through more than the team's would.
 *
 * @returns By agent's name; or, when the team's rate cannot be divided so, why not.
 */
export function divideRates(
  team: TeamDocument,
):
  | { readonly ok: true; readonly rates: ReadonlyMap<string, Rate> }
  | { readonly ok: false; readonly message: string } {
  const rates = new Map<string, RateLimit[]>();
  for (const name of team.agents.keys()) rates.set(name, []);
  for (const metric of METRICS) {
    const whole = limitOf(team.rate, metric);
    const common = limitOf(team.defaults.rate, metric);
    const without: RateLimit[][] = [];
    const named: RateLimit[] = [];
    for (const [name, agent] of team.agents) {
      const own = limitOf(agent.rate, metric) ?? common;
      const mine = rates.get(name) as RateLimit[];
      if (own === undefined) {
        without.push(mine);
      } else {
        named.push(own);
        mine.push(own);
      }
    }
    if (whole === undefined) continue;
    const rest = takeOff(whole, named);
    if (rest === undefined) {
      return {
        ok: false,
        message: `the agents' rates of ${metric} add up to more than the team's`,
      };
    }
    if (without.length === 0) continue;
    const share = shareOf(rest, without.length);
    if (share === undefined) {
      const message = `the rate of ${metric} left for ${without.length} agents is less than 1 each`;
      return { ok: false, message };
    }
    for (const mine of without) mine.push(share);
  }
  return { ok: true, rates };
}

function limitOf(rate: Rate, metric: RateMetric): RateLimit | undefined {
  return rate.find((limit) => limit.metric === metric);
}

/** What is left of `whole`, in amounts of its window; `undefined` when `parts` are more than it. */
function takeOff(whole: RateLimit, parts: readonly RateLimit[]): RateLimit | undefined {
  let perDay = BigInt(whole.amount) * (DAY_MS / BigInt(whole.windowMs));
  let burst = BigInt(whole.burst);
  for (const part of parts) {
    perDay -= BigInt(part.amount) * (DAY_MS / BigInt(part.windowMs));
    burst -= BigInt(part.burst);
  }
  if (perDay < 0n || burst < 0n) return undefined;
  // Rounded down: a share is never more than its part of the whole.
  const amount = Number(perDay / (DAY_MS / BigInt(whole.windowMs)));
  return { ...whole, amount, burst: Number(burst) };
}

function shareOf(rest: RateLimit, count: number): RateLimit | undefined {
  const amount = Math.floor(rest.amount / count);
  const burst = Math.floor(rest.burst / count);
  return amount < 1 || burst < 1 ? undefined : { ...rest, amount, burst };
}
