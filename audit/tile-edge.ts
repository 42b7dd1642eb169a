// The growing edge of a tiled log: the partial tile of each level, from which root and files
// follow.
//
// E1. A full tile is given out once, by the append that completes it, and never changes after that.
// E2. The partial tile of a level is never hashed into the level above.

import { HASH_BYTES, nodeHash, rootOfPeaks } from "./merkle.ts";
import { flawed, type Parsed, parsed } from "./parsed.ts";
import { hashesIn, partialWidth, peaksOf, TILE_WIDTH, type Tile, tilePath } from "./tiles.ts";

/** A tile and its bytes, ready to be written at `tilePath(tile)`. */
export type TileFile = { readonly tile: Tile; readonly bytes: Buffer };

export class TileEdge {
  #size = 0;
  /** Hashes of the partial tile of each level, level 0 first. */
  readonly #levels: Uint8Array[][] = [];

  /** Leaves appended. */
  get size(): number {
    return this.#size;
  }

  /**
   * The edge of a log that already has `size` leaves, from its partial tiles. Compare its root with
   * the checkpoint's before trusting it.
   */
  static restore(
    size: number,
    read: (tile: Tile) => Uint8Array | undefined,
  ): Parsed<TileEdge, "tile_missing" | "tile_width_wrong"> {
    const edge = new TileEdge();
    edge.#size = size;
    for (let level = 0; TILE_WIDTH ** level <= size; level++) {
      const width = partialWidth(level, size);
      const index = Math.floor(size / TILE_WIDTH ** (level + 1));
      const tile = { level, index, width };
      const bytes = width === 0 ? new Uint8Array(0) : read(tile);
      if (bytes === undefined) return flawed("tile_missing", tilePath(tile));
      if (bytes.length !== width * HASH_BYTES) return flawed("tile_width_wrong", tilePath(tile));
      edge.#levels.push(hashesIn(Buffer.from(bytes)));
    }
    return parsed(edge);
  }

  /** Another edge at the same place, which grows by itself. */
  clone(): TileEdge {
    const edge = new TileEdge();
    edge.#size = this.#size;
    edge.#levels.push(...this.#levels.map((hashes) => [...hashes]));
    return edge;
  }

  /** Adds a leaf by its hash; returns the tiles that it completed, lowest level first. */
  append(leafHash: Uint8Array): TileFile[] {
    const full: TileFile[] = [];
    this.#size++;
    let hash = leafHash;
    for (let level = 0; ; level++) {
      if (this.#levels.length === level) this.#levels.push([]);
      const hashes = this.#levels[level] as Uint8Array[];
      hashes.push(hash);
      if (hashes.length < TILE_WIDTH) return full;
      const index = this.#size / TILE_WIDTH ** (level + 1) - 1;
      full.push({ tile: { level, index, width: TILE_WIDTH }, bytes: Buffer.concat(hashes) });
      hash = rootOfFull(hashes);
      this.#levels[level] = [];
    }
  }

  /** The partial tiles that a checkpoint of this size needs, lowest level first. */
  partials(): TileFile[] {
    const files: TileFile[] = [];
    for (const [level, hashes] of this.#levels.entries()) {
      if (hashes.length === 0) continue;
      const index = Math.floor(this.#size / TILE_WIDTH ** (level + 1));
      files.push({ tile: { level, index, width: hashes.length }, bytes: Buffer.concat(hashes) });
    }
    return files;
  }

  root(): Buffer {
    // Higher levels hold the larger subtrees, which stand further left.
    return rootOfPeaks(this.#levels.toReversed().flatMap(peaksOf));
  }
}

function rootOfFull(hashes: readonly Uint8Array[]): Uint8Array {
  let row = hashes;
  while (row.length > 1) {
    const above: Uint8Array[] = [];
    for (let i = 0; i < row.length; i += 2) {
      above.push(nodeHash(row[i] as Uint8Array, row[i + 1] as Uint8Array));
    }
    row = above;
  }
  return row[0] as Uint8Array;
}
