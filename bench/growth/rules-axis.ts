import { benchPolicy } from "../fixtures/policy.ts";
import { type Axis, RESERVE_WAIT_MS } from "./axis.ts";

/** Content rules, each of which every request and every delta is scanned for. */
export function rulesAxis(): Axis {
  return {
    name: "rules",
    of: "content rules in the policy",
    points: { full: [1, 10, 100, 1_000, 9_990], short: [1, 100, 9_990] },
    end: "a policy of more than 10,000 content rules is refused, and has two of the bench's own",
    raise: async ({ operator, upstream, keys }, rules) => {
      const policy = { upstream: upstream.url, crowd: 0, rules, reserveWaitMs: RESERVE_WAIT_MS };
      await operator.applyPolicy(benchPolicy(policy));
      return keys.neighbour;
    },
  };
}
