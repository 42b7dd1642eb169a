import assert from "node:assert/strict";
import type { KilledBy } from "../decision/facts.ts";
import { ROW_INT } from "./layout.ts";
import { rowInt } from "./rows.ts";
import type { Table } from "./table.ts";

/** The cell that covers everybody. */
export const GLOBAL_CELL = 0;
/** Instead of a cell number: the row stands under no scope of that kind. */
export const NO_CELL = -1;

/** A kill is this one store. Mesh thread only. */
export function setKilled(table: Table, cell: number, killed: boolean): void {
  Atomics.store(table.ints, scopeCell(table, cell), killed ? 1 : 0);
}

export function isKilled(table: Table, cell: number): boolean {
  return Atomics.load(table.ints, scopeCell(table, cell)) !== 0;
}

/**
 * The widest killed scope over a pinned row, or `undefined`.
 *
 * Says nothing about whether the cells may be believed: `isFresh` does, and both must be asked.
 */
export function killedBy(table: Table, row: number): KilledBy | undefined {
  const { ints, layout } = table;
  if (Atomics.load(ints, layout.scopesAt + GLOBAL_CELL) !== 0) return "global";
  const first = rowInt(table, row);
  if (covers(table, Atomics.load(ints, first + ROW_INT.teamCell))) return "team";
  if (covers(table, Atomics.load(ints, first + ROW_INT.agentCell))) return "agent";
  if (covers(table, Atomics.load(ints, first + ROW_INT.contractCell))) return "contract";
  return undefined;
}

function covers({ ints, layout }: Table, cell: number): boolean {
  return cell !== NO_CELL && Atomics.load(ints, layout.scopesAt + cell) !== 0;
}

function scopeCell({ layout }: Table, cell: number): number {
  if (!(cell >= 0 && cell < layout.scopes)) assert.fail(`scope cell ${cell}`);
  return layout.scopesAt + cell;
}
