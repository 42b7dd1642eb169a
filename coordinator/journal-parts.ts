import { StoreFault } from "../ports/store.ts";
import type { JournalEntry } from "../proto/gen/altrace/v1/journal_pb.ts";

/** Bytes of entries in one link of a snapshot. */
const PART_BYTES = 256 * 1024;
/** Parts of one snapshot at most: two of them fit into the stream with room to spare. */
const PARTS_MAX = 400;

/**
 * Divides all that a ledger holds into the links of one snapshot; at least one.
 *
 * @throws StoreFault It is more than the stream may hold.
 */
export function partsOf(entries: readonly JournalEntry[]): readonly (readonly JournalEntry[])[] {
  const parts: JournalEntry[][] = [[]];
  let bytes = 0;
  for (const entry of entries) {
    const size = entry.key.length + (entry.value?.length ?? 0);
    if (bytes > 0 && bytes + size > PART_BYTES) {
      parts.push([]);
      bytes = 0;
    }
    parts.at(-1)?.push(entry);
    bytes += size;
  }
  if (parts.length > PARTS_MAX)
    throw new StoreFault(`a ledger of ${parts.length} parts is too large`);
  return parts;
}
