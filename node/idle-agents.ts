/** Agents whose rows are given up in one tick. */
const AGENTS_MAX = 256;

/**
 * Agents whose rows are to be given up: those whose actors were forgotten, once half of the table is in
 * use. Whoever comes next must find a row, and agents that come back get another.
 *
 * @param of.rows Accounts with a row, and whose they are.
 * @param of.contractsOf Accounts of contracts by their holder.
 */
export function* idleAgents(
  of: {
    readonly rows: ReadonlyMap<string, { readonly agentId: string }>;
    readonly contractsOf: ReadonlyMap<string, ReadonlySet<string>>;
    readonly isActive: (account: string) => boolean;
  },
  tableRows: number,
): Generator<string> {
  const { rows, contractsOf, isActive } = of;
  if (rows.size * 2 <= tableRows) return;
  let left = AGENTS_MAX;
  for (const [account, { agentId }] of rows) {
    if (left === 0) return;
    const accounts = [`agent/${agentId}`, account, ...(contractsOf.get(agentId) ?? [])];
    if (accounts.some(isActive)) continue;
    left -= 1;
    yield agentId;
  }
}
