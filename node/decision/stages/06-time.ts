import { isValidAt } from "../../../authority/validity.ts";
import { isWithin, localMinuteOfWeek } from "../../../policy/hours.ts";
import type { Facts } from "../facts.ts";
import { byContract, type RowOutcome } from "../verdict.ts";
import { effectiveOf } from "./05-contract.ts";

/** Is it within the hours of the week that were granted? No windows means no bound was set. */
export function checkTime(facts: Facts): RowOutcome {
  const granted = effectiveOf(facts);
  if (granted !== undefined && !isValidAt(granted.validity, facts.nowMs, localMinuteOfWeek)) {
    return byContract("outside_hours");
  }
  const hours = facts.grant?.hours;
  if (hours === undefined) return { reason: "no_grant" };
  return isWithin(hours, facts.nowMs) ? "pass" : { reason: "outside_hours" };
}
