import {
  type AccountEntry,
  type AccountIndex,
  type AccountLimits,
  accountIndexOf,
} from "./account-limits.ts";
import { eachUnit } from "./ledger-amounts.ts";
import type { LedgerContracts } from "./ledger-contracts.ts";
import type { Lease } from "./ledger-lease.ts";
import { emptyRow, type LedgerRow, moveInRow, setLimit } from "./ledger-row.ts";
import type { LedgerState } from "./ledger-state.ts";
import {
  kindOfWindow,
  LEDGER_UNITS,
  type LedgerAmounts,
  type LedgerUnit,
  WINDOW_KINDS,
  windowAt,
} from "./ledger-window.ts";

/** An account, its team, the mesh, and one to spare. Deeper is a cycle. */
const CHAIN_MAX = 4;

/** The limited row that has the least available. */
type Tightest = Pick<LedgerRow, "account" | "window" | "available">;

/** The ledger's accounts: who pays beside whom, within which limits, and what of them is taken. */
export class LedgerAccounts {
  readonly #state: LedgerState;
  readonly #contracts: LedgerContracts;
  #policy: AccountIndex = accountIndexOf([]);
  /** Rows that go by `#policy`. The others are fitted when they are looked at: a large fleet has many. */
  #fitted = new WeakSet<LedgerRow>();

  constructor(state: LedgerState, contracts: LedgerContracts) {
    this.#state = state;
    this.#contracts = contracts;
    // What a contract was granted is no policy's, and its rows are looked at without this.
    for (const row of state.rows()) this.#fit(row);
  }

  /** Takes over what policy says now. */
  setLimits(limits: AccountLimits): void {
    this.#policy = accountIndexOf(limits);
    this.#fitted = new WeakSet();
  }

  /** An operator's limits of an account changed; what is taken from it stays taken. */
  limitsMoved(account: string): void {
    for (const row of this.#state.rowsOf(account)) this.#fit(row);
  }

  #row(account: string, unit: LedgerUnit, window: string): LedgerRow | undefined {
    const row = this.#state.row(account, unit, window);
    if (row !== undefined && !this.#fitted.has(row)) this.#fit(row);
    return row;
  }

  #fit(row: LedgerRow): void {
    setLimit(row, this.limitAt(row.account, row.unit, row.window));
    this.#fitted.add(row);
  }

  /** Every row of an account, or of all, in the windows that hold the last turn's time. */
  rows(account?: string): readonly LedgerRow[] {
    // Every answer to a node reads one account: that must not cost a look at all of them.
    const rows: LedgerRow[] = [];
    for (const name of account === undefined ? this.#names() : [account]) {
      if (this.#isFree(name)) continue;
      for (const unit of LEDGER_UNITS) {
        for (const kind of WINDOW_KINDS) {
          const window = windowAt(kind, this.#state.nowMs);
          const row = this.#row(name, unit, window);
          const limit = row ? row.limit : this.limitAt(name, unit, window);
          if (limit === undefined) continue;
          rows.push(row ? { ...row } : emptyRow(name, unit, window, limit));
        }
      }
    }
    return rows;
  }

  #names(): readonly string[] {
    return [...new Set([...this.#policy.entries.keys(), ...this.#state.accounts()])].sort();
  }

  /** What the tightest row of each unit has left; in units without a limit, the need. */
  available(chain: readonly string[], need: LedgerAmounts): LedgerAmounts {
    return eachUnit((unit) => Math.max(0, this.tightest(chain, unit)?.available ?? need[unit]));
  }

  /** The limited row with the least available; `undefined` when no row of the unit is limited. */
  tightest(chain: readonly string[], unit: LedgerUnit): Tightest | undefined {
    let tightest: Tightest | undefined;
    for (const account of chain) {
      if (this.#isFree(account)) continue;
      for (const kind of WINDOW_KINDS) {
        const window = windowAt(kind, this.#state.nowMs);
        const row = this.#row(account, unit, window);
        const limit = row ? row.limit : this.limitAt(account, unit, window);
        if (limit === undefined) continue;
        const available = row ? row.available : limit;
        if (tightest && available >= tightest.available) continue;
        tightest = { account, window, available };
      }
    }
    return tightest;
  }

  /** Applies a change to every row that pays for the lease and whose window has not ended. */
  charge(
    lease: Lease,
    change: { readonly reserved?: LedgerAmounts; readonly spent?: LedgerAmounts },
  ): void {
    this.#contracts.moved(lease.chain[0] as string, change.spent);
    for (const unit of LEDGER_UNITS) {
      const reserved = change.reserved?.[unit] ?? 0;
      const spent = change.spent?.[unit] ?? 0;
      if (reserved === 0 && spent === 0) continue;
      for (const [depth, account] of lease.chain.entries()) {
        const moved = depth === 0 ? { reserved, spent } : { children: reserved + spent };
        for (const kind of WINDOW_KINDS) {
          const window = windowAt(kind, lease.grantedAtMs);
          if (window !== windowAt(kind, this.#state.nowMs)) continue;
          const row = this.#rowNow(account, unit, window);
          moveInRow(row, moved);
          this.#state.putRow(row);
        }
      }
    }
  }

  #rowNow(account: string, unit: LedgerUnit, window: string): LedgerRow {
    return (
      this.#row(account, unit, window) ??
      emptyRow(account, unit, window, this.limitAt(account, unit, window))
    );
  }

  /** Those that something limits by themselves. */
  limited(chain: readonly string[]): readonly string[] {
    return chain.filter((account) => !this.#isFree(account));
  }

  /** Nothing limits most agents but what limits their team: no window of theirs has to be looked at. */
  #isFree(account: string): boolean {
    if (this.#state.isOverridden(account) || account.startsWith("contract/")) return false;
    return (this.#policy.limits.get(account)?.length ?? 0) === 0;
  }

  /** What stands in this window: what a contract was granted, else an operator's word, else policy. */
  limitAt(account: string, unit: LedgerUnit, window: string): number | undefined {
    const kind = kindOfWindow(window);
    const granted = kind === "total" ? this.#contracts.limit(account, unit) : undefined;
    if (granted !== undefined) return granted;
    const override = this.#state.overrideOf(account, unit, window);
    if (override !== undefined) return override;
    let smallest: number | undefined;
    for (const one of this.#policy.limits.get(account) ?? []) {
      if (one.unit !== unit || one.window !== kind) continue;
      // Two limits of one window are both meant: the smaller one stands.
      if (smallest === undefined || one.limit < smallest) smallest = one.limit;
    }
    return smallest;
  }

  /** The account and all that pay beside it; `undefined` where nobody may lend to it on that node. */
  chainOf(account: string, node: string): readonly string[] | undefined {
    const chain: string[] = [];
    for (let name: string | undefined = account; name !== undefined; ) {
      const entry: AccountEntry | undefined =
        this.#policy.entries.get(name) ?? this.#contracts.entry(name, node);
      if (!entry || chain.length >= CHAIN_MAX) return undefined;
      chain.push(name);
      name = entry.parent;
    }
    return chain;
  }
}
