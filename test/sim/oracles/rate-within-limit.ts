import type { ContractAccount } from "../../../coordinator/contract-account.ts";
import type { RequestRate } from "../sim-policy.ts";
import { agentOf, type Judged, type Oracle } from "./oracle.ts";

/** Clocks of nodes may run so much faster. */
const DRIFT = 1.002;
/** A new leader of the ledger has forgotten how full buckets are by the time that old shares have ended. */
const FORGOTTEN_MS = 15_000;

type Passed = { readonly requestId: string; readonly atMs: number };

export const rateWithinLimit: Oracle = {
  name: "rate-within-limit",
  rule: "Over any time all nodes together let through no more requests of an agent, of all agents of a team, and of a contract and all that was delegated from it, than its burst and what came back, but for one burst for each new leader of the ledger, or for each start of the node that serves a root contract, and one request a node where an agent's rate is no team's.",
  watch: (world) => {
    const limits = limitsOf(world);
    /** By agent or team, in order of time: what was charged to its rate and not given back. */
    const passed = new Map<string, Map<string, Passed>>();
    /** Whose rates a request was charged to. */
    const bounds = new Map<string, readonly string[]>();
    const sent = new Set<string>();
    const givenBackMs = new Map<string, number[]>();
    const leadsMs: number[] = [];
    const bootsMs = new Map<string, number[]>();
    let isLed = false;
    const giveBack = (requestId: string): void => {
      for (const whose of bounds.get(requestId) ?? []) {
        if (!passed.get(whose)?.delete(requestId)) continue;
        givenBackMs.set(whose, [...(givenBackMs.get(whose) ?? []), world.time.nowMs]);
      }
    };
    return {
      on: (event) => {
        if (event.t === "contract") {
          limits.set(`contract/${event.after.id}`, limitOfContract(event.after));
        }
        if (event.t === "restored") {
          bootsMs.set(event.node, [...(bootsMs.get(event.node) ?? []), world.time.nowMs]);
        }
        if (event.t === "led") {
          // Before the first leader nobody had anything that could be forgotten.
          if (isLed) leadsMs.push(world.time.nowMs);
          isLed = true;
        }
        if (event.t === "sent") sent.add(event.requestId);
        if (event.t === "settled" && !sent.has(event.record.rid)) giveBack(event.record.rid);
        if (event.t !== "decided" || event.record.ph !== "request") return undefined;
        const { rid, dec, ag, c } = event.record;
        if (dec === "deny") return undefined;
        const bound = boundsOf(world, agentOf(ag), c?.id);
        bounds.set(rid, bound);
        for (const whose of bound) {
          const own = passed.get(whose) ?? new Map<string, Passed>();
          passed.set(whose, own.set(rid, { requestId: rid, atMs: world.time.nowMs }));
        }
        return undefined;
      },
      atEnd: () => {
        for (const [whose, limit] of limits) {
          const requests = [...(passed.get(whose)?.values() ?? [])];
          if (requests.length === 0) continue;
          const wrong = firstExcess(requests, limit, {
            spare: limit.isShared ? 0 : world.nodes.length,
            givenBackMs: givenBackMs.get(whose) ?? [],
            forgottenMs: limit.isLent ? leadsMs : (bootsMs.get(limit.node ?? "") ?? []),
          });
          if (wrong !== undefined) return `${whose}: ${wrong}`;
        }
        return undefined;
      },
    };
  },
};

/** `isShared`: a team's, or of an agent whose team has one. Nobody is let through beyond it. */
type Limit = {
  readonly perMs: number;
  readonly burst: number;
  readonly isShared: boolean;
  /** By the ledger, to nodes; a contract's is its own. */
  readonly isLent: boolean;
  /** Serves the root contract whose rate it is, and begins with full buckets each time. */
  readonly node?: string;
};

/** What was delegated begins with empty buckets, each time. */
function limitOfContract({ parent, rate, node }: ContractAccount): Limit {
  const { burst, amount, seconds } = rate.req;
  const of = { perMs: amount / seconds / 1_000, burst, isShared: true, isLent: false };
  return parent === "" ? { ...of, node } : of;
}

/**
 * Whose rates bound a request. What policy gives an agent itself bounds each of its contracts by itself, and
 * is not looked at here; a contract's own is moved to what is delegated from it, so it bounds that as well.
 */
function boundsOf({ plane }: Judged, agentId: string, contractId: string | undefined) {
  const team = agentId.slice(0, agentId.indexOf("/"));
  const chain = plane.journal.chainOf(contractId).map(({ id }) => `contract/${id}`);
  return [...(chain.length === 0 ? [agentId] : chain), team];
}

function limitsOf({ budgets }: Judged): Map<string, Limit> {
  const limits = new Map<string, Limit>();
  const set = (whose: string, rate: RequestRate | undefined, isShared: boolean): void => {
    if (rate === undefined) return;
    const { requestsPerMinute, burst } = rate;
    limits.set(whose, { perMs: requestsPerMinute / 60_000, burst, isShared, isLent: true });
  };
  for (const [team, { agents, rate: whole }] of budgets) {
    set(team, whole, true);
    for (const [name, { rate }] of agents) set(`${team}/${name}`, rate, whole !== undefined);
  }
  return limits;
}

/** What was given back late may let one more through; what is missing from the count is not due to it. */
function firstExcess(
  passed: readonly Passed[],
  { perMs, burst }: Limit,
  of: {
    readonly spare: number;
    readonly givenBackMs: readonly number[];
    /** When it was forgotten how full the bucket was. */
    readonly forgottenMs: readonly number[];
  },
): string | undefined {
  for (const [first, { atMs: fromMs }] of passed.entries()) {
    for (let last = first; last < passed.length; last++) {
      const { atMs: toMs } = passed[last] as Passed;
      const within = (earlierMs: number) => (atMs: number) =>
        atMs >= fromMs - earlierMs && atMs <= toMs;
      const count = last - first + 1;
      const back = of.givenBackMs.filter(within(0)).length;
      const bursts = 1 + of.forgottenMs.filter(within(FORGOTTEN_MS)).length;
      const most = burst * bursts + perMs * (toMs - fromMs) * DRIFT + back + of.spare;
      if (count <= most) continue;
      return `${count} requests in ${Math.round(toMs - fromMs)} ms, of ${most.toFixed(1)} at most`;
    }
  }
  return undefined;
}
