import { type Facts, isMissing } from "../facts.ts";
import { asRefusal, type Charges, type RowOutcome } from "../verdict.ts";

/**
 * Can its worst case be held? Balances are asked by `commit`, which reserves; here only a request is
 * refused whose worst case has no bound. A request that reaches no provider costs nothing.
 */
export function checkBudget(facts: Facts): RowOutcome {
  if (facts.cost === undefined) return "not_applicable";
  return isMissing(facts.cost) ? asRefusal(facts.cost) : "pass";
}

/** What the request holds in the agent's own account and in the overrun account. */
export function accountCharges(facts: Facts): Pick<Charges, "cost" | "overrunMicros"> {
  if (facts.cost === undefined || isMissing(facts.cost)) {
    return { cost: { usdMicros: 0n, tokens: 0n, calls: 0n }, overrunMicros: 0n };
  }
  return { cost: facts.cost.worst, overrunMicros: facts.cost.overrunMicros };
}
