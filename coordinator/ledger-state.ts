import type { Write } from "../ports/store.ts";
import { CONTRACT_PREFIX, type ContractAccount } from "./contract-account.ts";
import { ContractShelf } from "./contract-shelf.ts";
import { LeaseShelf } from "./lease-shelf.ts";
import { count, leaseOf, members } from "./ledger-entry.ts";
import type { Lease, LeaseRequest } from "./ledger-lease.ts";
import { emptyRow, type LedgerRow, moveInRow, type RowKey, rowKey } from "./ledger-row.ts";
import { kindOfWindow, LEDGER_UNITS, type LedgerUnit, windowAt } from "./ledger-window.ts";
import { FORMER_START_PREFIX, NodeStarts, START_PREFIX, type StartRefusal } from "./node-starts.ts";
import { partsOfKey, ROW_PREFIX, ROWS_PREFIX, RowShelf } from "./row-shelf.ts";

/** Keys of the ledger in the coordinator's store. */
export const LEDGER_PREFIX = "ledger/";
const LEASE_PREFIX = "ledger/lease/";
const LIMIT_PREFIX = "ledger/limit/";
const NOW_KEY = "ledger/now";

/** An operator's limit of one window instance. */
export type LimitOverride = {
  readonly unit: LedgerUnit;
  readonly window: string;
  readonly limit: number;
};

/** As it is kept: with the version of its record, so that an older one changes nothing. */
type StoredOverride = Pick<LimitOverride, "limit"> & { readonly v: number };

/** What is stored does not add up, or is not what this program writes. */
export class LedgerCorrupt extends Error {
  constructor(message: string, options?: { cause: unknown }) {
    super(message, options);
    this.name = "LedgerCorrupt";
  }
}

/** Rows, leases and overrides, and the writes that make the store equal to them. */
export class LedgerState {
  readonly #rows = new RowShelf();
  readonly #leases = new LeaseShelf();
  readonly #starts = new NodeStarts();
  readonly #overrides = new Map<RowKey, StoredOverride>();
  /** Accounts that have or had one. */
  readonly #overridden = new Set<string>();
  readonly #contracts = new ContractShelf();
  /** Keys of overrides, by window: to find what an ended window leaves behind. */
  readonly #overridesIn = new Map<string, Set<RowKey>>();
  /** Leases to write. Their texts are made when they are taken: a lease may be changed by many turns. */
  readonly #changedLeases = new Set<Lease>();
  /** All else to write, in a form of its own; undefined: to be removed. */
  readonly #changed = new Map<string, (() => unknown) | undefined>();
  #nowMs = 0;

