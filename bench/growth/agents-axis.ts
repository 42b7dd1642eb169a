import { benchPolicy } from "../fixtures/policy.ts";
import { type Axis, RESERVE_WAIT_MS } from "./axis.ts";

/** Agents that a policy names, each with a budget, a table row to come and a place in every look-up. */
export function agentsAxis(): Axis {
  return {
    name: "agents",
    of: "agents in the policy",
    points: { full: [1, 10, 100, 1_000, 10_000, 99_990], short: [1, 1_000, 99_990] },
    end: "a policy of more than 100,000 agents is refused, and has two of the bench's own; 1,000,000 known ones are the bench `activation`",
    raise: async ({ operator, upstream, keys }, crowd) => {
      const policy = { upstream: upstream.url, crowd, reserveWaitMs: RESERVE_WAIT_MS };
      await operator.applyPolicy(benchPolicy(policy));
      return keys.neighbour;
    },
  };
}
