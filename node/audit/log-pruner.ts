/**
 * Keeps a node's disk from being filled by what others have already.
 *
 * P1. An entry goes only when most coordinators have it on their disks, under a checkpoint that a witness
 *     cosigned. Until then the disk fills, up to its reserve, and then nothing is allowed.
 * P2. Oldest first, and no more than the limit asks for. `minimum` says so before the first file goes.
 * P3. Hashes stay: the log can be gone on with, proofs can be made, and what is left can be verified.
 * P4. A log that has ended goes whole, but for its head, once it is older than `keepMs` and most coordinators
 *     have, or had, all of it.
 */

import { join } from "node:path";
import { AuditFault } from "../../audit/audit-fault.ts";
import { endedLog } from "../../audit/ended-log.ts";
import { LogFiles } from "../../audit/log-files.ts";
import { encodeMinimum, MINIMUM_PATH, minimumOf } from "../../audit/log-minimum.ts";
import { retiredOf } from "../../audit/retired-log.ts";
import { RetiringLog } from "../../audit/retiring-log.ts";
import { bundlePath, TILE_WIDTH } from "../../audit/tiles.ts";
import type { Clock } from "../../ports/clock.ts";
import { type Disk, openIfThere } from "../../ports/disk.ts";
import { errorMessage } from "../../ports/error-message.ts";
import { LARGE_SEGMENT_LEAVES, SMALL_SEGMENT_LEAVES, segmentPath } from "./index-segment.ts";

/** Files that one turn looks at or removes: each costs some ten microseconds of the control thread. */
const FILES_PER_TURN = 128;
/** Time between two turns while there is more to do, and otherwise, ms. */
const TURN_EVERY_MS = { busy: 50, idle: 2_000 } as const;
/** Entries at the end of a log that stay whatever was shipped: its index is still being made. */
export const TAIL_LEAVES_MIN = 2 * SMALL_SEGMENT_LEAVES;

const BUNDLES_PER_SEGMENT = SMALL_SEGMENT_LEAVES / TILE_WIDTH;

export type LogPrunerOptions = {
  readonly disk: Disk;
  /** The node's home. */
  readonly home: string;
  /** Folders of its logs, oldest first: the last one grows. */
  readonly dirs: readonly string[];
  /** Bytes of entries that stay here even when they are shipped. */
  readonly keepBytes: number;
  /** Time that a log stays after its end, ms. Left out, for ever. */
  readonly keepMs?: number | undefined;
  readonly clock: Clock;
  /** Entries of the log with this place in `dirs` that most coordinators have. */
  readonly shippedSize: (log: number) => number;
  readonly onFault: (message: string) => void;
};

export class LogPruner {
  readonly #options: LogPrunerOptions;
  readonly #logs: readonly PrunedLog[];
  #cancel: () => void = () => undefined;
  #isTold = false;

  constructor(options: LogPrunerOptions) {
    const { disk, home, dirs } = options;
    this.#options = options;
    this.#logs = dirs.map((dir) => new PrunedLog(disk, home, dir));
  }

  /** Bytes of entries, as far as they were counted by now. */
  get bytes(): number {
    return this.#logs.reduce((sum, log) => sum + log.bytes, 0);
  }

  start(): void {
    let isBusy = false;
    try {
      isBusy = this.turn();
      this.#isTold = false;
    } catch (error) {
      const why = errorMessage(error);
      if (!this.#isTold) this.#options.onFault(`shipped records could not be removed: ${why}`);
      this.#isTold = true;
    }
    const waitMs = isBusy ? TURN_EVERY_MS.busy : TURN_EVERY_MS.idle;
    this.#cancel = this.#options.clock.after(waitMs, () => this.start());
  }

  stop(): void {
    this.#cancel();
  }

  /** Removes a part of what is old; true: there is more to remove at once. */
  #retireOld(): boolean {
    const { keepMs, clock, shippedSize } = this.#options;
    if (keepMs === undefined) return false;
    const ended = this.#logs.slice(0, -1);
    const due = ended.filter((log, no) => log.mayRetire(keepMs, clock.nowMs(), shippedSize(no)));
    return due.some((log) => log.retire(FILES_PER_TURN));
  }

