/**
 * Removes the records of a log that has ended, and keeps its head.
 *
 * T1. `retired` and `minimum` say so before the first file goes, and after a crash it goes on.
 * T2. What stays: the checkpoint with its cosignatures, a receipt of the last leaf, all hashes above level 0,
 *     and the last partial tile of level 0. So the signed root can be made of what is here, and whoever has 256
 *     of the records can show that they were in it.
 */

import { join } from "node:path";
import { type Disk, listIfThere } from "../ports/disk.ts";
import { END_PATH, endedLog } from "./ended-log.ts";
import { LogFiles } from "./log-files.ts";
import { encodeMinimum, MINIMUM_PATH } from "./log-minimum.ts";
import { encodeRetired, RETIRED_PATH, type Retired, retiredOf } from "./retired-log.ts";
import { bundlePath, TILE_WIDTH, tilePath } from "./tiles.ts";

/** Folders of an index, which says nothing of a log without records. */
const INDEX_FOLDERS = ["index/small", "index/large"];
const NOTHING = (): void => undefined;

export class RetiringLog {
  readonly #disk: Disk;
  readonly #dir: string;
  readonly #files: LogFiles;
  /** The bundle that goes next. */
  #next = 0;

  /** @param home A folder above `dir` whose name is on the disk. */
  constructor(disk: Disk, { home, dir }: { readonly home: string; readonly dir: string }) {
    this.#disk = disk;
    this.#dir = dir;
    this.#files = new LogFiles(disk, { home, dir });
  }

  /**
   * Removes about so many files. A log that has not ended is left alone.
   *
   * @returns Whether there is more to remove.
   * @throws What the disk reports; it can be tried again.
   */
  turn(filesMax: number): boolean {
    const retired = retiredOf(this.#files) ?? this.#begin();
    if (retired === undefined || retired.isDone) return false;
    const full = Math.floor(retired.size / TILE_WIDTH);
    for (let left = filesMax; left > 0 && this.#next < full; left -= 2) {
      const index = this.#next++;
      this.#remove(bundlePath({ index, width: TILE_WIDTH }));
      this.#remove(tilePath({ level: 0, index, width: TILE_WIDTH }));
    }
    if (this.#next < full) return true;
    this.#removeRest(full);
    this.#files.put(RETIRED_PATH, encodeRetired({ ...retired, isDone: true }));
    this.#files.settle(NOTHING);
    return false;
  }

  #begin(): Retired | undefined {
    const ended = endedLog(this.#files);
    if (ended === undefined) return undefined;
    const { size, receipt } = ended;
    const retired = { size, root: Buffer.from(ended.root).toString("hex"), isDone: false };
    // In two steps: a folder that says it is retired has what shows that it may be.
    this.#files.put(END_PATH, Buffer.from(receipt, "utf8"));
    this.#files.settle(NOTHING);
    this.#files.put(MINIMUM_PATH, encodeMinimum(size));
    this.#files.put(RETIRED_PATH, encodeRetired(retired));
    this.#files.settle(NOTHING);
    return retired;
  }

  /** The last, partial bundle, with those of earlier checkpoints, and the index. */
  #removeRest(index: number): void {
    this.#files.sweep(`${bundlePath({ index, width: TILE_WIDTH })}.p`, () => true);
    for (const folder of INDEX_FOLDERS) {
      for (const name of listIfThere(this.#disk, join(this.#dir, folder))) {
        this.#remove(`${folder}/${name}`);
      }
    }
  }

  #remove(path: string): void {
    try {
      this.#disk.remove(join(this.#dir, path));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    }
  }
}
