import { sameHash } from "./merkle.ts";
import type { TileEdge, TileFile } from "./tile-edge.ts";
import { type LogReader, readTile, tilePath } from "./tiles.ts";

type WrongTile = {
  readonly code: "tile_missing" | "tile_width_wrong" | "upper_tile_altered";
  readonly path: string;
};

/** Grows a tree and compares its tiles above level 0 with the stored ones. */
export class TreeCheck {
  readonly edge: TileEdge;
  readonly wrong: WrongTile[] = [];
  readonly #reader: LogReader;
  readonly #wrongMax: number;

  /** @param wrongMax Tiles after which no more are compared. */
  constructor(reader: LogReader, edge: TileEdge, wrongMax: number) {
    this.#reader = reader;
    this.edge = edge;
    this.#wrongMax = wrongMax;
  }

  fork(): TreeCheck {
    const fork = new TreeCheck(this.#reader, this.edge.clone(), this.#wrongMax);
    fork.wrong.push(...this.wrong);
    return fork;
  }

  append(hash: Uint8Array): void {
    this.#compare(this.edge.append(hash));
  }

  end(): void {
    this.#compare(this.edge.partials());
  }

  #compare(files: readonly TileFile[]): void {
    for (const { tile, bytes } of files) {
      // Level 0 is compared hash by hash where its entries are read.
      if (tile.level === 0 || this.wrong.length === this.#wrongMax) continue;
      const stored = readTile(this.#reader, tile);
      const path = tilePath(tile);
      if (stored === undefined) this.wrong.push({ code: "tile_missing", path });
      else if (stored.length !== bytes.length) this.wrong.push({ code: "tile_width_wrong", path });
      else if (!sameHash(stored, bytes)) this.wrong.push({ code: "upper_tile_altered", path });
    }
  }
}
