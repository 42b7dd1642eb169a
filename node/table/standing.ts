import assert from "node:assert/strict";
import { STANDINGS, type Standing } from "../decision/facts.ts";
import { ROW_INT } from "./layout.ts";
import { rowInt } from "./rows.ts";
import type { Table } from "./table.ts";

/** A set of units, one bit each. */
export type UnitSet = number;
export const UNIT = { usd: 1, tokens: 2, calls: 4 } as const;
export const ALL_UNITS: UnitSet = UNIT.usd | UNIT.tokens | UNIT.calls;

/** Where the row's agent stands. Never `kill`: that one follows from the scope cells. */
export function standingOf(table: Table, row: number): Standing {
  const index = Atomics.load(table.ints, rowInt(table, row) + ROW_INT.standing);
  const standing = STANDINGS[index];
  if (standing === undefined) assert.fail(`row ${row} holds standing ${index}`);
  return standing;
}

/** Control thread only, under its pin. */
export function setStanding(table: Table, row: number, standing: Exclude<Standing, "kill">): void {
  Atomics.store(table.ints, rowInt(table, row) + ROW_INT.standing, STANDINGS.indexOf(standing));
}

/** Units that the row's account has no limit in; nothing is charged there. */
export function unlimitedUnits(table: Table, row: number): UnitSet {
  return Atomics.load(table.ints, rowInt(table, row) + ROW_INT.unlimited);
}

/** Control thread only, under its pin. Requests that run keep what they took under the old set. */
export function setUnlimitedUnits(table: Table, row: number, units: UnitSet): void {
  Atomics.store(table.ints, rowInt(table, row) + ROW_INT.unlimited, units & ALL_UNITS);
}
