import assert from "node:assert/strict";
import { GLOBAL_CELL, setKilled } from "../table/scope-cells.ts";
import type { Table } from "../table/table.ts";

type Entry = { readonly cell: number; holders: number };

/**
 * Which scope has which cell. A scope has one only while a row stands under it; the global scope always.
 *
 * A kill of a scope without a cell stores nothing: no row of this node is under it, and the first one
 * that will be finds the kill in merged state.
 */
export class ScopeCellMap {
  readonly #table: Table;
  readonly #cells = new Map<string, Entry>();
  readonly #free: number[] = [];
  #unused: number = GLOBAL_CELL + 1;

  constructor(table: Table) {
    this.#table = table;
    this.#cells.set("global", { cell: GLOBAL_CELL, holders: 1 });
  }

  /** Stores a scope's kill or its end; false when no row stands under the scope. */
  store(scope: string, killed: boolean): boolean {
    const entry = this.#cells.get(scope);
    if (!entry) return false;
    setKilled(this.#table, entry.cell, killed);
    return true;
  }

  /**
   * The scope's cell, for one more holder; already as `killed` says when this returns.
   *
   * @returns `undefined`: every cell is in use.
   */
  take(scope: string, killed: boolean): number | undefined {
    const entry = this.#cells.get(scope) ?? this.#allot(scope);
    if (!entry) return undefined;
    setKilled(this.#table, entry.cell, killed);
    entry.holders += 1;
    return entry.cell;
  }

  /** One holder less. The cell of a scope without holders is another's to `take`, which sets it. */
  drop(scope: string): void {
    const entry = this.#cells.get(scope);
    assert(entry && entry.holders > 0, `nobody holds the cell of ${scope}`);
    entry.holders -= 1;
    if (entry.holders > 0) return;
    this.#cells.delete(scope);
    this.#free.push(entry.cell);
  }

  #allot(scope: string): Entry | undefined {
    const cell = this.#free.pop() ?? this.#next();
    if (cell === undefined) return undefined;
    const entry = { cell, holders: 0 };
    this.#cells.set(scope, entry);
    return entry;
  }

  #next(): number | undefined {
    if (this.#unused >= this.#table.layout.scopes) return undefined;
    this.#unused += 1;
    return this.#unused - 1;
  }
}
