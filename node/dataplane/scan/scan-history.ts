/**
 * The last bytes of a stream, addressed by their offset in it: those of the piece that is being
 * scanned, and as many before it as a match that is still going on can reach back.
 */
export class ScanHistory {
  readonly #bytesMax: number;
  #tail: Uint8Array = NO_BYTES;
  #tailBytes = 0;
  #piece: Uint8Array = NO_BYTES;
  #pieceStart = 0;

  constructor({ bytesMax }: { bytesMax: number }) {
    this.#bytesMax = bytesMax;
  }

  /** Takes in the next piece, whose bytes are the caller's: they are not kept past `release`. */
  begin(piece: Uint8Array): void {
    this.#piece = piece;
  }

  /** Lets go of the piece, keeping its last `bytes` and what is before them, as far as allowed. */
  release({ bytes }: { bytes: number }): void {
    const piece = this.#piece;
    const kept = Math.min(bytes, this.#bytesMax, this.#tailBytes + piece.length);
    if (this.#tail.length < kept) this.#grow(kept);
    const ofTail = Math.max(0, kept - piece.length);
    if (ofTail > 0) this.#tail.copyWithin(0, this.#tailBytes - ofTail, this.#tailBytes);
    this.#tail.set(piece.subarray(piece.length - (kept - ofTail)), ofTail);
    this.#tailBytes = kept;
    this.#pieceStart += piece.length;
    this.#piece = NO_BYTES;
  }

  /** The byte at an offset that is still remembered. */
  at(offset: number): number {
    const index = offset - this.#pieceStart;
    return (index >= 0 ? this.#piece[index] : this.#tail[index + this.#tailBytes]) as number;
  }

  /** A copy of a part. */
  slice(from: number, to: number): Uint8Array {
    const bytes = new Uint8Array(to - from);
    for (let offset = from; offset < to; offset++) bytes[offset - from] = this.at(offset);
    return bytes;
  }

  #grow(bytes: number): void {
    const tail = new Uint8Array(Math.min(this.#bytesMax, Math.max(64, 2 * bytes)));
    tail.set(this.#tail.subarray(0, this.#tailBytes));
    this.#tail = tail;
  }
}

const NO_BYTES = new Uint8Array(0);
