import type { AgentPolicy } from "../../../policy/compiled-policy.ts";
import { destinationGranted, hostGranted } from "../../../policy/hosts.ts";
import { type Destination, type Facts, isMissing } from "../facts.ts";
import { asRefusal, type RowOutcome } from "../verdict.ts";

/**
 * May it talk to this host at all? Not asked of a request that goes nowhere or whose model is unknown.
 *
 * A tunnel is judged by the name and the port that it asks for, and then by what the name resolved to.
 */
export function checkDestination(facts: Facts): RowOutcome {
  const { destination, grant } = facts;
  if (destination !== undefined && destination.mode !== "inspected") {
    return checkTunnel(destination, grant);
  }
  if (facts.model === undefined || isMissing(facts.model)) return "not_applicable";
  const { host, origin } = facts.model.provider;
  if (destination !== undefined && originOf(destination) !== bareOrigin(origin)) {
    return { reason: "model_elsewhere", detail: destination.host };
  }
  const hosts = grant?.hosts ?? [];
  return hostGranted(hosts, host) ? "pass" : { reason: "host_not_granted", detail: host };
}

function checkTunnel(destination: Destination, grant: AgentPolicy | undefined): RowOutcome {
  const { host, port, mode, addresses } = destination;
  const hosts = grant?.hosts ?? [];
  const isGranted =
    mode === "inspect" ? hostGranted(hosts, host) : destinationGranted(hosts, host, port);
  if (mode === "refuse") return { reason: "not_inspectable", detail: `${host}:${port}` };
  if (!isGranted) return { reason: "host_not_granted", detail: `${host}:${port}` };
  if (mode === "inspect") return "pass";
  if (addresses === undefined) return { reason: "name_unresolved", detail: host };
  return isMissing(addresses) ? asRefusal(addresses) : "pass";
}

function originOf({ host, port }: Destination): string {
  return `${host}:${port}`;
}

/** Host and port of an origin, the scheme's own port written out. */
function bareOrigin(origin: string): string {
  const [scheme = "", rest = ""] = origin.split("://");
  const hasPort = /:[0-9]+$/.test(rest);
  return hasPort ? rest : `${rest}:${scheme === "http" ? 80 : 443}`;
}
