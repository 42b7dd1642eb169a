import { nameGranted } from "../policy/hosts.ts";
import type { DnsCode } from "./dataplane/names/dns-reply.ts";
import type { LoopContext } from "./loop-context.ts";
import type { Placement } from "./placement-file.ts";
import { isFresh, policyVersion } from "./table/table.ts";

/**
 * What a captured agent may know of a name: whether it is granted, on any port. The connection that
 * follows is judged by the whole chain; this keeps names themselves from being a way out.
 */
export function judgeName(
  source: string,
  name: string,
  loop: Pick<LoopContext, "policyOf" | "table" | "clock"> & {
    readonly placement: Pick<Placement, "agentAt">;
  },
): "granted" | DnsCode {
  const policy = loop.policyOf(policyVersion(loop.table));
  // A node that must not decide does not tell either.
  if (policy === undefined || !isFresh(loop.table, loop.clock.monoNs())) return "unavailable";
  const agentId = loop.placement.agentAt(source);
  const grant = agentId === undefined ? undefined : policy.agents.get(agentId);
  if (grant === undefined) return "refused";
  return nameGranted(grant.hosts, name) ? "granted" : "unknown";
}
