// Money and rate of contracts: moved from one account to another, never copied.
//
// C1. A contract's account holds its limit, once: `carve` takes it out of the parent's `available` in
//     the turn that makes the account, so two children of one parent cannot both have it.
// C2. What a child did not spend comes back to its parent once, when the child has ended, nobody can
//     spend from a lease of it any more and everything below it has come back.
// C3. The rates of a contract's open children and its own add up to at most what it was granted.
// C4. The same contract is carved once, however often it is asked for.
// C5. Every lease of a contract is also charged to its holder, the holder's team and the mesh, so
//     delegation is no way around their windows.

import type { Rate } from "../authority/rate.ts";
import type { AccountEntry } from "./account-limits.ts";
import { type ContractAccount, contractAccountName } from "./contract-account.ts";
import { emptyRow, type LedgerRow, moveInRow } from "./ledger-row.ts";
import type { LedgerState } from "./ledger-state.ts";
import { LEDGER_UNITS, type LedgerAmounts, type LedgerUnit } from "./ledger-window.ts";
import { rateLeft, rateShortage } from "./rate-left.ts";

/** Contracts open at once below one, unless a mesh is built otherwise. */
export const FAN_OUT_MAX = 32;
/** Contracts that are kept at once, ended ones included. */
export const CONTRACTS_MAX = 20_000;
/** How long an ended contract is shown, ms: longer than any root can live. */
const KEPT_MS = 26 * 3_600_000;

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
  readonly #state: LedgerState;

  constructor(state: LedgerState) {
    this.#state = state;
  }

  /** C1, C3, C4. A root takes nothing: what is lent to it is charged when it is lent. */
  open(account: ContractAccount): ContractAccount | CarveRefusal {
    const known = this.#state.contract(account.id);
    if (known) return known;
    if (account.expiresMs <= this.#state.nowMs) return refusal("contract_expired", account.id);
    if (this.#state.contractCount >= CONTRACTS_MAX) {
      return refusal("budget_unavailable", `${CONTRACTS_MAX} contracts are kept`);
    }
    if (account.parent !== "") {
      const objection = this.#objection(account);
      if (objection) return objection;
      const parent = contractAccountName(account.parent);
      this.#move(parent, (unit) => account.limit[unit]);
    }
    this.#state.putContract(account);
    return account;
  }

  /** Takes in that a contract was revoked, and with it everything below. */
  revoke(id: string): void {
    const account = this.#state.contract(id);
    if (!account) return;
    if (account.state === "open") this.#state.putContract({ ...account, state: "revoked" });
    for (const child of this.#state.contractsBelow(id)) this.revoke(child.id);
  }

  /** The account as the ledger lends from it; undefined when that node may not borrow from it. */
  entry(name: string, node: string): AccountEntry | undefined {
    const account = this.#named(name);
    const isOpen = account?.state === "open" && account.expiresMs > this.#state.nowMs;
    return isOpen && account.node === node ? entryOf(account) : undefined;
  }

  /** Its limit of one unit, as long as anything of it is remembered. */
  limit(name: string, unit: LedgerUnit): number | undefined {
    return this.#named(name)?.limit[unit];
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
      this.#openBelow(id).map((child) => child.rate),
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
    // Deepest first, so that a whole subtree comes back in one go.
    const due = [...this.#state.contracts()].filter(
      ({ state, expiresMs }) =>
        state === "revoked" ||
        state === "ended" ||
        expiresMs + (state === "open" ? 0 : KEPT_MS) <= now,
    );
    for (const { id } of due.sort((a, b) => b.depth - a.depth)) this.#end(id, now);
  }

  #end(id: string, now: number): void {
    const account = this.#state.contract(id);
    if (!account) return;
    if (account.state === "open") this.#state.putContract({ ...account, state: "ended" });
    if (account.state !== "released") {
      if (this.#isOver(id)) this.#release(id);
    } else if (account.expiresMs + KEPT_MS <= now && this.#isUnused(id)) {
      this.#state.dropContract(id, contractAccountName(id));
    }
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
    if (!account) return;
    this.#state.putContract({ ...account, state: "released" });
    if (account.parent === "" || !this.#state.contract(account.parent)) return;
    this.#move(contractAccountName(account.parent), (unit) => {
      const { spent, children } = this.row(id, unit);
      return spent + children - account.limit[unit];
    });
  }

  /** Nobody can spend of it: no lease is open, and everything below has come back. */
  #isOver(id: string): boolean {
    const isBelowBack = this.#state.contractsBelow(id).every(({ state }) => state === "released");
    return isBelowBack && LEDGER_UNITS.every((unit) => this.row(id, unit).reserved === 0);
  }

  #isUnused(id: string): boolean {
    const name = contractAccountName(id);
    if (this.#state.contractsBelow(id).length > 0) return false;
    return ![...this.#state.leases()].some(({ chain }) => chain[0] === name);
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
    return this.#state.contractsBelow(id).filter(({ state }) => state === "open");
  }

  #below(id: string): readonly ContractAccount[] {
    return this.#state.contractsBelow(id).flatMap((child) => [child, ...this.#below(child.id)]);
  }

  #named(name: string): ContractAccount | undefined {
    return name.startsWith("contract/") ? this.#state.contract(name.slice(9)) : undefined;
  }
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
