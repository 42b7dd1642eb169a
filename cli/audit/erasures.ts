import { existsSync } from "node:fs";
import type { SealedRecord } from "../../audit/record.ts";
import { entriesFrom, sizeOf } from "./entries.ts";
import { logsBelow, nodeLogFolder } from "./log-place.ts";

/** How a record of an erasure begins to say so. Another that has the same bytes in it is read for nothing. */
const MARK = Buffer.from('"k":"redact"');

/**
 * What stood for persons whose keys were erased, as logs say it. Keys lie beside the log, and a backup brings
 * them back; what the log says of them stays.
 */
export class Erasures {
  readonly #folders: readonly string[];
  readonly #pseudonyms = new Set<string>();
  /** Leaves that were looked through, by the folder of their log. */
  readonly #read = new Map<string, number>();

  /** @param folder Logs that are shown; those of this HOME's own node are asked as well, whose keys these are. */
  constructor(home: string, folder: string) {
    const own = nodeLogFolder(home);
    this.#folders = own !== folder && existsSync(own) ? [own, folder] : [folder];
  }

  has(pseudonym: string): boolean {
    return this.#pseudonyms.has(pseudonym);
  }

  note(record: SealedRecord): void {
    if (record.k === "redact") this.#pseudonyms.add(record.kid);
  }

  /** Looks through what all the logs have by now: an erasure comes after what it is about, in that log or a later one. */
  catchUp(): void {
    for (const place of this.#folders.flatMap((folder) => logsBelow(folder))) {
      const size = sizeOf(place);
      const from = this.#read.get(place.dir) ?? 0;
      for (const entries of entriesFrom(place, { from, size, holding: MARK })) {
        for (const { record } of entries) this.note(record);
      }
      this.#read.set(place.dir, Math.max(from, size));
    }
  }
}
