import { LEAF_BYTES_MAX, RecordError } from "./leaf.ts";
import { leafHashInPlace } from "./merkle.ts";
import { PLACE_BYTES_MAX, placeLeafInto } from "./place-leaf.ts";
import type { Place } from "./record.ts";
import type { LeafScan } from "./scan-leaf.ts";
import { LENGTH_BYTES, TILE_WIDTH } from "./tiles.ts";

/** Room that a bundle begins with, bytes. */
const BYTES_MIN = 64 * 1024;

/**
 * A bundle that grows by one entry at a time, in the bytes of its file: an entry is written once, hashed
 * where it lies, and never copied.
 */
export class BundleBuilder {
  #bytes: Buffer;
  #end = 0;
  #width = 0;

  /** @param room Takes the entries; what was in it is lost. Absent: new room. */
  constructor(room?: Buffer) {
    this.#bytes = room ?? Buffer.allocUnsafeSlow(BYTES_MIN);
  }

  /** Entries in it. */
  get width(): number {
    return this.#width;
  }

  get isFull(): boolean {
    return this.#width === TILE_WIDTH;
  }

  /** All that it may write to: room for another bundle, once this one's file is on the disk. */
  get room(): Buffer {
    return this.#bytes;
  }

  /** What the file holds. Later entries lie behind it and change nothing of it. */
  get bytes(): Buffer {
    return this.#bytes.subarray(0, this.#end);
  }

  /**
   * Adds an entry.
   *
   * @param hash Takes its leaf hash. Left out where that is known.
   */
  add(entry: Uint8Array, hash?: Buffer): void {
    const at = this.#room(entry.length);
    this.#bytes.set(entry, at);
    this.#take(at, at + entry.length, hash);
  }

  /**
   * Adds a leaf of the WAL as the entry at its place.
   *
   * @param hash Takes its leaf hash.
   * @throws RecordError It cannot be placed; nothing was added.
   */
  place(of: { leaf: Uint8Array; scan: LeafScan; place: Place }, hash: Buffer): void {
    const at = this.#room(of.leaf.length + PLACE_BYTES_MAX);
    const end = placeLeafInto(this.#bytes, at, of);
    if (end - at > LEAF_BYTES_MAX) throw new RecordError(`a leaf of ${end - at} bytes`);
    this.#take(at, end, hash);
  }

  #take(at: number, end: number, hash: Buffer | undefined): void {
    // The byte before the entry is the length's second half, which is written after the hash.
    if (hash !== undefined) leafHashInPlace(this.#bytes, { from: at - 1, to: end }, hash);
    this.#bytes.writeUInt16BE(end - at, at - LENGTH_BYTES);
    this.#end = end;
    this.#width++;
  }

  /** Where an entry of at most so many bytes can be written. */
  #room(bytes: number): number {
    const at = this.#end + LENGTH_BYTES;
    if (at + bytes > this.#bytes.length) {
      const grown = Buffer.allocUnsafeSlow(2 * (at + bytes));
      grown.set(this.bytes);
      this.#bytes = grown;
    }
    return at;
  }
}
