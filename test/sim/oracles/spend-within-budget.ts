import { type KnownRequest, RequestLedger } from "../request-ledger.ts";
import { OVERRUN_LIMIT_MICROS } from "../sim-policy.ts";
import type { Judged, Oracle } from "./oracle.ts";

const HOUR_MS = 3_600_000;
/** A lease ends with its window by its node's clock, which may run so much slower. */
const DRIFT_MS = 200;

export const spendWithinBudget: Oracle = {
  name: "spend-within-budget",
  rule: "What the provider bills for an agent or a team stays within its budget, up to what the overrun account bounds.",
  watch: (world) => {
    const ledger = new RequestLedger(() => world.plane.nowMs());
    const limits = limitsOf(world);
    const spent = new Map<string, number>();
    let overrun = 0;
    const add = (account: Account, key: string, amount: number): string | undefined => {
      const sum = (spent.get(key) ?? 0) + amount;
      spent.set(key, sum);
      if (sum <= account.limit) return undefined;
      return `${key} spent ${Math.round(sum)} of ${account.limit} micro-dollars`;
    };
    const charge = (request: KnownRequest): string | undefined => {
      const billed = request.billed ?? 0;
      overrun += Math.max(0, billed - request.held);
      if (overrun > OVERRUN_LIMIT_MICROS) return `${overrun} micro-dollars over all holds`;
      const own = Math.min(billed, request.held);
      for (const name of accountsOf(request.agentId)) {
        const account = limits.get(name);
        if (account === undefined) return `${name} has no budget`;
        const wrong = add(account, `${name} ${windowOf(account, request.decidedMs)}`, own);
        if (wrong) return wrong;
      }
      return undefined;
    };
    return {
      on: (event) => {
        if (event.t === "limited") raise(limits, event.account, event.usdMicros);
        const request = ledger.take(event);
        if (event.t !== "sent") return undefined;
        return request ? charge(request) : `${event.requestId} was sent and never decided`;
      },
    };
  },
};

type Account = { limit: number; readonly window: "total" | "hour" };

function limitsOf({ budgets }: Judged): Map<string, Account> {
  const limits = new Map<string, Account>();
  for (const [team, { usdMicros, window, agents }] of budgets) {
    limits.set(`team/${team}`, { limit: usdMicros, window });
    for (const [agent, budget] of agents) {
      limits.set(`agent/${team}/${agent}`, { limit: budget.usdMicros, window: budget.window });
    }
  }
  return limits;
}

/** The most that was ever signed counts: what is taken is not taken back when a limit falls. */
function raise(limits: Map<string, Account>, account: string, usdMicros: number): void {
  const known = limits.get(account);
  if (known) known.limit = Math.max(known.limit, usdMicros);
}

function accountsOf(agentId: string): readonly string[] {
  return [`agent/${agentId}`, `team/${agentId.split("/")[0]}`];
}

function windowOf({ window }: Account, atMs: number): string {
  return window === "total" ? "total" : String(Math.floor((atMs - DRIFT_MS) / HOUR_MS));
}