  /**
   * The state that a store holds.
   *
   * @param entries Everything under LEDGER_PREFIX.
   * @param monoMs Monotonic clock of this process: leases count from here, since clocks of an
   *   earlier run mean nothing now. That only makes them expire later.
   * @throws LedgerCorrupt An entry is malformed, or the rows do not agree with the leases.
   */
  static load(
    entries: readonly (readonly [key: string, value: Uint8Array])[],
    monoMs: number,
  ): LedgerState {
    const state = new LedgerState();
    for (const [key, value] of entries) {
      try {
        state.#loadEntry(key, JSON.parse(Buffer.from(value).toString()), monoMs);
      } catch (cause) {
        throw new LedgerCorrupt(`${key} is not what the ledger writes`, { cause });
      }
    }
    // What was refused to a start is in the memory of the run that refused it: whatever is older than a lease may have been.
    for (const lease of state.#leases.all()) state.#starts.forget(lease);
    state.#mustAddUp();
    return state;
  }

  /** The ledger's wall clock: the latest it was ever told, ms since the Unix epoch. */
  get nowMs(): number {
    return this.#nowMs;
  }

  get leaseCount(): number {
    return this.#leases.size;
  }

  leases(): IterableIterator<Lease> {
    return this.#leases.all();
  }

  lease(id: string): Lease | undefined {
    return this.#leases.get(id);
  }

  leaseOf(request: LeaseRequest): Lease | undefined {
    return this.#leases.ofRequest(request);
  }

  /** Takes in that a start of a node asks for a lease, of which none is remembered; or says why it may not. */
  takeStart(request: LeaseRequest): StartRefusal | undefined {
    return this.#starts.take(request);
  }

  /** Nodes that have asked for leases, and were not dropped. */
  nodes(): IterableIterator<string> {
    return this.#starts.nodes();
  }

  /** Forgets a node that is none of the mesh any more. */
  dropNode(node: string): void {
    this.#starts.drop(node);
  }

  rows(): IterableIterator<LedgerRow> {
    return this.#rows.all();
  }

  /** Of one account, in all windows. */
  rowsOf(account: string): readonly LedgerRow[] {
    return this.#rows.of(account);
  }

  row(account: string, unit: LedgerUnit, window: string): LedgerRow | undefined {
    return this.#rows.find(account, unit, window);
  }

  /** Accounts that have a row, in no particular order. */
  accounts(): ReadonlySet<string> {
    return this.#rows.accounts();
  }

  /** False: no operator has set anything of it. */
  isOverridden(account: string): boolean {
    return this.#overridden.has(account);
  }

  overrideOf(account: string, unit: LedgerUnit, window: string): number | undefined {
    if (!this.isOverridden(account)) return undefined;
    return this.#overrides.get(rowKey(account, unit, window))?.limit;
  }

  putRow(row: LedgerRow): void {
    this.#rows.put(row);
  }

  putLease(lease: Lease): void {
    const before = this.#leases.put(lease);
    if (before !== lease) {
      // One commit says one thing of one key.
      this.#changed.delete(LEASE_PREFIX + lease.id);
      if (before !== undefined) this.#changedLeases.delete(before);
    }
    this.#changedLeases.add(lease);
  }

  dropLease(id: string): void {
    const lease = this.#leases.get(id);
    if (lease === undefined) return;
    this.#leases.drop(id);
    this.#starts.forget(lease);
    this.#changedLeases.delete(lease);
    this.#changed.set(LEASE_PREFIX + id, undefined);
  }

  /**
   * Replaces all that an operator has set of an account.
   *
   * @returns False, and nothing is changed, when a record as new or newer has spoken already.
   */
  putOverrides(account: string, limits: readonly LimitOverride[], v: number): boolean {
    const known = [...this.#overrides].filter(([key]) => partsOfKey(key).account === account);
    if (known.some(([, one]) => one.v >= v)) return false;
    for (const [key] of known) {
      this.#overrides.delete(key);
      this.#changed.set(LIMIT_PREFIX + key, undefined);
    }
    this.#overridden.add(account);
    for (const { unit, window, limit } of limits) {
      const key = rowKey(account, unit, window);
      this.#overrides.set(key, { limit, v });
      addTo(this.#overridesIn, window, key);
      this.#write(LIMIT_PREFIX + key, () => ({ limit, v }));
    }
    return true;
  }

  contract(id: string): ContractAccount | undefined {
    return this.#contracts.get(id);
  }

  contractOfKey(keySha256: string): ContractAccount | undefined {
    return this.#contracts.ofKey(keySha256);
  }

  /** Contracts that were delegated from that one; of "", the roots. */
  contractsBelow(parent: string): readonly ContractAccount[] {
    return this.#contracts.below(parent);
  }

  /** Of those, the ones that hold money or rate still. */
  contractsUnreleasedBelow(parent: string): ReadonlyMap<string, ContractAccount> {
    return this.#contracts.unreleasedBelow(parent);
  }

  /** Whether a lease of that node is remembered. */
  hasLeases(node: string): boolean {
    return this.#leases.hasOf(node);
  }

  /** Leases of exactly that account that are remembered, final ones included. */
  leasesOf(account: string): number {
    return this.#leases.countOf(account);
  }

  contracts(): IterableIterator<ContractAccount> {
    return this.#contracts.all();
  }

  get contractCount(): number {
    return this.#contracts.size;
  }

  putContract(account: ContractAccount): void {
    this.#contracts.put(account);
    this.#write(CONTRACT_PREFIX + account.id, () => account);
  }

  /** Forgets a contract and the rows of its account. */
  dropContract(id: string, account: string): void {
    this.#contracts.drop(id);
    this.#changed.set(CONTRACT_PREFIX + id, undefined);
    for (const unit of LEDGER_UNITS) {
      const row = this.row(account, unit, "total");
      if (row !== undefined) this.#rows.drop(row);
      this.#dropOverride(rowKey(account, unit, "total"));
    }
  }

  /** Moves the wall clock on; a time before the latest is ignored. Ended windows are forgotten. */
  advance(nowMs: number): void {
    if (nowMs <= this.#nowMs) return;
    const isSameHour = windowAt("hour", nowMs) === windowAt("hour", this.#nowMs);
    this.#nowMs = nowMs;
    if (isSameHour) return;
    // Windows are hours at the smallest, so this is as often as the stored clock has to move.
    this.#write(NOW_KEY, () => nowMs);
    this.#rows.dropEnded((window) => this.#hasEnded(window));
    for (const [window, keys] of this.#overridesIn) {
      if (!this.#hasEnded(window)) continue;
      this.#overridesIn.delete(window);
      for (const key of keys) this.#dropOverride(key);
    }
  }

  /** What must be written for the store to hold this state, and forgets that it must. */
  takeWrites(): readonly Write[] {
    const writes: Write[] = [...this.#rows.takeWrites(), ...this.#starts.takeWrites()];
    for (const [key, valueNow] of this.#changed) {
      writes.push({ key, value: valueNow && textOf(valueNow()) });
    }
    for (const { id, knownSinceMs: _knownSinceMs, ...stored } of this.#changedLeases) {
      writes.push({ key: LEASE_PREFIX + id, value: textOf(stored) });
    }
    this.#changed.clear();
    this.#changedLeases.clear();
    return writes;
  }

  /**
   * Rows that do not agree with the leases, in words: what open leases hold must be what their rows
   * say is reserved, and what all leases are charged must be in the rows.
   */
  flaws(): readonly string[] {
    const open = new Map<RowKey, LedgerRow>();
    const charged = new Map<RowKey, LedgerRow>();
    const stored = new Map([...this.rows()].map((row) => [row.key, row]));
    for (const lease of this.#leases.all()) {
      const rest = (unit: LedgerUnit): number => lease.amount[unit] - lease.spent[unit];
      const isFinal = lease.status === "final";
      this.#sumUp(open, lease, (unit) => (lease.status === "open" ? rest(unit) : 0));
      this.#sumUp(charged, lease, (unit) => (isFinal ? lease.spent : lease.amount)[unit]);
    }
    const flaws: string[] = [];
    for (const [key, row] of charged) {
      const actual = stored.get(key);
      const taken = actual ? actual.reserved + actual.spent + actual.children : 0;
      if (taken < row.reserved + row.children) flaws.push(`${key} holds less than its leases`);
    }
    for (const [key, row] of stored) {
      const held = open.get(key)?.reserved ?? 0;
      if (row.reserved !== held) flaws.push(`${key} reserves ${row.reserved}, its leases ${held}`);
    }
    return flaws;
  }

  #sumUp(into: Map<RowKey, LedgerRow>, lease: Lease, amountOf: (unit: LedgerUnit) => number): void {
    for (const unit of LEDGER_UNITS) {
      const amount = amountOf(unit);
      if (amount === 0) continue;
      for (const [depth, account] of lease.chain.entries()) {
        for (const [key, row] of this.#rowsAt(account, unit, lease.grantedAtMs)) {
          const sum = into.get(key) ?? emptyRow(account, unit, row, undefined);
          moveInRow(sum, depth === 0 ? { reserved: amount } : { children: amount });
          into.set(key, sum);
        }
      }
    }
  }

  /** Keys and windows of an account's rows that pay for a lease of that time and have not ended. */
  #rowsAt(account: string, unit: LedgerUnit, atMs: number): [RowKey, string][] {
    const windows = (["total", "month", "day", "hour"] as const).map((kind) =>
      windowAt(kind, atMs),
    );
    return windows
      .filter((window) => !this.#hasEnded(window))
      .map((window) => [rowKey(account, unit, window), window]);
  }

  #hasEnded(window: string): boolean {
    const kind = kindOfWindow(window);
    return kind === undefined || window !== windowAt(kind, this.#nowMs);
  }

  #dropOverride(key: RowKey): void {
    if (this.#overrides.delete(key)) this.#changed.set(LIMIT_PREFIX + key, undefined);
  }

  #write(key: string, valueNow: () => unknown): void {
    this.#changed.set(key, valueNow);
  }

  #loadEntry(key: string, value: unknown, monoMs: number): void {
    if (key === NOW_KEY) this.#nowMs = Math.max(this.#nowMs, count(value));
    else if (key.startsWith(ROWS_PREFIX)) this.#rows.load(key.slice(ROWS_PREFIX.length), value);
    else if (key.startsWith(ROW_PREFIX)) this.#loadFormerRow(key, value);
    else if (key.startsWith(START_PREFIX)) this.#starts.load(key.slice(START_PREFIX.length), value);
    else if (key.startsWith(FORMER_START_PREFIX)) {
      this.#starts.loadFormer(key.slice(FORMER_START_PREFIX.length), value);
    } else if (key.startsWith(LIMIT_PREFIX)) this.#loadLimit(key.slice(LIMIT_PREFIX.length), value);
    else if (key.startsWith(CONTRACT_PREFIX)) {
      this.#contracts.load(key.slice(CONTRACT_PREFIX.length), value);
    } else if (key.startsWith(LEASE_PREFIX)) {
      this.#leases.put(leaseOf(key.slice(LEASE_PREFIX.length), value, monoMs));
    } else throw new TypeError("unknown key");
  }

  #loadFormerRow(key: string, value: unknown): void {
    const stored = members(value, ["reserved", "spent", "children"]);
    this.#rows.loadFormer(key.slice(ROW_PREFIX.length), stored);
  }

  #loadLimit(key: RowKey, value: unknown): void {
    const { account, window } = partsOfKey(key);
    this.#overridden.add(account);
    const stored = members(value, ["limit", "v"]);
    const override = { limit: count(stored.limit), v: count(stored.v) };
    this.#overrides.set(key, override);
    addTo(this.#overridesIn, window, key);
  }

  #mustAddUp(): void {
    const flaws = this.flaws();
    if (flaws.length > 0) throw new LedgerCorrupt(`the ledger does not add up: ${flaws[0]}`);
  }
}

function addTo<T>(sets: Map<string, Set<T>>, name: string, member: T): void {
  const set = sets.get(name);
  if (set) set.add(member);
  else sets.set(name, new Set([member]));
}

function textOf(value: unknown): Uint8Array {
  return Buffer.from(JSON.stringify(value));
}
