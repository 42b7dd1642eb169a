import { closeSync, fstatSync, openSync, writeSync } from "node:fs";
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
  readonly #dataFd: number;
  readonly #probeFd: number;

  /** @throws A system error: one of the two files in `folder` cannot be opened. */
  constructor(folder: string) {
    this.#dataFd = openSync(join(folder, "data.mdb"), "r");
    this.#probeFd = openSync(join(folder, "probe"), "w", 0o600);
  }

  /** @throws A system error: the disk would not take `bytes` more. */
  mustTake(bytes: number): void {
    const end = fstatSync(this.#dataFd).size + bytes;
    writeSync(this.#probeFd, ONE_BYTE, 0, 1, Math.ceil(end / STEP_BYTES) * STEP_BYTES);
  }

  close(): void {
    closeSync(this.#dataFd);
    closeSync(this.#probeFd);
  }
}
