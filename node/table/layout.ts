import assert from "node:assert/strict";

/**
 * Where each cell of the table lies. All of it follows from four sizes, so that every thread computes
 * the same places from the header alone.
 *
 * Two views cover one buffer: `ints` counts in 4 bytes, `longs` in 8. What one thread writes often and
 * others read has a cache line (64 bytes) of its own.
 */
export type TableSize = {
  /** Rows: accounts that can be active at once on this node. */
  readonly rows: number;
  /** Data loops. Each pins rows with cells of its own. */
  readonly loops: number;
  /** Scope cells, the global one included. */
  readonly scopes: number;
  /** Writers of the audit log: the loops first, then the other threads that write one. */
  readonly writers: number;
  /**
   * Cells for spent proofs of possession. Default: `PROOF_CELLS`, which the shares of contracts are
   * measured for (S4 of proof-cells.ts); fewer are for tables that see few proofs.
   */
  readonly proofs?: number;
};

export const TABLE_ROWS_MAX = 1 << 20;
export const TABLE_LOOPS_MAX = 256;
export const TABLE_SCOPES_MAX = 1 << 22;
export const TABLE_WRITERS_MAX = 512;

/** Header cells, in `ints`. */
export const HEADER = {
  magic: 0,
  layoutVersion: 1,
  rows: 2,
  loops: 3,
  scopes: 4,
  writers: 5,
  policyVersion: 16,
  keyGeneration: 17,
  trustVersion: 19,
  moneyReturned: 20,
  proofs: 21,
} as const;

/** "ALTB", so that a buffer of something else is not taken for a table. */
export const TABLE_MAGIC = 0x414c5442;
/** Changes whenever a cell moves. */
export const LAYOUT_VERSION = 5;

/** Cells of one row, in `ints`, from the row's first. */
export const ROW_INT = {
  generation: 0,
  state: 1,
  teamCell: 2,
  agentCell: 3,
  contractCell: 4,
  standing: 5,
  unlimited: 6,
} as const;
/** Two rows fill one cache line. */
export const ROW_INTS = 8;

/**
 * Cells of one row, in `longs`, from the row's first. `reserve` goes through them in this order, which
 * is the order of the stages that answer for them: rate before budget.
 */
export const ROW_LONG = {
  bucketRequests: 0,
  bucketTokens: 1,
  bucketUsd: 2,
  usd: 3,
  tokens: 4,
  calls: 5,
  // 6 is nobody's.
  /** Proofs of possession that were spent in the present epoch. No balance. */
  proofs: 7,
} as const;
/** A row's cells fill one cache line. */
export const ROW_LONGS = 8;

/** What a row has of the rates that policy gives its agent, in `ints`: parts, by metric. */
export const SHARE_INT = {
  requests: 0,
  tokens: 1,
  usd: 2,
  /** What was used of the whole rates since ever, as the time that they take to give it back: µs, running over. */
  usedRequests: 3,
  usedTokens: 4,
  usedUsd: 5,
  /** How often a request found too little of it. */
  limited: 6,
} as const;
export const SHARE_INTS = 8;

/** The same in `longs`: its buckets. Contracts have buckets of their own beside them. */
export const SHARE_LONG = {
  bucketRequests: 0,
  bucketTokens: 1,
  bucketUsd: 2,
  /** Monotonic ns at which the shares end. */
  until: 3,
} as const;
export const SHARE_LONGS = 4;

/** Proofs of possession that are remembered at once: some five thousand a second, in 4 MiB. */
export const PROOF_CELLS = 1 << 19;

const LINE_BYTES = 64;
const INTS_PER_LINE = LINE_BYTES / 4;
const LONGS_PER_LINE = LINE_BYTES / 8;
const HEADER_INTS = 2 * INTS_PER_LINE;

export type Layout = Required<TableSize> & {
  readonly bytes: number;
  /** Threads that may pin a row: the loops, then the control thread. */
  readonly pinners: number;
  // In `ints`.
  readonly scopesAt: number;
  readonly rowIntsAt: number;
  readonly pinsAt: number;
  /** Distance between the pin cells of two pinners. */
  readonly pinStride: number;
  /** For each row, and last for the overrun account, the number of the ledger's no that stands; or 0. */
  readonly refusalsAt: number;
  readonly shareIntsAt: number;
  // In `longs`.
  readonly openUntilAt: number;
  /** Beside the cell before it: the mesh thread writes both, and each look at one reads the other. */
  readonly killReadingAt: number;
  readonly syncedAt: number;
  readonly syncedStride: number;
  readonly shareLongsAt: number;
  readonly rowLongsAt: number;
  /** The node's overrun account: the last account cell, so that it is the last one reserved. */
  readonly overrunAt: number;
  readonly proofsAt: number;
};

/** @throws AssertionError for a size outside its limit: configuration checks the same limits first. */
export function layoutOf(size: TableSize): Layout {
  assertSize("rows", size.rows, TABLE_ROWS_MAX);
  assertSize("loops", size.loops, TABLE_LOOPS_MAX);
  assertSize("scopes", size.scopes, TABLE_SCOPES_MAX);
  assertSize("writers", size.writers, TABLE_WRITERS_MAX);
  const { proofs = PROOF_CELLS } = size;
  assertSize("proofs", proofs, PROOF_CELLS);
  const pinners = size.loops + 1;
  const pinStride = wholeLines(size.rows, INTS_PER_LINE);
  const scopesAt = HEADER_INTS;
  const rowIntsAt = scopesAt + wholeLines(size.scopes, INTS_PER_LINE);
  const pinsAt = rowIntsAt + wholeLines(size.rows * ROW_INTS, INTS_PER_LINE);
  const refusalsAt = pinsAt + pinners * pinStride;
  const shareIntsAt = refusalsAt + wholeLines(size.rows + 1, INTS_PER_LINE);
  const intsEnd = shareIntsAt + wholeLines(size.rows * SHARE_INTS, INTS_PER_LINE);
  const openUntilAt = intsEnd / 2;
  const syncedAt = openUntilAt + LONGS_PER_LINE;
  const shareLongsAt = syncedAt + size.writers * LONGS_PER_LINE;
  const rowLongsAt = shareLongsAt + wholeLines(size.rows * SHARE_LONGS, LONGS_PER_LINE);
  const overrunAt = rowLongsAt + size.rows * ROW_LONGS;
  const proofsAt = overrunAt + LONGS_PER_LINE;
  return {
    rows: size.rows,
    loops: size.loops,
    scopes: size.scopes,
    writers: size.writers,
    proofs,
    bytes: (proofsAt + proofs) * 8,
    pinners,
    scopesAt,
    rowIntsAt,
    pinsAt,
    pinStride,
    refusalsAt,
    shareIntsAt,
    openUntilAt,
    killReadingAt: openUntilAt + 1,
    syncedAt,
    syncedStride: LONGS_PER_LINE,
    shareLongsAt,
    rowLongsAt,
    overrunAt,
    proofsAt,
  };
}

function assertSize(name: string, value: number, max: number): void {
  assert(Number.isInteger(value) && value >= 1 && value <= max, `table ${name}: ${value}`);
}

function wholeLines(cells: number, perLine: number): number {
  return Math.ceil(cells / perLine) * perLine;
}