  /**
   * Counts what is new, and removes what is too old or too much.
   *
   * @returns Whether there is more to do at once.
   * @throws What the disk reports.
   */
  turn(): boolean {
    if (this.#retireOld()) return true;
    let left = FILES_PER_TURN;
    for (const log of this.#logs) left -= log.count(left);
    while (left > 0 && this.bytes > this.#options.keepBytes) {
      const log = this.#logs.find((one, no) => one.mayPrune(this.#options.shippedSize(no)));
      if (log === undefined) return false;
      log.prune();
      left -= BUNDLES_PER_SEGMENT;
    }
    return left <= 0;
  }
}

function endOf(files: LogFiles): { readonly atMs: number; readonly size: number } | undefined {
  const ended = endedLog(files);
  return ended && { atMs: ended.close.t, size: ended.size };
}

/** The entries of one log. */
class PrunedLog {
  bytes = 0;
  readonly #retiring: RetiringLog;
  #isRetired: boolean;
  /** When it ended, by its last record, and how many leaves it has; undefined: it has not, as far as is known. */
  #end: { readonly atMs: number; readonly size: number } | undefined;
  readonly #disk: Disk;
  readonly #dir: string;
  readonly #files: LogFiles;
  #minimum: number;
  /** Sizes of the full bundles from `#minimum` on, as far as they were counted. */
  #sizes: number[] = [];

  constructor(disk: Disk, home: string, dir: string) {
    this.#disk = disk;
    this.#dir = dir;
    this.#files = new LogFiles(disk, { home, dir });
    this.#retiring = new RetiringLog(disk, { home, dir });
    this.#minimum = minimumOf(this.#files);
    this.#isRetired = retiredOf(this.#files) !== undefined;
    if (this.#isRetired) return;
    // A crash may have come between the word and the deed.
    if (this.#minimum > 0) this.#removeSegment(this.#minimum - SMALL_SEGMENT_LEAVES);
  }

  /** P4. Asked of logs that do not grow any more. */
  mayRetire(keepMs: number, nowMs: number, shippedSize: number): boolean {
    if (this.#isRetired) return true;
    if (shippedSize === 0) return false;
    this.#end ??= endOf(this.#files);
    const { atMs, size } = this.#end ?? { atMs: Number.POSITIVE_INFINITY, size: 0 };
    return nowMs - atMs >= keepMs && shippedSize >= size;
  }

  /** Removes some of its files; returns whether there are more. */
  retire(filesMax: number): boolean {
    this.#isRetired = true;
    this.bytes = 0;
    this.#sizes = [];
    return this.#retiring.turn(filesMax);
  }

  /** Counts at most so many bundles that were not counted yet; returns how many it looked at. */
  count(filesMax: number): number {
    if (this.#isRetired) return 0;
    for (let looked = 0; looked < filesMax; looked++) {
      const index = this.#minimum / TILE_WIDTH + this.#sizes.length;
      const bytes = this.#sizeOf(bundlePath({ index, width: TILE_WIDTH }));
      if (bytes === undefined) return looked;
      this.#sizes.push(bytes);
      this.bytes += bytes;
    }
    return filesMax;
  }

  /** P1. Only whole segments of the index go. */
  mayPrune(shippedSize: number): boolean {
    const end = this.#minimum + SMALL_SEGMENT_LEAVES;
    if (this.#isRetired) return false;
    return end + TAIL_LEAVES_MIN <= shippedSize && this.#sizes.length >= BUNDLES_PER_SEGMENT;
  }

  prune(): void {
    const first = this.#minimum;
    this.#files.put(MINIMUM_PATH, encodeMinimum(first + SMALL_SEGMENT_LEAVES));
    this.#files.settle(() => undefined);
    this.#minimum = first + SMALL_SEGMENT_LEAVES;
    for (const bytes of this.#sizes.splice(0, BUNDLES_PER_SEGMENT)) this.bytes -= bytes;
    this.#removeSegment(first);
  }

  #removeSegment(first: number): void {
    if (!Number.isSafeInteger(first) || first < 0 || first % SMALL_SEGMENT_LEAVES !== 0) {
      throw new AuditFault(`${join(this.#dir, MINIMUM_PATH)} is not what was written`);
    }
    for (let no = 0; no < BUNDLES_PER_SEGMENT; no++) {
      this.#remove(bundlePath({ index: first / TILE_WIDTH + no, width: TILE_WIDTH }));
    }
    this.#remove(segmentPath({ first, leaves: SMALL_SEGMENT_LEAVES }));
    const end = first + SMALL_SEGMENT_LEAVES;
    if (end % LARGE_SEGMENT_LEAVES !== 0) return;
    const large = end - LARGE_SEGMENT_LEAVES;
    this.#remove(segmentPath({ first: large, leaves: LARGE_SEGMENT_LEAVES }));
  }

  #remove(path: string): void {
    try {
      this.#disk.remove(join(this.#dir, path));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    }
  }

  #sizeOf(path: string): number | undefined {
    const fd = openIfThere(this.#disk, join(this.#dir, path));
    if (fd === undefined) return undefined;
    try {
      return this.#disk.size(fd);
    } finally {
      this.#disk.close(fd);
    }
  }
}
