import assert from "node:assert/strict";
import {
  HEADER,
  LAYOUT_VERSION,
  type Layout,
  layoutOf,
  TABLE_MAGIC,
  type TableSize,
} from "./layout.ts";

/**
 * The table: what all threads of a node must see of one another within nanoseconds.
 *
 * Who may write what:
 *
 * - scope cells, `open_until`, `kill_reading`, `key_generation`, rows: the mesh thread alone;
 * - standing, `unlimited`, refusals, `policy_version`, lending: the control thread alone;
 * - a pin cell: its own pinner alone; a `synced_at` cell: the audit thread alone;
 * - balances, buckets and spent proofs: everybody, by compare-exchange or add, never by store.
 *
 * Every access goes through Atomics, which are sequentially consistent: what a thread wrote before a
 * store is seen by whoever sees the store.
 */
export type Table = {
  readonly buffer: SharedArrayBuffer;
  readonly layout: Layout;
  readonly ints: Int32Array<SharedArrayBuffer>;
  readonly longs: BigInt64Array<SharedArrayBuffer>;
};

/** A new table, all cells zero: nothing killed, nothing lent, and closed because `open_until` is 0. */
export function createTable(size: TableSize): Table {
  const layout = layoutOf(size);
  const table = viewsOf(new SharedArrayBuffer(layout.bytes), layout);
  const { ints } = table;
  Atomics.store(ints, HEADER.layoutVersion, LAYOUT_VERSION);
  Atomics.store(ints, HEADER.rows, size.rows);
  Atomics.store(ints, HEADER.loops, size.loops);
  Atomics.store(ints, HEADER.scopes, size.scopes);
  Atomics.store(ints, HEADER.writers, size.writers);
  Atomics.store(ints, HEADER.proofs, layout.proofs);
  Atomics.store(ints, HEADER.magic, TABLE_MAGIC);
  return table;
}

/** The table in a buffer that another thread created. */
export function openTable(buffer: SharedArrayBuffer): Table {
  const ints = new Int32Array(buffer);
  assert.equal(Atomics.load(ints, HEADER.magic), TABLE_MAGIC, "the buffer holds no table");
  assert.equal(Atomics.load(ints, HEADER.layoutVersion), LAYOUT_VERSION, "table of another layout");
  const layout = layoutOf({
    rows: Atomics.load(ints, HEADER.rows),
    loops: Atomics.load(ints, HEADER.loops),
    scopes: Atomics.load(ints, HEADER.scopes),
    writers: Atomics.load(ints, HEADER.writers),
    proofs: Atomics.load(ints, HEADER.proofs),
  });
  assert.equal(buffer.byteLength, layout.bytes, "the table's size does not follow from its header");
  return viewsOf(buffer, layout);
}

/** Version of the policy in force; 0 before the first. */
export function policyVersion(table: Table): number {
  return Atomics.load(table.ints, HEADER.policyVersion);
}

export function setPolicyVersion(table: Table, version: number): void {
  assert(Number.isInteger(version) && version >= 0 && version < 2 ** 31, `version ${version}`);
  Atomics.store(table.ints, HEADER.policyVersion, version);
}

/** Differs from an earlier value when keys or trust changed since: cached answers are then void. */
export function keyGeneration(table: Table): number {
  return Atomics.load(table.ints, HEADER.keyGeneration);
}

/** Makes every cached answer about keys void. Returns the new generation. */
export function bumpKeyGeneration(table: Table): number {
  return (Atomics.add(table.ints, HEADER.keyGeneration, 1) + 1) | 0;
}

/** Version of the trust bundle in force; 0 before the first. For records: nothing is decided by it. */
export function trustVersion(table: Table): number {
  return Atomics.load(table.ints, HEADER.trustVersion);
}

export function setTrustVersion(table: Table, version: number): void {
  assert(Number.isInteger(version) && version >= 0 && version < 2 ** 31, `version ${version}`);
  Atomics.store(table.ints, HEADER.trustVersion, version);
}

/** Until when the kill state may be believed, monotonic nanoseconds; 0 is closed. */
export function openUntilNs(table: Table): bigint {
  return Atomics.load(table.longs, table.layout.openUntilAt);
}

export function setOpenUntilNs(table: Table, atNs: bigint): void {
  Atomics.store(table.longs, table.layout.openUntilAt, atNs);
}

/** False: the node is closed, whatever the scope cells say. */
export function isFresh(table: Table, nowNs: bigint): boolean {
  return nowNs < openUntilNs(table);
}

/** Everything that the writer appended before this instant is on disk; monotonic nanoseconds. */
export function syncedAtNs(table: Table, writer: number): bigint {
  return Atomics.load(table.longs, syncedCell(table, writer));
}

export function setSyncedAtNs(table: Table, writer: number, atNs: bigint): void {
  Atomics.store(table.longs, syncedCell(table, writer), atNs);
}

function syncedCell({ layout }: Table, writer: number): number {
  if (!(writer >= 0 && writer < layout.writers)) assert.fail(`writer ${writer}`);
  return layout.syncedAt + writer * layout.syncedStride;
}

function viewsOf(buffer: SharedArrayBuffer, layout: Layout): Table {
  return { buffer, layout, ints: new Int32Array(buffer), longs: new BigInt64Array(buffer) };
}
