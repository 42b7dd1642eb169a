import assert from "node:assert/strict";
import type { LedgerUnit } from "./ledger-window.ts";

/**
 * One account, unit and window: where its limit went.
 *
 * Always: limit = available + reserved + spent + children, and the last three are never negative.
 */
export type LedgerRow = {
  /** Its name among all rows. */
  readonly key: RowKey;
  readonly account: string;
  readonly unit: LedgerUnit;
  /** Window by name, as `windowAt` gives it. */
  readonly window: string;
  /** `undefined`: counted, but not limited here. */
  limit: number | undefined;
  /** What can still be lent. Negative after the limit was lowered below what is taken. */
  available: number;
  /** Lent to nodes and not yet reported as spent. */
  reserved: number;
  /** Reported as spent, and what expired leases may have spent. */
  spent: number;
  /** Lent to accounts below this one, or spent there. */
  children: number;
};

export type RowKey = string;

export function rowKey(account: string, unit: LedgerUnit, window: string): RowKey {
  return `${account}|${unit}|${window}`;
}

export function emptyRow(
  account: string,
  unit: LedgerUnit,
  window: string,
  limit: number | undefined,
): LedgerRow {
  const key = rowKey(account, unit, window);
  const available = limit ?? 0;
  return { key, account, unit, window, limit, available, reserved: 0, spent: 0, children: 0 };
}

/** Changes the limit; what is taken stays taken. */
export function setLimit(row: LedgerRow, limit: number | undefined): void {
  const taken = row.reserved + row.spent + row.children;
  row.limit = limit;
  row.available = limit === undefined ? 0 : limit - taken;
  checkRow(row);
}

/** Moves amounts between the columns of a row. The columns' sum changes only against `available`. */
export function moveInRow(
  row: LedgerRow,
  change: {
    readonly reserved?: number;
    readonly spent?: number;
    readonly children?: number;
  },
): void {
  const { reserved = 0, spent = 0, children = 0 } = change;
  row.reserved += reserved;
  row.spent += spent;
  row.children += children;
  if (row.limit !== undefined) row.available -= reserved + spent + children;
  checkRow(row);
}

/** Each lease moves a dozen rows, so nothing is put into words that is not wrong. */
function checkRow(row: LedgerRow): void {
  const { limit, available, reserved, spent, children } = row;
  const isCounted = isAmount(reserved) && isAmount(spent) && isAmount(children);
  const sum = available + reserved + spent + children;
  if (isCounted && (limit === undefined || limit === sum)) return;
  const name = `${row.account} ${row.unit} ${row.window}`;
  assert.fail(`ledger: ${name}: ${[reserved, spent, children]} and ${available} of ${limit}`);
}

function isAmount(term: number): boolean {
  return Number.isSafeInteger(term) && term >= 0;
}
