// What can be told of a log whose records were removed: that the hashes that are left have the signed root.

import type { OpenedCheckpoint } from "./checkpoint.ts";
import { HASH_BYTES, rootOfPeaks, sameHash } from "./merkle.ts";
import { TileEdge } from "./tile-edge.ts";
import {
  hashesIn,
  type LogReader,
  peaksOf,
  readTile,
  subtreesFromTiles,
  TILE_HEIGHT,
  TILE_WIDTH,
  TileError,
  tilePath,
} from "./tiles.ts";

type HeadFlaw = {
  readonly code: "tile_missing" | "tile_width_wrong" | "upper_tile_altered" | "root_differs";
  readonly detail: string;
};

/**
 * Holds every full tile above level 0 against its hash in the level above, and the last tile of each level
 * against the signed root.
 *
 * @param findingsMax Flaws after which it stops.
 */
export function verifyHead(
  reader: LogReader,
  { size, root }: Pick<OpenedCheckpoint, "size" | "root">,
  findingsMax: number,
): readonly HeadFlaw[] {
  const edge = TileEdge.restore(size, (tile) => readTile(reader, tile));
  if (!edge.ok) return [{ code: edge.flaw, detail: edge.detail }];
  if (!sameHash(edge.value.root(), root)) {
    return [{ code: "root_differs", detail: "the last hashes do not have the signed root" }];
  }
  const flaws: HeadFlaw[] = [];
  const above = subtreesFromTiles(size, (tile) => readTile(reader, tile));
  for (let level = 1; TILE_WIDTH ** (level + 1) <= size; level++) {
    const tiles = Math.floor(size / TILE_WIDTH ** (level + 1));
    for (let index = 0; index < tiles && flaws.length < findingsMax; index++) {
      const flaw = flawOf(reader, { level, index }, above);
      if (flaw !== undefined) flaws.push(flaw);
    }
  }
  return flaws;
}

function flawOf(
  reader: LogReader,
  { level, index }: { readonly level: number; readonly index: number },
  above: ReturnType<typeof subtreesFromTiles>,
): HeadFlaw | undefined {
  const tile = { level, index, width: TILE_WIDTH };
  const detail = tilePath(tile);
  const bytes = readTile(reader, tile);
  if (bytes === undefined) return { code: "tile_missing", detail };
  if (bytes.length !== TILE_WIDTH * HASH_BYTES) return { code: "tile_width_wrong", detail };
  try {
    const claimed = above(TILE_HEIGHT * (level + 1), index);
    if (sameHash(rootOfPeaks(peaksOf(hashesIn(bytes))), claimed)) return undefined;
    return { code: "upper_tile_altered", detail };
  } catch (error) {
    if (!(error instanceof TileError)) throw error;
    return { code: "tile_missing", detail: error.message };
  }
}
