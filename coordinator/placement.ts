/**
 * Where agents run. A node may borrow, settle and ask for kills only for agents that are placed on it,
 * so that a compromised node harms nobody else's.
 */
export type Placement = {
  /** @param account `agent/<t>/<a>` or `contract/<id>`. */
  isPlaced(node: string, account: string): boolean;
};

/** Every agent is placed on every node: what stands until somebody knows better. */
export const PLACED_EVERYWHERE: Placement = { isPlaced: () => true };
