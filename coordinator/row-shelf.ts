import type { Write } from "../ports/store.ts";
import { count } from "./ledger-entry.ts";
import { emptyRow, type LedgerRow, moveInRow, type RowKey } from "./ledger-row.ts";
import { kindOfWindow, LEDGER_UNITS, type LedgerUnit } from "./ledger-window.ts";

/** All rows of an account are one entry: each of its leases changes several of them. */
export const ROWS_PREFIX = "ledger/rows/";
/** As earlier versions wrote them, each row an entry of its own. */
export const ROW_PREFIX = "ledger/row/";

const NO_ROWS: readonly LedgerRow[] = [];

/** The ledger's rows, by account, and the entries that say what they are. */
export class RowShelf {
  /** A grant looks at dozens: each new text that a map is asked for costs more than all of them. */
  readonly #ofAccount = new Map<string, LedgerRow[]>();
  /** Accounts whose entry has to be written. Texts are made when they are taken: many turns change one row. */
  readonly #changed = new Set<string>();
  /** Entries of earlier versions, by account: they go when the account's own is written. */
  readonly #former = new Map<string, string[]>();

  *all(): IterableIterator<LedgerRow> {
    for (const rows of this.#ofAccount.values()) yield* rows;
  }

  /** Of one account, in all windows. */
  of(account: string): readonly LedgerRow[] {
    return this.#ofAccount.get(account) ?? NO_ROWS;
  }

  find(account: string, unit: LedgerUnit, window: string): LedgerRow | undefined {
    for (const row of this.of(account)) {
      if (row.unit === unit && row.window === window) return row;
    }
    return undefined;
  }

  /** Accounts that have a row, in no particular order. */
  accounts(): ReadonlySet<string> {
    return new Set(this.#ofAccount.keys());
  }

  put(row: LedgerRow): void {
    if (this.find(row.account, row.unit, row.window) !== row) this.#keep(row);
    this.#changed.add(row.account);
  }

  drop(row: LedgerRow): void {
    this.#unlist(row);
    this.#changed.add(row.account);
  }

  /** Forgets the rows of windows that are over. */
  dropEnded(hasEnded: (window: string) => boolean): void {
    for (const [account, rows] of this.#ofAccount) {
      if (!rows.some(({ window }) => hasEnded(window))) continue;
      for (const row of rows.filter(({ window }) => hasEnded(window))) this.#unlist(row);
      this.#changed.add(account);
    }
  }

  /** What must be written for the store to hold these rows, and forgets that it must. */
  takeWrites(): readonly Write[] {
    const writes: Write[] = [];
    for (const account of this.#changed) {
      const rows = this.#ofAccount.get(account);
      writes.push({ key: ROWS_PREFIX + account, value: rows && Buffer.from(textOf(rows)) });
      for (const key of this.#former.get(account) ?? []) writes.push({ key, value: undefined });
      this.#former.delete(account);
    }
    this.#changed.clear();
    return writes;
  }

  /** @throws TypeError It is not what this program writes. */
  load(account: string, value: unknown): void {
    if (account === "" || typeof value !== "object" || value === null) throw new TypeError("rows");
    for (const [name, amounts] of Object.entries(value)) {
      if (!Array.isArray(amounts) || amounts.length !== 3) throw new TypeError("a row's amounts");
      const [reserved, spent, children] = amounts.map(count) as [number, number, number];
      const [unit, window] = unitAndWindow(name.split("|"));
      const row = emptyRow(account, unit, window, undefined);
      moveInRow(row, { reserved, spent, children });
      this.#keep(row);
    }
  }

  /** @throws TypeError It is not what an earlier version wrote. */
  loadFormer(key: RowKey, stored: Record<string, unknown>): void {
    const { account, unit, window } = partsOfKey(key);
    const row = emptyRow(account, unit, window, undefined);
    moveInRow(row, {
      reserved: count(stored.reserved),
      spent: count(stored.spent),
      children: count(stored.children),
    });
    this.#keep(row);
    const former = this.#former.get(account);
    if (former === undefined) this.#former.set(account, [ROW_PREFIX + key]);
    else former.push(ROW_PREFIX + key);
  }

  #keep(row: LedgerRow): void {
    const { account, unit, window } = row;
    const before = this.find(account, unit, window);
    if (before !== undefined) this.#unlist(before);
    const others = this.#ofAccount.get(account);
    if (others === undefined) this.#ofAccount.set(account, [row]);
    else others.push(row);
  }

  #unlist(row: LedgerRow): void {
    const { account } = row;
    const others = this.of(account).filter((one) => one !== row);
    if (others.length > 0) this.#ofAccount.set(account, others);
    else this.#ofAccount.delete(account);
  }
}

/** The parts of a row's key. Throws a TypeError for what is none. */
export function partsOfKey(key: RowKey): { account: string; unit: LedgerUnit; window: string } {
  const [account, ...rest] = key.split("|");
  const [unit, window] = unitAndWindow(rest);
  if (!account) throw new TypeError("not a row's key");
  return { account, unit, window };
}

function unitAndWindow([name, window, ...rest]: readonly string[]): [LedgerUnit, string] {
  const unit = LEDGER_UNITS.find((each) => each === name);
  if (!unit || !window || rest.length > 0 || !kindOfWindow(window)) {
    throw new TypeError("not a row's unit and window");
  }
  return [unit, window];
}

/** JSON. Units and windows are made of what needs no escape in it. */
function textOf(rows: readonly LedgerRow[]): string {
  let text = "{";
  for (const { unit, window, reserved, spent, children } of rows) {
    const comma = text.length > 1 ? "," : "";
    text += `${comma}"${unit}|${window}":[${reserved},${spent},${children}]`;
  }
  return `${text}}`;
}
