import { type KnownRequest, RequestLedger } from "../request-ledger.ts";
import { OVERRUN_LIMIT_MICROS } from "../sim-policy.ts";
import type { Judged, Oracle } from "./oracle.ts";

const HOUR_MS = 3_600_000;
/**
 * How far the clocks by which leases of one hour end and those of the next begin may be from the one that
 * requests are timed by here. What is decided so close to the end of an hour may be of either.
 */
const DRIFT_MS = 200;

export const spendWithinBudget: Oracle = {
  name: "spend-within-budget",
  rule: "What the provider bills for an agent or a team stays within its budget, up to what the overrun account bounds.",
  watch: (world) => {
    const ledger = new RequestLedger(() => world.plane.nowMs());
    const limits = limitsOf(world);
    const spent = new Map<string, number>();
    let overrun = 0;
    const add = (name: string, of: { atMs: number; amount: number }): string | undefined => {
      const account = limits.get(name);
      if (account === undefined) return `${name} has no budget`;
      const windows = windowsAt(account, of.atMs);
      const key = `${name} ${windows.join(" or ")}`;
      spent.set(key, (spent.get(key) ?? 0) + of.amount);
      return beyond(account, { name, windows, spent });
    };
    const charge = (request: KnownRequest): string | undefined => {
      const billed = request.billed ?? 0;
      overrun += Math.max(0, billed - request.held);
      if (overrun > OVERRUN_LIMIT_MICROS) return `${overrun} micro-dollars over all holds`;
      const amount = Math.min(billed, request.held);
      for (const name of accountsOf(request.agentId)) {
        const wrong = add(name, { atMs: request.decidedMs, amount });
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

/** The windows that what is decided at that time may be of: one, or two that meet there. */
function windowsAt({ window }: Account, atMs: number): readonly string[] {
  if (window === "total") return ["total"];
  const [from, to] = [atMs - DRIFT_MS, atMs + DRIFT_MS].map((ms) => Math.floor(ms / HOUR_MS));
  return from === to ? [`${from}`] : [`${from}`, `${to}`];
}

/** What is of either of two windows must fit into what each of them has left. */
function beyond(
  { limit }: Account,
  of: {
    readonly name: string;
    readonly windows: readonly string[];
    readonly spent: ReadonlyMap<string, number>;
  },
): string | undefined {
  const sumOf = (window: string): number => of.spent.get(`${of.name} ${window}`) ?? 0;
  const tooMuch = (window: string, sum: number, most: number): string | undefined =>
    sum <= most
      ? undefined
      : `${of.name} ${window} spent ${Math.round(sum)} of ${most} micro-dollars`;
  for (const window of of.windows) {
    const wrong = tooMuch(window, sumOf(window), limit);
    if (wrong) return wrong;
  }
  const pairs = [...of.spent.keys()]
    .filter((key) => key.startsWith(`${of.name} `) && key.includes(" or "))
    .map((key) => key.slice(of.name.length + 1));
  for (const pair of pairs) {
    const sum = [pair, ...pair.split(" or ")].reduce((all, window) => all + sumOf(window), 0);
    const wrong = tooMuch(pair, sum, 2 * limit);
    if (wrong) return wrong;
  }
  return undefined;
}
