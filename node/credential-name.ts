import type { ProviderPolicy } from "../policy/compiled-policy.ts";

/**
 * The credential of a request, as its file is named: `<name>`, or `<team>.<name>` where policy says
 * that each team has its own. One request has one; where that is not on this node, none takes its place.
 *
 * @param agentId `team/agent`, established: never what a client says of itself.
 */
export function credentialName(
  { credential, credentialOf }: Pick<ProviderPolicy, "credential" | "credentialOf">,
  agentId: string,
): string {
  if (credentialOf === "all") return credential;
  return `${agentId.slice(0, agentId.indexOf("/"))}.${credential}`;
}
