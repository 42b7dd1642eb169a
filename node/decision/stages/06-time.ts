import { isWithin } from "../../../policy/hours.ts";
import type { Facts } from "../facts.ts";
import type { RowOutcome } from "../verdict.ts";

/** Is it within the hours of the week that were granted? No windows means no bound was set. */
export function checkTime(facts: Facts): RowOutcome {
  const hours = facts.grant?.hours;
  if (hours === undefined) return { reason: "no_grant" };
  return isWithin(hours, facts.nowMs) ? "pass" : { reason: "outside_hours" };
}
