import { type Checkpoint, parseCheckpointText } from "./checkpoint.ts";
import { decodeRecord } from "./leaf.ts";
import { inclusionProof, leafHash, verifyInclusion } from "./merkle.ts";
import { encodeReceipt, parseReceipt } from "./receipt.ts";
import type { CloseRecord } from "./record.ts";
import { parseNote } from "./signed-note.ts";
import {
  CHECKPOINT_PATH,
  type LogReader,
  readBundle,
  readTile,
  subtreesFromTiles,
  TILE_WIDTH,
  TileError,
} from "./tiles.ts";

/** Where a log whose records are gone shows that it had ended: a receipt of its last leaf. */
export const END_PATH = "close.tlog-proof";

/** A log that does not grow any more, because its last leaf says so. */
export type EndedLog = Pick<Checkpoint, "size" | "root"> & {
  /** Its last checkpoint, verbatim. */
  readonly checkpoint: string;
  readonly close: CloseRecord;
  /** Shows the last leaf to whoever trusts the checkpoint: what stands in `END_PATH`. */
  readonly receipt: string;
};

/**
 * A log that has ended, whole: the signed root holds its last leaf. Signatures are not looked at.
 *
 * @returns Undefined: it has not ended, or is not there as far as its checkpoint says.
 */
export function endedLog(reader: LogReader): EndedLog | undefined {
  const bytes = reader.read(CHECKPOINT_PATH);
  const note = bytes && parseNote(bytes);
  const head = note?.ok ? parseCheckpointText(note.value.text) : undefined;
  if (bytes === undefined || !head?.ok || head.value.size === 0) return undefined;
  const { size, root } = head.value;
  const index = size - 1;
  const bundle = Math.floor(index / TILE_WIDTH);
  const entries = readBundle(reader, { index: bundle, width: (index % TILE_WIDTH) + 1 });
  const entry = entries.ok ? entries.value.at(-1) : undefined;
  const close = entry && closeIn(entry);
  if (entry === undefined || close === undefined) return undefined;
  const proof = proofOf(reader, size);
  const leaf = leafHash(entry);
  if (proof === undefined || !verifyInclusion({ index, size, leaf, proof, root })) return undefined;
  const checkpoint = Buffer.from(bytes).toString("utf8");
  return {
    size,
    root,
    checkpoint,
    close,
    receipt: encodeReceipt({ index, proof, checkpoint, entry }),
  };
}

/** Whether a folder without records shows that its log had ended where its checkpoint says. */
export function showsItsEnd(
  reader: LogReader,
  { size, root }: Pick<Checkpoint, "size" | "root">,
): boolean {
  const bytes = reader.read(END_PATH);
  const receipt = bytes && parseReceipt(bytes);
  if (!receipt?.ok || receipt.value.entry === undefined) return false;
  const { entry, index, proof } = receipt.value;
  if (index !== size - 1 || closeIn(entry) === undefined) return false;
  return verifyInclusion({ index, size, leaf: leafHash(entry), proof, root });
}

function closeIn(entry: Uint8Array): CloseRecord | undefined {
  const leaf = decodeRecord(entry);
  return leaf.ok && leaf.record.k === "close" ? leaf.record : undefined;
}

function proofOf(reader: LogReader, size: number): Uint8Array[] | undefined {
  try {
    return inclusionProof(
      size - 1,
      size,
      subtreesFromTiles(size, (tile) => readTile(reader, tile)),
    );
  } catch (error) {
    if (!(error instanceof TileError)) throw error;
    return undefined;
  }
}
