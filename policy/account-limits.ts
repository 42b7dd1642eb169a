import { mergeBudgets } from "./merge-budgets.ts";
import type { Budget, PolicyDocument } from "./policy-document.ts";

/** One account of the mesh's ledger, and what policy lets be spent there. */
export type PolicyAccount = {
  /** `team/<t>`, `agent/<t>/<a>` or `overrun`. */
  readonly account: string;
  /** The account that this one's charges count against too; a team and `overrun` have none. */
  readonly parent: string | undefined;
  /** A unit without a limit is bounded by the parent alone. Accounts with the same limits share one list. */
  readonly limits: Budget;
};

/** Every account of a policy; a step ends after each, for a thread that may not be away for long. */
export function* accountsOf(
  document: PolicyDocument,
): Generator<void, readonly PolicyAccount[], void> {
  const overrun = {
    unit: "usd_micros",
    window: "total",
    limit: document.overrunLimitUsdMicros,
  } as const;
  const accounts: PolicyAccount[] = [{ account: "overrun", parent: undefined, limits: [overrun] }];
  for (const [teamName, team] of document.teams) {
    const parent = `team/${teamName}`;
    accounts.push({ account: parent, parent: undefined, limits: team.budget });
    const merged = new Map<Budget, Budget>();
    for (const [name, { budget }] of team.agents) {
      const limits = merged.get(budget) ?? mergeBudgets(budget, team.defaults.budget);
      merged.set(budget, limits);
      accounts.push({ account: `agent/${teamName}/${name}`, parent, limits });
      yield;
    }
  }
  return accounts;
}
