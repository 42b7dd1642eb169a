import { closeSync, openSync, statSync, writeSync } from "node:fs";
import { join } from "node:path";

/** Steps in which the probe moves: with each it may take a block of the disk. */
const STEP_BYTES = 1024 * 1024;
const ONE_BYTE = Buffer.from([0]);

/**
 * Finds out whether the disk takes a write before the library behind a store has to.
 *
 * The byte is written where the library's file would end after the write, into a file beside it which has nothing
 * else in it: a disk that is only read, one that was shut down, and a limit on files' lengths each say so here.
 */
export class WriteProbe {
  readonly #folder: string;
  #fd: number | undefined;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** @throws A system error: the disk would not take `bytes` more. */
  mustTake(bytes: number): void {
    const end = statSync(join(this.#folder, "data.mdb")).size + bytes;
    // Made where something is written: what is there can be read from a disk that has no room for one more file.
    this.#fd ??= openSync(join(this.#folder, "probe"), "w", 0o600);
    writeSync(this.#fd, ONE_BYTE, 0, 1, Math.ceil(end / STEP_BYTES) * STEP_BYTES);
  }

  close(): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }
}
