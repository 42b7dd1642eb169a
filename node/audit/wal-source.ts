import { type LeafScan, scanLeaf } from "../../audit/scan-leaf.ts";
import { type Disk, openIfThere } from "../../ports/disk.ts";
import type { MarkReader } from "./leaf-marks.ts";
import { readPiece, WAL_PIECE_BYTES } from "./read-wal.ts";
import { walPath } from "./wal-files.ts";
import type { WalPosition } from "./wal-signal.ts";

/** A frame as it was found, or bytes that are none. */
export type WalItem = {
  /** Time of the record; of the one before, where there is none. ms since the Unix epoch. */
  readonly t: number;
  readonly leaf: Uint8Array | undefined;
  /** Where things stand in it. */
  readonly scan: LeafScan | undefined;
  /** The file it was in. */
  readonly fileNo: number;
  /** Bytes that cannot be read, when there is no leaf. */
  readonly lostBytes: number;
  /** Where the next one begins. */
  readonly end: WalPosition;
};

export type WalSourceOptions = {
  readonly disk: Disk;
  readonly dir: string;
  readonly run: string;
  readonly writer: string;
  /** Where to begin; `fileNo` 0 is the beginning of the first file. */
  readonly at: WalPosition;
  /** What its writer tells of its leaves, where that is a thread of this run. */
  readonly marks?: MarkReader | undefined;
};

/**
 * One writer's frames of one run, in the order in which they were written, over all its files.
 *
 * Bytes that are no frame lose the rest of their file: nothing says where the next frame begins.
 */
export class WalSource {
  readonly writer: string;
  readonly #options: WalSourceOptions;
  #queue: WalItem[] = [];
  #queueAt = 0;
  #readAt: WalPosition;
  #takenTo: WalPosition;
  #target: WalPosition;
  #open: { readonly fileNo: number; readonly fd: number } | undefined;
  #lastT = 0;
  /** What was read last. All its leaves are taken before it is read into again. */
  #buffer = Buffer.alloc(0);

  constructor(options: WalSourceOptions) {
    this.#options = options;
    this.writer = options.writer;
    this.#readAt = options.at.fileNo === 0 ? { fileNo: 1, bytes: 0 } : options.at;
    this.#takenTo = options.at;
    this.#target = options.at;
  }

  /** Behind the last item taken. */
  get takenTo(): WalPosition {
    return this.#takenTo;
  }

  /** How far it may be read: nothing is given beyond. Never goes back. */
  allow(target: WalPosition): void {
    if (isBefore(this.#target, target)) this.#target = target;
  }

  /** The next item; `undefined` when all that may be read has been taken. */
  head(): WalItem | undefined {
    if (this.#queueAt === this.#queue.length) {
      this.#queue = [];
      this.#queueAt = 0;
      while (this.#queue.length === 0 && isBefore(this.#readAt, this.#target)) this.#readOn();
    }
    return this.#queue[this.#queueAt];
  }

  /** Removes what `head` gives. Its bytes stand until the next `head`. */
  take(): void {
    const item = this.head();
    if (item === undefined) return;
    this.#queueAt++;
    this.#takenTo = item.end;
  }

  close(): void {
    if (this.#open !== undefined) this.#options.disk.close(this.#open.fd);
    this.#open = undefined;
  }

  #readOn(): void {
    const { fileNo, bytes: at } = this.#readAt;
    const fd = this.#fdOf(fileNo);
    if (fd === undefined) {
      this.#giveUp(fileNo, 1);
      return;
    }
    const isTarget = fileNo === this.#target.fileNo;
    const until = isTarget ? this.#target.bytes : this.#options.disk.size(fd);
    if (at < until) this.#readPiece(fd, until);
    else this.#goTo({ fileNo: fileNo + 1, bytes: 0 });
  }

  #readPiece(fd: number, until: number): void {
    const { fileNo, bytes: at } = this.#readAt;
    const buffer = this.#bufferFor(until - at);
    const { leaves, ends, flaw } = readPiece(this.#options.disk, fd, { at, until, buffer });
    for (let i = 0; i < leaves.length; i++) {
      const leaf = leaves[i] as Uint8Array;
      const end = { fileNo, bytes: ends[i] as number };
      const scan = this.#options.marks?.next(leaf, end) ?? scanLeaf(leaf);
      if (scan.t >= 0) this.#lastT = scan.t;
      this.#queue.push({ t: this.#lastT, leaf, scan, fileNo, lostBytes: 0, end });
    }
    const readTo = ends.at(-1) ?? at;
    this.#readAt = { fileNo, bytes: readTo };
    // Nothing at all was read where the file is shorter than it was.
    if (flaw !== undefined || readTo === at) this.#giveUp(fileNo, until - readTo);
  }

  /** Grows with what there is to read at once, up to one piece. */
  #bufferFor(bytes: number): Buffer {
    const wanted = Math.min(bytes, WAL_PIECE_BYTES);
    if (this.#buffer.length < wanted) {
      this.#buffer = Buffer.allocUnsafeSlow(Math.min(2 * wanted, WAL_PIECE_BYTES));
    }
    return this.#buffer;
  }

  /**
   * The target is where a frame begins, so reading can go on from there; else with the next file.
   */
  #giveUp(fileNo: number, lostBytes: number): void {
    const end = fileNo === this.#target.fileNo ? this.#target : { fileNo: fileNo + 1, bytes: 0 };
    this.#queue.push({ t: this.#lastT, leaf: undefined, scan: undefined, fileNo, lostBytes, end });
    this.#goTo(end);
  }

  #goTo(position: WalPosition): void {
    if (position.fileNo !== this.#readAt.fileNo) this.close();
    this.#readAt = position;
  }

  #fdOf(fileNo: number): number | undefined {
    if (this.#open?.fileNo === fileNo) return this.#open.fd;
    const { disk, dir, run, writer } = this.#options;
    const fd = openIfThere(disk, walPath(dir, { run, writer, no: fileNo }));
    if (fd !== undefined) this.#open = { fileNo, fd };
    return fd;
  }
}

export function isBefore(a: WalPosition, b: WalPosition): boolean {
  return a.fileNo < b.fileNo || (a.fileNo === b.fileNo && a.bytes < b.bytes);
}
