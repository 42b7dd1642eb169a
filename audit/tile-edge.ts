// The growing edge of a tiled log: the partial tile of each level, from which root and files
// follow.
//
// E1. A full tile is given out once, by the append that completes it, and never changes after that.
// E2. The partial tile of a level is never hashed into the level above.

import { fullRootInPlace, HASH_BYTES, rootOfPeaks } from "./merkle.ts";
import { flawed, type Parsed, parsed } from "./parsed.ts";
import { hashesIn, partialWidth, peaksOf, TILE_WIDTH, type Tile, tilePath } from "./tiles.ts";

/** A tile and its bytes, ready to be written at `tilePath(tile)`. */
export type TileFile = { readonly tile: Tile; readonly bytes: Buffer };

/** The partial tile of one level. The byte before its hashes is for hashing them in place. */
type Level = { readonly bytes: Buffer; width: number };

const TILE_BYTES = TILE_WIDTH * HASH_BYTES;

export class TileEdge {
  #size = 0;
  /** Level 0 first. */
  readonly #levels: Level[] = [];

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
      edge.#levels.push(levelOf(bytes));
    }
    return parsed(edge);
  }

  /** Another edge at the same place, which grows by itself. */
  clone(): TileEdge {
    const edge = new TileEdge();
    edge.#size = this.#size;
    edge.#levels.push(...this.#levels.map((level) => levelOf(hashesOf(level))));
    return edge;
  }

  /** Adds a leaf by its hash, which is copied; returns the tiles that it completed, lowest first. */
  append(leafHash: Uint8Array): readonly TileFile[] {
    this.#size++;
    let full: TileFile[] = NO_TILES;
    let hash = leafHash;
    for (let no = 0; ; no++) {
      const level = this.#levels[no] ?? this.#addLevel();
      level.bytes.set(hash, 1 + level.width * HASH_BYTES);
      level.width++;
      if (level.width < TILE_WIDTH) return full;
      const index = this.#size / TILE_WIDTH ** (no + 1) - 1;
      const bytes = Buffer.from(hashesOf(level));
      if (full === NO_TILES) full = [];
      full.push({ tile: { level: no, index, width: TILE_WIDTH }, bytes });
      hash = fullRootInPlace(level.bytes, TILE_WIDTH);
      level.width = 0;
    }
  }

  /** The partial tiles that a checkpoint of this size needs, lowest level first. */
  partials(): TileFile[] {
    const files: TileFile[] = [];
    for (const [no, level] of this.#levels.entries()) {
      const { width } = level;
      if (width === 0) continue;
      const index = Math.floor(this.#size / TILE_WIDTH ** (no + 1));
      files.push({ tile: { level: no, index, width }, bytes: Buffer.from(hashesOf(level)) });
    }
    return files;
  }

  root(): Buffer {
    // Higher levels hold the larger subtrees, which stand further left.
    const peaks = this.#levels.toReversed().flatMap((level) => peaksOf(hashesIn(hashesOf(level))));
    return rootOfPeaks(peaks);
  }

  #addLevel(): Level {
    const level = levelOf(new Uint8Array(0));
    this.#levels.push(level);
    return level;
  }
}

/** Most leaves complete no tile. */
const NO_TILES: TileFile[] = [];

function levelOf(hashes: Uint8Array): Level {
  const bytes = Buffer.alloc(1 + TILE_BYTES);
  bytes.set(hashes, 1);
  return { bytes, width: hashes.length / HASH_BYTES };
}

function hashesOf({ bytes, width }: Level): Uint8Array {
  return bytes.subarray(1, 1 + width * HASH_BYTES);
}
