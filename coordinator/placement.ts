import { placedOn } from "../policy/placed-on.ts";
import { parseScope } from "../proto/ids.ts";
import type { PolicyInHand } from "./policy-in-hand.ts";
import { policyOfBundle } from "./policy-of-bundle.ts";
import { PolicyView } from "./policy-view.ts";

/**
 * Where agents run. A node may borrow, report, have contracts carved and ask for kills only for agents that
 * are placed on it, so that a compromised node harms nobody else's.
 */
export type Placement = {
  /** @param account `agent/<t>/<a>`; what is no agent's own is placed everywhere. */
  isPlaced(node: string, account: string): boolean;
};

/** Every agent is placed on every node. */
export const PLACED_EVERYWHERE: Placement = { isPlaced: () => true };

/** Names of nodes by account, for the agents that policy places. */
export type PlacedAgents = ReadonlyMap<string, readonly string[]>;

/**
 * Placement as the policy in force has it, which an operator has signed. An agent that it says nothing of is
 * placed on every node.
 */
export class PolicyPlacement implements Placement {
  readonly #placed: PolicyView<PlacedAgents>;

  constructor(policy: Pick<PolicyInHand, "now">) {
    this.#placed = new PolicyView(policy, placedByPolicy);
  }

  isPlaced(node: string, account: string): boolean {
    if (parseScope(account)?.kind !== "agent") return true;
    return placedOn(this.#placed.now?.get(account), node);
  }
}

/** Nothing of what is no policy: from such a one nobody borrows. */
function placedByPolicy(bundle: Uint8Array): PlacedAgents {
  const read = policyOfBundle(bundle);
  const placed = new Map<string, readonly string[]>();
  if (!read.ok) return placed;
  for (const [teamName, { agents, defaults }] of read.document.teams) {
    for (const [name, own] of agents) {
      const nodes = own.nodes ?? defaults.nodes;
      if (nodes !== undefined) placed.set(`agent/${teamName}/${name}`, nodes);
    }
  }
  return placed;
}
