import type { Budget } from "./policy-document.ts";

/** An agent's limits, and its team's defaults for the units and windows that it does not name. */
export function mergeBudgets(own: Budget, common: Budget): Budget {
  const isNamed = (limit: Budget[number]) =>
    own.some((other) => other.unit === limit.unit && other.window === limit.window);
  return [...own, ...common.filter((limit) => !isNamed(limit))];
}
