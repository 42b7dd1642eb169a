import assert from "node:assert/strict";
import {
  type Layout,
  ROW_INT,
  ROW_INTS,
  ROW_LONG,
  ROW_LONGS,
  SHARE_INTS,
  SHARE_LONGS,
} from "./layout.ts";
import type { Table } from "./table.ts";

// A row serves one account holder: an agent, or an agent under one contract.
//
// R1. Whoever uses a row has pinned it, and its generation was then the one they were given.
// R2. A retired row has a new generation, so no older grant can pin it again.
// R3. A row is cleared only when nobody pins it and its balances have been taken back.
//
// A pin is written before the generation is read, and the generation is written before the pins are
// read. One of the two therefore sees the other: a row cannot be both in use and cleared.

/** A row as it was when somebody was given it. */
export type RowRef = { readonly row: number; readonly generation: number };

/** The scope cells a row stands under; `contract` may be NO_CELL. */
export type RowCells = {
  readonly team: number;
  readonly agent: number;
  readonly contract: number;
};

const ROW_FREE = 0;
const ROW_LIVE = 1;
const ROW_RETIRED = 2;

/** The control thread's number among those that pin rows; the loops have theirs below it. */
export function controlPinner({ layout }: Table): number {
  return layout.loops;
}

/** False: the row serves somebody else by now; ask again. True: it stays until `unpin`. */
export function pin(table: Table, pinner: number, ref: RowRef): boolean {
  const cell = pinCell(table, pinner, ref.row);
  Atomics.add(table.ints, cell, 1);
  const first = rowInt(table, ref.row);
  const generation = Atomics.load(table.ints, first + ROW_INT.generation);
  const live = Atomics.load(table.ints, first + ROW_INT.state) === ROW_LIVE;
  if (generation === ref.generation && live) return true;
  Atomics.sub(table.ints, cell, 1);
  return false;
}

/** Once for each successful `pin`, after the last use of the row. */
export function unpin(table: Table, pinner: number, row: number): void {
  const before = Atomics.sub(table.ints, pinCell(table, pinner, row), 1);
  if (before <= 0) assert.fail(`row ${row} was not pinned by ${pinner}`);
}

/** First of the row's cells in `ints`. */
export function rowInt({ layout }: Table, row: number): number {
  assertRow(layout, row);
  return layout.rowIntsAt + row * ROW_INTS;
}

/** First of the row's cells in `longs`. */
export function rowLong({ layout }: Table, row: number): number {
  assertRow(layout, row);
  return layout.rowLongsAt + row * ROW_LONGS;
}

/** First of the cells in `ints` that say what the row has of its agent's rates. */
export function shareInt({ layout }: Table, row: number): number {
  assertRow(layout, row);
  return layout.shareIntsAt + row * SHARE_INTS;
}

/** The same in `longs`. */
export function shareLong({ layout }: Table, row: number): number {
  assertRow(layout, row);
  return layout.shareLongsAt + row * SHARE_LONGS;
}

/** Whether the row is retired and of the generation that followed this one. */
export function isRetiredSince(table: Table, ref: RowRef): boolean {
  const first = rowInt(table, ref.row);
  return (
    Atomics.load(table.ints, first + ROW_INT.state) === ROW_RETIRED &&
    Atomics.load(table.ints, first + ROW_INT.generation) === ((ref.generation + 1) | 0)
  );
}

/** Allots rows and takes them back. One for a table, in the mesh thread. */
export type RowOwner = {
  /** A row under these cells, or `undefined`: all are in use (`table_full`). */
  allot(cells: RowCells): RowRef | undefined;
  /** No new request can use the row from now on. */
  retire(row: number): void;
  /** True once nobody pins the retired row: its last request has been settled. */
  isIdle(row: number): boolean;
  /**
   * Clears the retired row and puts it up for allotment.
   * False: it is still pinned, or a balance has not been taken back; try again later.
   */
  reclaim(row: number): boolean;
  readonly freeCount: number;
};

export function createRowOwner(table: Table): RowOwner {
  const free: number[] = [];
  for (let row = table.layout.rows - 1; row >= 0; row--) free.push(row);
  return {
    allot: (cells) => allot(table, free, cells),
    retire: (row) => retire(table, row),
    isIdle: (row) => isIdle(table, row),
    reclaim(row) {
      if (!clearWhenIdle(table, row)) return false;
      free.push(row);
      return true;
    },
    get freeCount() {
      return free.length;
    },
  };
}

function allot(table: Table, free: number[], cells: RowCells): RowRef | undefined {
  const row = free.pop();
  if (row === undefined) return undefined;
  const { ints } = table;
  const first = rowInt(table, row);
  assert.equal(Atomics.load(ints, first + ROW_INT.state), ROW_FREE, `row ${row} is in use`);
  Atomics.store(ints, first + ROW_INT.teamCell, cells.team);
  Atomics.store(ints, first + ROW_INT.agentCell, cells.agent);
  Atomics.store(ints, first + ROW_INT.contractCell, cells.contract);
  Atomics.store(ints, first + ROW_INT.state, ROW_LIVE);
  return { row, generation: Atomics.load(ints, first + ROW_INT.generation) };
}

function retire(table: Table, row: number): void {
  const first = rowInt(table, row);
  assert.equal(Atomics.load(table.ints, first + ROW_INT.state), ROW_LIVE, `row ${row} not live`);
  Atomics.add(table.ints, first + ROW_INT.generation, 1);
  Atomics.store(table.ints, first + ROW_INT.state, ROW_RETIRED);
}

function isIdle(table: Table, row: number): boolean {
  for (let pinner = 0; pinner < table.layout.pinners; pinner++) {
    if (Atomics.load(table.ints, pinCell(table, pinner, row)) !== 0) return false;
  }
  return true;
}

function clearWhenIdle(table: Table, row: number): boolean {
  const { ints, longs } = table;
  const first = rowInt(table, row);
  assert.equal(Atomics.load(ints, first + ROW_INT.state), ROW_RETIRED, `row ${row} not retired`);
  if (!isIdle(table, row)) return false;
  const money = rowLong(table, row);
  for (const cell of [ROW_LONG.usd, ROW_LONG.tokens, ROW_LONG.calls]) {
    if (Atomics.load(longs, money + cell) !== 0n) return false;
  }
  for (let cell = 0; cell < ROW_LONGS; cell++) Atomics.store(longs, money + cell, 0n);
  // The generation stays: it only ever grows.
  for (let cell = ROW_INT.state; cell < ROW_INTS; cell++) Atomics.store(ints, first + cell, 0);
  const [share, buckets] = [shareInt(table, row), shareLong(table, row)];
  for (let cell = 0; cell < SHARE_INTS; cell++) Atomics.store(ints, share + cell, 0);
  for (let cell = 0; cell < SHARE_LONGS; cell++) Atomics.store(longs, buckets + cell, 0n);
  return true;
}

function pinCell({ layout }: Table, pinner: number, row: number): number {
  if (!(pinner >= 0 && pinner < layout.pinners)) assert.fail(`pinner ${pinner}`);
  assertRow(layout, row);
  return layout.pinsAt + pinner * layout.pinStride + row;
}

/** Looked at a dozen times a request, so nothing is worded before something is wrong. */
function assertRow({ rows }: Layout, row: number): void {
  if (!(row >= 0 && row < rows)) assert.fail(`row ${row}`);
}
