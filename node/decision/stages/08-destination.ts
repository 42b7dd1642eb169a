import { hostGranted } from "../../../policy/hosts.ts";
import { type Facts, isMissing } from "../facts.ts";
import type { RowOutcome } from "../verdict.ts";

/** May it talk to this host at all? Not asked of a request that goes nowhere or whose model is unknown. */
export function checkDestination(facts: Facts): RowOutcome {
  if (facts.model === undefined || isMissing(facts.model)) return "not_applicable";
  const { host } = facts.model.provider;
  const hosts = facts.grant?.hosts ?? [];
  return hostGranted(hosts, host) ? "pass" : { reason: "host_not_granted", detail: host };
}
