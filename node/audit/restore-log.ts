import { AuditFault } from "../../audit/audit-fault.ts";
import { openCheckpoint } from "../../audit/checkpoint.ts";
import { decodeRecord } from "../../audit/leaf.ts";
import { leafHash, sameHash } from "../../audit/merkle.ts";
import type { VerifierKey } from "../../audit/signed-note.ts";
import { TileEdge } from "../../audit/tile-edge.ts";
import {
  CHECKPOINT_PATH,
  type LogReader,
  readBundle,
  readTile,
  TILE_WIDTH,
} from "../../audit/tiles.ts";
import { type AuditLogState, consumedPath } from "./audit-log.ts";
import { type Consumed, decodeConsumed } from "./consumed.ts";
import { SMALL_SEGMENT_LEAVES } from "./index-segment.ts";

/** A log where its last checkpoint left it. */
export type RestoredLog = {
  readonly state: AuditLogState;
  readonly consumed: Pick<Consumed, "doneBefore" | "positions">;
  /** Its last leaf says that it was ended, and why: nothing may be added. */
  readonly ended?: string;
};

const NOTHING_CONSUMED = { doneBefore: "", positions: [] };

/**
 * Takes up a log from its last checkpoint; an empty one where there is none.
 *
 * Everything that the next leaf will stand on is checked against the checkpoint first: to go on
 * from anything else would be a fork, signed by our own key.
 *
 * @throws AuditFault Something is missing, or is not what was signed.
 */
export function restoreLog(files: LogReader, key: VerifierKey): RestoredLog {
  const bytes = files.read(CHECKPOINT_PATH);
  if (bytes === undefined) {
    const state = { edge: new TileEdge(), entries: [], tail: [].values(), latestMs: 0 };
    return { state, consumed: NOTHING_CONSUMED };
  }
  const opened = openCheckpoint(bytes, key, []);
  if (!opened.ok) throw unfit(key, opened);
  const { size, root } = opened.value;
  const edge = TileEdge.restore(size, (tile) => readTile(files, tile));
  if (!edge.ok) throw unfit(key, edge);
  if (!sameHash(edge.value.root(), root)) {
    throw new AuditFault(`${key.name}: the tiles do not have the signed root`);
  }
  const consumed = consumedAt(files, key, { size, root });
  const entries = entriesAtEdge(files, key, size);
  const tail = tailOf(files, size, entries);
  const state = { edge: edge.value, entries, tail, latestMs: consumed.latestMs };
  const ended = endOf(entries.at(-1) ?? lastOfFull(files, key, size));
  return { state, consumed, ...(ended !== undefined && { ended }) };
}

/** The last entry of a log whose last bundle is full. */
function lastOfFull(files: LogReader, key: VerifierKey, size: number): Uint8Array | undefined {
  if (size === 0) return undefined;
  const bundle = readBundle(files, { index: size / TILE_WIDTH - 1, width: TILE_WIDTH });
  if (!bundle.ok) throw unfit(key, bundle);
  return bundle.value.at(-1);
}

function endOf(last: Uint8Array | undefined): string | undefined {
  const leaf = last && decodeRecord(last);
  return leaf?.ok && leaf.record.k === "close" ? leaf.record.rc : undefined;
}

function consumedAt(
  files: LogReader,
  key: VerifierKey,
  { size, root }: { readonly size: number; readonly root: Uint8Array },
): Consumed {
  const bytes = files.read(consumedPath(size));
  if (bytes === undefined) {
    throw new AuditFault(`${key.name}: it is not known which records are in the checkpoint`);
  }
  const consumed = decodeConsumed(bytes);
  if (!consumed.ok) throw unfit(key, consumed);
  const isOfCheckpoint =
    consumed.value.size === size && consumed.value.root === Buffer.from(root).toString("hex");
  if (!isOfCheckpoint)
    throw new AuditFault(`${key.name}: ${consumedPath(size)} is of another root`);
  return consumed.value;
}

function entriesAtEdge(files: LogReader, key: VerifierKey, size: number): readonly Uint8Array[] {
  const width = size % TILE_WIDTH;
  if (width === 0) return [];
  const index = Math.floor(size / TILE_WIDTH);
  const entries = readBundle(files, { index, width });
  if (!entries.ok) throw unfit(key, entries);
  const tile = readTile(files, { level: 0, index, width });
  if (tile === undefined || !sameHash(Buffer.concat(entries.value.map(leafHash)), tile)) {
    throw new AuditFault(`${key.name}: the last entries are not what was signed`);
  }
  return entries.value;
}

/** Leaves that no segment of the index covers yet, read one bundle after the other. What cannot be read costs that segment alone. */
function* tailOf(
  files: LogReader,
  size: number,
  entries: readonly Uint8Array[],
): Generator<Uint8Array, undefined, void> {
  const first = (size - (size % SMALL_SEGMENT_LEAVES)) / TILE_WIDTH;
  for (let index = first; index < Math.floor(size / TILE_WIDTH); index++) {
    const bundle = readBundle(files, { index, width: TILE_WIDTH });
    if (!bundle.ok) return undefined;
    yield* bundle.value;
  }
  yield* entries;
  return undefined;
}

function unfit(
  key: VerifierKey,
  { flaw, detail }: { readonly flaw: string; readonly detail: string },
): AuditFault {
  return new AuditFault(`${key.name} cannot be continued: ${flaw}: ${detail}`);
}
