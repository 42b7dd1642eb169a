import type { AccountNewsKind } from "./actors/seat-map.ts";
import type { RowRef } from "./table/rows.ts";

/** A row that serves an account, and whose it is. */
export type HeldRow = RowRef & { readonly agentId: string };

/** Agents whose rows are given up in one go. The mesh thread frees some 1,600 a second. */
const AGENTS_MAX = 1_024;

/**
 * Which row serves each account, and whose rows are not in use.
 *
 * A table has room for tens of thousands, and most rows serve nobody who would ask: so these are known from
 * the coming and going of actors, and not looked for.
 */
export class RowBook {
  readonly #rows = new Map<string, HeldRow>();
  /** Accounts of contracts with a row, by their holder. */
  readonly #contractsOf = new Map<string, Set<string>>();
  /** Accounts with a row and without an actor, the one that is so for longest first. */
  readonly #idle = new Set<string>();

  of(account: string): HeldRow | undefined {
    return this.#rows.get(account);
  }

  /** @param isActive Whether there is an actor of the account. */
  put(account: string, row: HeldRow, isActive: boolean): void {
    this.#rows.set(account, row);
    if (!isActive) this.#idle.add(account);
  }

  /** The row was freed; no change where another serves the account by now. */
  freed(account: string, { row, generation }: RowRef): void {
    const known = this.#rows.get(account);
    if (known?.row !== row || known.generation !== generation) return;
    this.#rows.delete(account);
    this.#idle.delete(account);
    const contracts = this.#contractsOf.get(known.agentId);
    contracts?.delete(account);
    if (contracts?.size === 0) this.#contractsOf.delete(known.agentId);
  }

  /** An account of a contract under which the agent works. */
  contractCame(account: string, agentId: string): void {
    const accounts = this.#contractsOf.get(agentId) ?? new Set<string>();
    this.#contractsOf.set(agentId, accounts.add(account));
  }

  contractsOf(agentId: string): Iterable<string> {
    return this.#contractsOf.get(agentId) ?? [];
  }

  /** What became of an account's actor. */
  noteActor(account: string, what: AccountNewsKind): void {
    if (what === "came") this.#idle.delete(account);
    else if (what === "left" && this.#rows.has(account)) this.#idle.add(account);
  }

  /**
   * Agents whose rows are to be given up: those who have no actor, for themselves or a contract, once half
   * of the table is in use. Whoever comes next must find a row, and agents that come back get another.
   *
   * @param isActive Whether there is an actor of an account.
   */
  *idleAgents(tableRows: number, isActive: (account: string) => boolean): Generator<string> {
    if (this.#rows.size * 2 <= tableRows) return;
    let left = AGENTS_MAX;
    for (const account of this.#idle) {
      if (left === 0) return;
      const agentId = this.#rows.get(account)?.agentId as string;
      if (isActive(`agent/${agentId}`)) continue;
      if ([...this.contractsOf(agentId)].some(isActive)) continue;
      left -= 1;
      yield agentId;
    }
  }
}
