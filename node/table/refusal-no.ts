import { HEADER } from "./layout.ts";
import type { Table } from "./table.ts";

// Which no of the ledger stands, by its number. The control thread numbers each no that it tells and
// takes the number out again when money may have come since. A loop repeats a no while it finds its
// number here, and so never says what the account's actor would not say.

/** The control thread alone, under its pin. 0: none stands. */
export function setRefusalNo({ ints, layout }: Table, row: number, no: number): void {
  Atomics.store(ints, layout.refusalsAt + row, no);
}

export function refusalNo({ ints, layout }: Table, row: number): number {
  return Atomics.load(ints, layout.refusalsAt + row);
}

/** The same for the node's overrun account. The control thread alone. */
export function setOverrunRefusalNo(table: Table, no: number): void {
  setRefusalNo(table, table.layout.rows, no);
}

export function overrunRefusalNo(table: Table): number {
  return refusalNo(table, table.layout.rows);
}

/** Settlements that brought money back to the ledger, counted; wraps. The control thread alone. */
export function setMoneyReturned({ ints }: Table, count: number): void {
  Atomics.store(ints, HEADER.moneyReturned, count | 0);
}

export function moneyReturned({ ints }: Table): number {
  return Atomics.load(ints, HEADER.moneyReturned);
}
