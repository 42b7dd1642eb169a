const NO_BYTES = new Uint8Array(0);

/**
 * Bytes that come in pieces, until they are wanted as one.
 *
 * Memory follows the bytes and never the number of pieces, which is for the other side to choose: a
 * list of a million pieces of one byte takes a hundred times their size. The first piece is kept as
 * it came, so that what comes in one piece is never copied.
 */
export class GrowingBytes {
  #store: Uint8Array = NO_BYTES;
  #length = 0;

  get length(): number {
    return this.#length;
  }

  add(piece: Uint8Array): void {
    const length = this.#length + piece.length;
    if (this.#length === 0) {
      this.#store = piece;
    } else {
      if (length > this.#store.length) this.#grow(length);
      this.#store.set(piece, this.#length);
    }
    this.#length = length;
  }

  /** All of them; nothing is kept. */
  take(): Uint8Array {
    const bytes =
      this.#store.length === this.#length ? this.#store : this.#store.subarray(0, this.#length);
    this.#store = NO_BYTES;
    this.#length = 0;
    return bytes;
  }

  /** Always into memory of its own: the first piece's is not ours to write to. */
  #grow(bytesMin: number): void {
    const bigger = Buffer.allocUnsafeSlow(Math.max(bytesMin, 2 * this.#store.length));
    bigger.set(this.#store.subarray(0, this.#length));
    this.#store = bigger;
  }
}
