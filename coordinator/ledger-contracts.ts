// Money and rate of contracts: moved from one account to another, never copied.
//
// C1. A contract's account holds its limit, once: `carve` takes it out of the parent's `available` in
//     the turn that makes the account, so two children of one parent cannot both have it.
// C2. What a child did not spend comes back to its parent once, when the child has ended, nobody can
//     spend from a lease of it any more and everything below it has come back. What a node says only then
//     of a lease that had run out comes back as well, past all that have come back before it.
// C3. The rates of a contract's children and its own add up to at most what it was granted. A child that has
//     ended keeps its rate until its money comes back: till then a node may not have heard of its end.
// C4. The same contract is carved once, however often it is asked for.
// C5. Every lease of a contract is also charged to its holder, the holder's team and the mesh, so
//     delegation is no way around their windows.
// C6. An operator's limit of a contract may take from what it was granted, and never adds to it: what is more
//     was carved out of nobody's account, and would come out of its delegator's unasked.

import type { Rate } from "../authority/rate.ts";
import { rateLeft, rateShortage } from "../authority/rate-left.ts";
import { DueHeap } from "../mesh/due-heap.ts";
import type { AccountEntry } from "./account-limits.ts";
import { type ContractAccount, contractAccountName } from "./contract-account.ts";
import { emptyRow, type LedgerRow, moveInRow } from "./ledger-row.ts";
import type { LedgerState } from "./ledger-state.ts";
import { LEDGER_UNITS, type LedgerAmounts, type LedgerUnit } from "./ledger-window.ts";

/** Contracts open at once below one, unless a mesh is built otherwise. */
export const FAN_OUT_MAX = 32;
/** Contracts that are kept at once, ended ones included. */
export const CONTRACTS_MAX = 20_000;
/** How long an ended contract is shown, ms: longer than any root can live. */
const KEPT_MS = 26 * 3_600_000;
/** When one that should be forgotten and is still named by something is looked at again, ms. */
const LOOK_AGAIN_MS = 60_000;

export type CarveRefusal = {
  readonly refused:
    | "contract_unknown"
    | "contract_expired"
    | "killed_contract"
    | "delegation_budget"
    | "delegation_rate"
    | "delegation_fan_out"
    | "budget_unavailable";
  readonly message: string;
};

export class LedgerContracts {
  /** What the ledger lies in takes no more of them; each turn says so. */
  isFull = false;
  readonly #state: LedgerState;
  /** When contracts end and when they may be forgotten, by the ledger's wall clock. */
  readonly #due = new DueHeap();
  /** Ended, and something of theirs has come back since they were last looked at. */
  readonly #touched = new Set<string>();

  constructor(state: LedgerState) {
    this.#state = state;
    for (const account of state.contracts()) this.#lookLater(account);
  }

