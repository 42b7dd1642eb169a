import { syncedAtNs, type Table } from "../table/table.ts";
import { hasFailed, roomOf, type WalSignal, type WrittenAt, writtenAtOf } from "./wal-signal.ts";

/**
 * Whether every writer of the log may record an allow: the answer of a whole node, as each of its
 * writers has it for itself.
 */
export function isLogWritable(of: {
  readonly signal: WalSignal;
  readonly table: Table;
  readonly nowNs: bigint;
  /** Longest time that a frame may be unsynced. */
  readonly syncMaxNs: bigint;
}): boolean {
  const { signal, table, nowNs, syncMaxNs } = of;
  if (roomOf(signal) === "none") return false;
  for (let no = 0; no < signal.writers; no++) {
    if (hasFailed(signal, no)) return false;
    const sinceNs = unsyncedSinceNs(writtenAtOf(signal, no), syncedAtNs(table, no));
    if (sinceNs !== undefined && nowNs - sinceNs >= syncMaxNs) return false;
  }
  return true;
}

/** Since when frames of a writer may be unsynced, monotonic ns; undefined: all are on the disk. */
export function unsyncedSinceNs(written: WrittenAt, syncedNs: bigint): bigint | undefined {
  if (written.newestNs <= syncedNs) return undefined;
  // Some frames after the oldest one may have been synced with it: what is left is younger still.
  return syncedNs > written.oldestNs ? syncedNs : written.oldestNs;
}
