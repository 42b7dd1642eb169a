import { parseCheckpointText } from "../../audit/checkpoint.ts";
import { decodeRecord, isSealed } from "../../audit/leaf.ts";
import { minimumOf } from "../../audit/log-minimum.ts";
import type { SealedRecord } from "../../audit/record.ts";
import { parseNote } from "../../audit/signed-note.ts";
import { CHECKPOINT_PATH, readBundle, TILE_WIDTH } from "../../audit/tiles.ts";
import { CommandError } from "../command-context.ts";
import { type LogPlace, readerOf } from "./log-place.ts";

/** Leaves that the log's checkpoint covers, by its own word. */
export function sizeOf({ dir }: LogPlace): number {
  const bytes = readerOf(dir).read(CHECKPOINT_PATH);
  if (bytes === undefined) return 0;
  const note = parseNote(bytes);
  const checkpoint = note.ok ? parseCheckpointText(note.value.text) : note;
  if (!checkpoint.ok) throw new CommandError(`${dir}: ${checkpoint.flaw}: ${checkpoint.detail}`);
  return checkpoint.value.size;
}

/** A record as its log has it: the bytes that are hashed, and what they say. */
export type Entry = { readonly bytes: Uint8Array; readonly record: SealedRecord };

type Wanted = {
  readonly from: number;
  readonly size: number;
  /** Entries without these bytes are left out, unread. */
  readonly holding?: Uint8Array;
};

/**
 * The entries of one bundle of a log of `size` leaves, from leaf `from` on; none when the bundle was removed in
 * order in this moment.
 */
export function bundleOf(
  place: LogPlace,
  { index, size, from, holding }: Wanted & { readonly index: number },
): readonly Entry[] {
  const width = Math.min(TILE_WIDTH, size - index * TILE_WIDTH);
  const reader = readerOf(place.dir);
  const entries = readBundle(reader, { index, width });
  const isMissing = !entries.ok && entries.flaw === "bundle_missing";
  if (isMissing && index * TILE_WIDTH + width <= minimumOf(reader)) return [];
  if (!entries.ok) throw new CommandError(`${place.origin}: ${entries.flaw}: ${entries.detail}`);
  return entries.value.flatMap((bytes, i) => {
    if (index * TILE_WIDTH + i < from) return [];
    if (holding !== undefined && asBuffer(bytes).indexOf(holding) < 0) return [];
    const decoded = decodeRecord(bytes);
    if (!decoded.ok || !isSealed(decoded.record)) {
      const seq = index * TILE_WIDTH + i;
      throw new CommandError(
        `${place.origin}: leaf ${seq} is no record: run \`altrace audit verify\``,
      );
    }
    return [{ bytes, record: decoded.record }];
  });
}

/** All entries from leaf `from` on, a bundle at a time. */
export function* entriesFrom(place: LogPlace, wanted: Wanted): Generator<readonly Entry[]> {
  const { from, size } = wanted;
  const first = Math.max(from, minimumOf(readerOf(place.dir)));
  for (let index = Math.floor(first / TILE_WIDTH); index * TILE_WIDTH < size; index++) {
    yield bundleOf(place, { index, ...wanted });
  }
}

/** The entry at a place of the log. */
export function entryAt(place: LogPlace, index: number, size: number): Entry | undefined {
  if (index >= size || index < minimumOf(readerOf(place.dir))) return undefined;
  const bundle = Math.floor(index / TILE_WIDTH);
  return bundleOf(place, { index: bundle, size, from: index })[0];
}

/** The same bytes, by a type that can be searched. */
function asBuffer({ buffer, byteOffset, length }: Uint8Array): Buffer {
  return Buffer.from(buffer, byteOffset, length);
}