  /** C1, C3, C4. A root takes nothing: what is lent to it is charged when it is lent. */
  open(account: ContractAccount): ContractAccount | CarveRefusal {
    const known = this.#state.contract(account.id);
    if (known) return known;
    if (account.expiresMs <= this.#state.nowMs) return refusal("contract_expired", account.id);
    if (this.#state.contractCount >= CONTRACTS_MAX) {
      return refusal("budget_unavailable", `${CONTRACTS_MAX} contracts are kept`);
    }
    if (this.isFull) return refusal("budget_unavailable", "the ledger's journal is full");
    if (account.parent !== "") {
      const objection = this.#objection(account);
      if (objection) return objection;
      const parent = contractAccountName(account.parent);
      this.#move(parent, (unit) => account.limit[unit]);
    }
    this.#put(account);
    return account;
  }

  /** Takes in that a contract was revoked, and with it everything below. */
  revoke(id: string): void {
    const account = this.#state.contract(id);
    if (!account) return;
    if (account.state === "open") this.#put({ ...account, state: "revoked" });
    for (const child of this.#state.contractsBelow(id)) this.revoke(child.id);
  }

  /**
   * What is reserved or spent in that account changes.
   *
   * @param spent By how much; undefined: by nothing.
   */
  moved(name: string, spent: LedgerAmounts | undefined): void {
    const account = this.#named(name);
    if (account && isEnding(account)) this.#touched.add(account.id);
    if (account && spent) this.#passOn(account, spent);
  }

  /** C2: of one that has come back, its parent's children change, and so on upwards. */
  #passOn(account: ContractAccount, spent: LedgerAmounts): void {
    for (let at = account; at.state === "released" && at.parent !== ""; ) {
      const parent = this.#state.contract(at.parent);
      if (parent === undefined) return;
      this.#move(contractAccountName(parent.id), (unit) => spent[unit]);
      at = parent;
    }
  }

  /** The account as the ledger lends from it; undefined when that node may not borrow from it. */
  entry(name: string, node: string): AccountEntry | undefined {
    const account = this.#named(name);
    const isOpen = account?.state === "open" && account.expiresMs > this.#state.nowMs;
    return isOpen && account.node === node ? entryOf(account) : undefined;
  }

  /** C6. Its limit of one unit, as long as anything of it is remembered. */
  limit(name: string, unit: LedgerUnit): number | undefined {
    const granted = this.#named(name)?.limit[unit];
    if (granted === undefined) return undefined;
    return Math.min(granted, this.#state.overrideOf(name, unit, "total") ?? granted);
  }

  /** The end of its right to spend, ms since the Unix epoch; Infinity for what is no contract. */
  endMs(name: string): number {
    return this.#named(name)?.expiresMs ?? Number.POSITIVE_INFINITY;
  }

  get(id: string): ContractAccount | undefined {
    return this.#state.contract(id);
  }

  byKey(keySha256: string): ContractAccount | undefined {
    return this.#state.contractOfKey(keySha256);
  }

  /** A contract and all below it, or all roots and theirs; parents before children. */
  tree(id?: string): readonly ContractAccount[] {
    const tops = id === undefined ? this.#state.contractsBelow("") : [this.#state.contract(id)];
    return tops.flatMap((top) => (top ? [top, ...this.#below(top.id)] : []));
  }

  /** C3: what its own requests may use. */
  ownRate({ id, rate }: ContractAccount): Rate {
    const left = rateLeft(
      rate,
      [...this.#state.contractsUnreleasedBelow(id).values()].map((child) => child.rate),
    );
    if (!left) throw new Error(`invariant broken: C3 of ${id}`);
    return left;
  }

  row(id: string, unit: LedgerUnit): LedgerRow {
    const name = contractAccountName(id);
    const known = this.#state.row(name, unit, "total");
    return known ?? emptyRow(name, unit, "total", this.limit(name, unit));
  }

  /** C2. Ends what has expired, gives back what has ended, forgets what is long over. */
  roll(): void {
    const now = this.#state.nowMs;
    const due: string[] = [];
    for (let id = this.#due.take(now); id; id = this.#due.take(now)) due.push(id);
    for (const account of this.#deepestFirst(due)) this.#fallDue(account, now);
    // Each that comes back may be the last that its parent waited for.
    while (this.#touched.size > 0) {
      const touched = this.#deepestFirst(this.#touched);
      this.#touched.clear();
      for (const { id } of touched) if (this.#isOver(id)) this.#release(id);
    }
  }

  /** So that a whole subtree comes back in one go. */
  #deepestFirst(ids: Iterable<string>): readonly ContractAccount[] {
    const accounts = [...ids].flatMap((id) => this.#state.contract(id) ?? []);
    return accounts.sort((a, b) => b.depth - a.depth);
  }

  #fallDue(account: ContractAccount, now: number): void {
    const { id, state, expiresMs } = account;
    if (state === "open" && expiresMs <= now) this.#put({ ...account, state: "ended" });
    if (state !== "released" || expiresMs + KEPT_MS > now) return;
    if (this.#isUnused(id)) this.#state.dropContract(id, contractAccountName(id));
    else this.#due.add({ atMs: now + LOOK_AGAIN_MS, id });
  }

  #put(account: ContractAccount): void {
    this.#state.putContract(account);
    this.#lookLater(account);
  }

  #lookLater(account: ContractAccount): void {
    const { id, state, expiresMs } = account;
    if (isEnding(account)) this.#touched.add(id);
    else this.#due.add({ atMs: expiresMs + (state === "open" ? 0 : KEPT_MS), id });
  }

  #objection(account: ContractAccount): CarveRefusal | undefined {
    const parent = this.#state.contract(account.parent);
    if (!parent) return refusal("contract_unknown", account.parent);
    if (parent.expiresMs <= this.#state.nowMs) return refusal("contract_expired", parent.id);
    if (parent.state !== "open") return refusal("killed_contract", parent.id);
    const open = this.#openBelow(parent.id);
    if (open.length >= FAN_OUT_MAX) {
      return refusal("delegation_fan_out", `${open.length} open, at most ${FAN_OUT_MAX}`);
    }
    for (const unit of LEDGER_UNITS) {
      const { available } = this.row(parent.id, unit);
      if (account.limit[unit] <= available) continue;
      const fits = Math.max(0, available);
      const message = `budget: asked ${account.limit[unit]} ${unit}, ${fits} would have fitted`;
      return refusal("delegation_budget", message);
    }
    const short = rateShortage(this.ownRate(parent), account.rate);
    if (!short) return undefined;
    const { metric, asked, fits } = short;
    const said = (of: typeof asked) => `${of.amount}/${of.seconds}s burst ${of.burst}`;
    const message = `rate.${metric}: asked ${said(asked)}, ${said(fits)} would have fitted`;
    return refusal("delegation_rate", message);
  }

  #release(id: string): void {
    const account = this.#state.contract(id);
    if (!account || !isEnding(account)) return;
    this.#put({ ...account, state: "released" });
    if (account.parent === "" || !this.#state.contract(account.parent)) return;
    this.#move(contractAccountName(account.parent), (unit) => {
      const { spent, children } = this.row(id, unit);
      return spent + children - account.limit[unit];
    });
    const parent = this.#state.contract(account.parent);
    if (parent && isEnding(parent)) this.#touched.add(parent.id);
  }

  /** Nobody can spend of it: no lease is open, and everything below has come back. */
  #isOver(id: string): boolean {
    const isBelowBack = this.#state.contractsUnreleasedBelow(id).size === 0;
    return isBelowBack && LEDGER_UNITS.every((unit) => this.row(id, unit).reserved === 0);
  }

  #isUnused(id: string): boolean {
    const isBelowGone = this.#state.contractsBelow(id).length === 0;
    return isBelowGone && this.#state.leasesOf(contractAccountName(id)) === 0;
  }

  #move(parent: string, amountOf: (unit: LedgerUnit) => number): void {
    for (const unit of LEDGER_UNITS) {
      const row =
        this.#state.row(parent, unit, "total") ??
        emptyRow(parent, unit, "total", this.limit(parent, unit));
      moveInRow(row, { children: amountOf(unit) });
      this.#state.putRow(row);
    }
  }

  #openBelow(id: string): readonly ContractAccount[] {
    const below = this.#state.contractsUnreleasedBelow(id).values();
    return [...below].filter(({ state }) => state === "open");
  }

  #below(id: string): readonly ContractAccount[] {
    return this.#state.contractsBelow(id).flatMap((child) => [child, ...this.#below(child.id)]);
  }

  #named(name: string): ContractAccount | undefined {
    return name.startsWith("contract/") ? this.#state.contract(name.slice(9)) : undefined;
  }
}

/** Its right to spend is over, and what it holds is still out. */
function isEnding({ state }: ContractAccount): boolean {
  return state === "revoked" || state === "ended";
}

/** C5. */
function entryOf({ id, agent, limit }: ContractAccount): AccountEntry {
  return {
    account: contractAccountName(id),
    parent: `agent/${agent}`,
    limits: limitsOf(limit),
  };
}

function limitsOf(limit: LedgerAmounts): AccountEntry["limits"] {
  return LEDGER_UNITS.map((unit) => ({ unit, window: "total" as const, limit: limit[unit] }));
}

function refusal(refused: CarveRefusal["refused"], message: string): CarveRefusal {
  return { refused, message };
}
