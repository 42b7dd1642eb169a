import type { Contract } from "./verify-chain.ts";

/**
 * Scopes whose kill ends a chain: every contract of it, and every agent that delegated in it. Such an agent was
 * told the keys of those that it delegated to, and what it may not do nobody may in its stead.
 *
 * @param links Root first. The agent of the last one delegated nothing here, and has a scope of its own.
 */
export function killScopesOf(links: readonly Contract[]): readonly string[] {
  const contracts = links.map(({ id }) => `contract/${id}`);
  const delegators = links.slice(0, -1).map(({ claims }) => `agent/${claims.agent}`);
  return [...contracts, ...new Set(delegators)];
}
