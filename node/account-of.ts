/** Who holds a row of the table. */
export type Holder = { readonly agentId: string; readonly contractId?: string | undefined };

/** Who pays: the contract that the request ran under, or else the agent itself. */
export function accountOf({ agentId, contractId }: Holder): string {
  return contractId === undefined ? `agent/${agentId}` : `contract/${contractId}`;
}
