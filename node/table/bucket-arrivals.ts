import { ROW_LONG } from "./layout.ts";
import { rowLong } from "./rows.ts";
import type { Table } from "./table.ts";

const CELLS = [ROW_LONG.bucketRequests, ROW_LONG.bucketTokens, ROW_LONG.bucketUsd] as const;

/** When the buckets of a row are full, monotonic ns: those of requests, tokens and money. */
export type BucketArrivals = readonly [requests: bigint, tokens: bigint, usd: bigint];

export function bucketArrivals(table: Table, row: number): BucketArrivals {
  const first = rowLong(table, row);
  const at = (cell: number) => Atomics.load(table.longs, first + cell);
  return [at(CELLS[0]), at(CELLS[1]), at(CELLS[2])];
}

/** Of a row that nobody has used yet. */
export function setBucketArrivals(table: Table, row: number, arrivals: BucketArrivals): void {
  const first = rowLong(table, row);
  for (const [at, cell] of CELLS.entries()) {
    Atomics.store(table.longs, first + cell, arrivals[at] as bigint);
  }
}
