import type { RateLimit, RateMetric } from "./compiled-policy.ts";
import type { Rate, TeamDocument } from "./policy-document.ts";

const METRICS = ["requests", "tokens", "usd_micros"] as const satisfies readonly RateMetric[];
const DAY_MS = 86_400_000n;

/** Agents that are counted in one step. */
const COUNTED_AT_ONCE = 4_096;

export type DividedRates =
  /** By the list that an agent itself has: agents that have the same list are given the same. */
  | { readonly ok: true; readonly rates: ReadonlyMap<Rate, Rate> }
  /** The team's rate cannot be divided so; why not. */
  | { readonly ok: false; readonly message: string };

/** A limit, and how many agents have it. */
type Part = { readonly limit: RateLimit; readonly agents: number };

/**
 * The rate of each agent of a team.
 *
 * A request charges one bucket a metric, its agent's, so a team's rate is kept by dividing it:
 * agents that name a rate have that, and the others share evenly what is left. Then the agents'
 * buckets together never let through more than the team's would.
 */
export function divideRates(team: TeamDocument): DividedRates {
  const steps = divideRatesInSlices(team);
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
  }
}

/** The same in slices, for a thread that may not be away for long. */
export function* divideRatesInSlices(team: TeamDocument): Generator<void, DividedRates, void> {
  const counts = yield* countRates(team);
  const rates = new Map<Rate, RateLimit[]>([...counts.keys()].map((own) => [own, []]));
  for (const metric of METRICS) {
    yield;
    const whole = limitOf(team.rate, metric);
    const common = limitOf(team.defaults.rate, metric);
    const without: RateLimit[][] = [];
    const named: Part[] = [];
    let sharers = 0;
    for (const [own, agents] of counts) {
      const limit = limitOf(own, metric) ?? common;
      const mine = rates.get(own) as RateLimit[];
      if (limit === undefined) {
        without.push(mine);
        sharers += agents;
      } else {
        named.push({ limit, agents });
        mine.push(limit);
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
    if (sharers === 0) continue;
    const share = shareOf(rest, sharers);
    if (share === undefined) {
      const message = `the rate of ${metric} left for ${sharers} agents is less than 1 each`;
      return { ok: false, message };
    }
    for (const mine of without) mine.push(share);
  }
  return { ok: true, rates };
}

function* countRates({ agents }: TeamDocument): Generator<void, Map<Rate, number>, void> {
  const counts = new Map<Rate, number>();
  let counted = 0;
  for (const { rate } of agents.values()) {
    counts.set(rate, (counts.get(rate) ?? 0) + 1);
    counted += 1;
    if (counted % COUNTED_AT_ONCE === 0) yield;
  }
  return counts;
}

function limitOf(rate: Rate, metric: RateMetric): RateLimit | undefined {
  return rate.find((limit) => limit.metric === metric);
}

/** What is left of `whole`, in amounts of its window; `undefined` when `parts` are more than it. */
function takeOff(whole: RateLimit, parts: readonly Part[]): RateLimit | undefined {
  let perDay = BigInt(whole.amount) * (DAY_MS / BigInt(whole.windowMs));
  let burst = BigInt(whole.burst);
  for (const { limit, agents } of parts) {
    perDay -= BigInt(agents) * BigInt(limit.amount) * (DAY_MS / BigInt(limit.windowMs));
    burst -= BigInt(agents) * BigInt(limit.burst);
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
