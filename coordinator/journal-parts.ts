import { StoreFault, type Write } from "../ports/store.ts";
import type { JournalEntry } from "../proto/gen/altrace/v1/journal_pb.ts";
import { entryOf } from "./journal-record.ts";

/** Bytes of changes in one link: a message takes 1 MB, and each entry a few bytes more than these. */
const LINK_BYTES_MAX = 512 * 1024;
/** Bytes of entries in one link of a snapshot. */
const PART_BYTES = 256 * 1024;
/** Parts of one snapshot up to which two of them fit into the stream, with room to spare: nothing is lost by a crash. */
const PARTS_MAX = 400;
/**
 * Parts of one snapshot at most: it fits into the stream by itself. A ledger that an earlier version let grow beyond
 * the other limit is taken over so, and nothing is lent until it has shrunk. While it is written the stream forgets the one
 * before, which lies on the disk of whoever follows.
 */
const PARTS_ALONE_MAX = 800;

export const JOURNAL_LIMITS = {
  /**
   * Bytes of entries beyond which nothing is lent, and no contract is opened: each may be of 32 KiB. A snapshot holds a
   * quarter more: what ends, and what operators set, is written all the same.
   */
  journalBytesMax: (PARTS_MAX * PART_BYTES * 4) / 5,
} as const;

/** Whether one link holds these changes. */
export function fitsLink(writes: readonly Write[]): boolean {
  return writes.reduce((bytes, write) => bytes + bytesOf(write), 0) <= LINK_BYTES_MAX;
}

/** What a ledger holds after these changes. */
export function entriesAfter(
  entries: ReadonlyMap<string, Uint8Array>,
  writes: readonly Write[],
): readonly JournalEntry[] {
  const changed = new Map<string, Uint8Array | undefined>(entries);
  for (const { key, value } of writes) changed.set(key, value);
  return [...changed].flatMap(([key, value]) =>
    value === undefined ? [] : [entryOf({ key, value })],
  );
}

/**
 * Divides all that a ledger holds into the links of one snapshot; at least one.
 *
 * @throws StoreFault It is more than the stream may hold.
 */
export function partsOf(entries: readonly JournalEntry[]): readonly (readonly JournalEntry[])[] {
  const parts = divided(entries, PART_BYTES);
  if (parts.length > PARTS_ALONE_MAX)
    throw new StoreFault(`a ledger of ${parts.length} parts is too large`);
  return parts;
}

/** Entries in their order, in groups of at most so many bytes, or of one entry that has more; at least one group. */
export function divided<T extends Pick<JournalEntry, "key" | "value">>(
  entries: readonly T[],
  bytesMax: number,
): readonly (readonly T[])[] {
  const groups: T[][] = [[]];
  let bytes = 0;
  for (const entry of entries) {
    const size = bytesOf(entry);
    if (bytes > 0 && bytes + size > bytesMax) {
      groups.push([]);
      bytes = 0;
    }
    groups.at(-1)?.push(entry);
    bytes += size;
  }
  return groups;
}

/** What an entry counts for. */
export function bytesOf({ key, value }: Pick<JournalEntry, "key" | "value">): number {
  return key.length + (value?.length ?? 0);
}
