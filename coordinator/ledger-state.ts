import type { Write } from "../ports/store.ts";
import { CONTRACT_PREFIX, type ContractAccount } from "./contract-account.ts";
import { ContractShelf } from "./contract-shelf.ts";
import { LeaseShelf } from "./lease-shelf.ts";
import { count, leaseOf, members } from "./ledger-entry.ts";
import type { Lease } from "./ledger-lease.ts";
import { emptyRow, type LedgerRow, moveInRow, type RowKey, rowKey } from "./ledger-row.ts";
import { kindOfWindow, LEDGER_UNITS, type LedgerUnit, windowAt } from "./ledger-window.ts";

/** Keys of the ledger in the coordinator's store. */
export const LEDGER_PREFIX = "ledger/";
const ROW_PREFIX = "ledger/row/";
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
  /** By account. A grant looks at dozens: each new text that a map is asked for costs more than all of them. */
  readonly #rowsOf = new Map<string, LedgerRow[]>();
  readonly #leases = new LeaseShelf();
  readonly #overrides = new Map<RowKey, StoredOverride>();
  readonly #contracts = new ContractShelf();
  /** Rows, and keys of overrides, by window: to find what an ended window leaves behind. */
  readonly #rowsIn = new Map<string, Set<LedgerRow>>();
  readonly #overridesIn = new Map<string, Set<RowKey>>();
  /** Rows and leases to write. Their texts are made when they are taken: many turns change one row. */
  readonly #changedRows = new Set<LedgerRow>();
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

  leaseOf(memo: string): Lease | undefined {
    return this.#leases.ofMemo(memo);
  }

  *rows(): IterableIterator<LedgerRow> {
    for (const rows of this.#rowsOf.values()) yield* rows;
  }

  /** Of one account, in all windows. */
  rowsOf(account: string): readonly LedgerRow[] {
    return this.#rowsOf.get(account) ?? NO_ROWS;
  }

  row(account: string, unit: LedgerUnit, window: string): LedgerRow | undefined {
    for (const row of this.rowsOf(account)) {
      if (row.unit === unit && row.window === window) return row;
    }
    return undefined;
  }

  /** Accounts that have a row, in no particular order. */
  accounts(): ReadonlySet<string> {
    return new Set(this.#rowsOf.keys());
  }

  overrideOf(account: string, unit: LedgerUnit, window: string): number | undefined {
    if (this.#overrides.size === 0) return undefined;
    return this.#overrides.get(rowKey(account, unit, window))?.limit;
  }

  putRow(row: LedgerRow): void {
    if (this.row(row.account, row.unit, row.window) !== row) this.#keepRow(row);
    this.#changedRows.add(row);
  }

  putLease(lease: Lease): void {
    const before = this.#leases.put(lease);
    if (before !== lease) this.#forgetWrite(LEASE_PREFIX, lease.id, this.#changedLeases, before);
    this.#changedLeases.add(lease);
  }

  dropLease(id: string): void {
    const lease = this.#leases.get(id);
    if (lease === undefined) return;
    this.#leases.drop(id);
    this.#changedLeases.delete(lease);
    this.#changed.set(LEASE_PREFIX + id, undefined);
  }

  /**
   * Replaces all that an operator has set of an account.
   *
   * @returns False, and nothing is changed, when a record as new or newer has spoken already.
   */
  putOverrides(account: string, limits: readonly LimitOverride[], v: number): boolean {
    const known = [...this.#overrides].filter(([key]) => partsOf(key).account === account);
    if (known.some(([, one]) => one.v >= v)) return false;
    for (const [key] of known) {
      this.#overrides.delete(key);
      this.#changed.set(LIMIT_PREFIX + key, undefined);
    }
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
      if (row !== undefined) this.#dropRow(row);
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
    for (const [window, rows] of this.#rowsIn) {
      if (!this.#hasEnded(window)) continue;
      this.#rowsIn.delete(window);
      for (const row of rows) this.#dropRow(row);
    }
    for (const [window, keys] of this.#overridesIn) {
      if (!this.#hasEnded(window)) continue;
      this.#overridesIn.delete(window);
      for (const key of keys) this.#dropOverride(key);
    }
  }

  /** What must be written for the store to hold this state, and forgets that it must. */
  takeWrites(): readonly Write[] {
    const writes: Write[] = [];
    for (const [key, valueNow] of this.#changed) {
      writes.push({ key, value: valueNow && textOf(valueNow()) });
    }
    for (const { key, reserved, spent, children } of this.#changedRows) {
      writes.push({ key: ROW_PREFIX + key, value: textOf({ reserved, spent, children }) });
    }
    for (const { id, knownSinceMs: _knownSinceMs, ...stored } of this.#changedLeases) {
      writes.push({ key: LEASE_PREFIX + id, value: textOf(stored) });
    }
    this.#changed.clear();
    this.#changedRows.clear();
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

  #keepRow(row: LedgerRow): void {
    const { account, key, unit, window } = row;
    const before = this.row(account, unit, window);
    this.#forgetWrite(ROW_PREFIX, key, this.#changedRows, before);
    if (before !== undefined) this.#unlist(before);
    const others = this.#rowsOf.get(account);
    if (others === undefined) this.#rowsOf.set(account, [row]);
    else others.push(row);
    addTo(this.#rowsIn, window, row);
  }

  #dropRow(row: LedgerRow): void {
    this.#changedRows.delete(row);
    this.#unlist(row);
    this.#changed.set(ROW_PREFIX + row.key, undefined);
  }

  #unlist(row: LedgerRow): void {
    const { account, window } = row;
    const others = this.#rowsOf.get(account)?.filter((one) => one !== row) ?? [];
    if (others.length > 0) this.#rowsOf.set(account, others);
    else this.#rowsOf.delete(account);
    this.#rowsIn.get(window)?.delete(row);
  }

  /** What takes this key over is written alone: one commit says one thing of one key. */
  #forgetWrite<T>(prefix: string, key: string, changed: Set<T>, before: T | undefined): void {
    if (this.#changed.size > 0) this.#changed.delete(prefix + key);
    if (before !== undefined) changed.delete(before);
  }

  #write(key: string, valueNow: () => unknown): void {
    this.#changed.set(key, valueNow);
  }

  #loadEntry(key: string, value: unknown, monoMs: number): void {
    if (key === NOW_KEY) this.#nowMs = Math.max(this.#nowMs, count(value));
    else if (key.startsWith(ROW_PREFIX)) this.#loadRow(key.slice(ROW_PREFIX.length), value);
    else if (key.startsWith(LIMIT_PREFIX)) this.#loadLimit(key.slice(LIMIT_PREFIX.length), value);
    else if (key.startsWith(CONTRACT_PREFIX)) {
      this.#contracts.load(key.slice(CONTRACT_PREFIX.length), value);
    } else if (key.startsWith(LEASE_PREFIX)) {
      this.#leases.put(leaseOf(key.slice(LEASE_PREFIX.length), value, monoMs));
    } else throw new TypeError("unknown key");
  }

  #loadRow(key: RowKey, value: unknown): void {
    const { account, unit, window } = partsOf(key);
    const stored = members(value, ["reserved", "spent", "children"]);
    const row = emptyRow(account, unit, window, undefined);
    moveInRow(row, {
      reserved: count(stored.reserved),
      spent: count(stored.spent),
      children: count(stored.children),
    });
    this.#keepRow(row);
  }

  #loadLimit(key: RowKey, value: unknown): void {
    const { window } = partsOf(key);
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

const NO_ROWS: readonly LedgerRow[] = [];

function addTo<T>(sets: Map<string, Set<T>>, name: string, member: T): void {
  const set = sets.get(name);
  if (set) set.add(member);
  else sets.set(name, new Set([member]));
}

function textOf(value: unknown): Uint8Array {
  return Buffer.from(JSON.stringify(value));
}

function partsOf(key: RowKey): { account: string; unit: LedgerUnit; window: string } {
  const [account, unitText, window, ...rest] = key.split("|");
  const unit = LEDGER_UNITS.find((each) => each === unitText);
  if (!account || !unit || !window || rest.length > 0 || !kindOfWindow(window)) {
    throw new TypeError("not a row's key");
  }
  return { account, unit, window };
}
