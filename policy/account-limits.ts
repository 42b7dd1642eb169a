import { mergeBudgets } from "./merge-budgets.ts";
import type { AccountUnit, AccountWindow, Budget, PolicyDocument } from "./policy-document.ts";

/** One limit of one account of the mesh's ledger. */
export type AccountLimit = {
  /** `team/<t>`, `agent/<t>/<a>` or `overrun`. */
  readonly account: string;
  /** The account that this one's charges count against too; a team and `overrun` have none. */
  readonly parent: string | undefined;
  readonly unit: AccountUnit;
  readonly window: AccountWindow;
  /** Micro-dollars, tokens or calls. */
  readonly limit: number;
};

/**
 * Every limit that a policy sets.
 *
 * A unit that an account has no limit for is bounded by its parent alone; `accountParents` has also
 * those accounts that have no limit of their own.
 */
export function accountLimits(document: PolicyDocument): readonly AccountLimit[] {
  const limits: AccountLimit[] = [
    {
      account: "overrun",
      parent: undefined,
      unit: "usd_micros",
      window: "total",
      limit: document.overrunLimitUsdMicros,
    },
  ];
  for (const [teamName, team] of document.teams) {
    const parent = `team/${teamName}`;
    limits.push(...limitsOf(team.budget, { account: parent, parent: undefined }));
    for (const [name, agent] of team.agents) {
      const budget = mergeBudgets(agent.budget, team.defaults.budget);
      limits.push(...limitsOf(budget, { account: `agent/${teamName}/${name}`, parent }));
    }
  }
  return limits;
}

/** Every account of a policy and its parent. */
export function accountParents(document: PolicyDocument): ReadonlyMap<string, string | undefined> {
  const parents = new Map<string, string | undefined>([["overrun", undefined]]);
  for (const [teamName, team] of document.teams) {
    parents.set(`team/${teamName}`, undefined);
    for (const name of team.agents.keys()) {
      parents.set(`agent/${teamName}/${name}`, `team/${teamName}`);
    }
  }
  return parents;
}

function limitsOf(
  budget: Budget,
  of: { readonly account: string; readonly parent: string | undefined },
): readonly AccountLimit[] {
  return budget.map(({ unit, window, limit }) => ({ ...of, unit, window, limit }));
}
