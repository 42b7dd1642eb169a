import { strictDecimal } from "./strict-text.ts";
import type { LogReader } from "./tiles.ts";

/** Where a log says from which entry on it has entries; hashes it has of all of them. */
export const MINIMUM_PATH = "minimum";

/**
 * Entries before this place are not in the log's folder any more: 0 when all are. It is the folder's own
 * word. Whoever holds a log against it says how many records were not seen.
 */
export function minimumOf(reader: LogReader): number {
  const bytes = reader.read(MINIMUM_PATH);
  return bytes === undefined ? 0 : (strictDecimal(Buffer.from(bytes).toString().trimEnd()) ?? 0);
}

export function encodeMinimum(first: number): Buffer {
  return Buffer.from(`${first}\n`, "latin1");
}
