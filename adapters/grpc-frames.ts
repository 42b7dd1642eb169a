/** A byte that says whether the message is compressed, and four that say how long it is. */
const HEAD_BYTES = 5;

/** A message as gRPC frames it, uncompressed. */
export function framed(message: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(HEAD_BYTES + message.length);
  frame[0] = 0;
  frame.writeUInt32BE(message.length, 1);
  frame.set(message, HEAD_BYTES);
  return frame;
}

/** Bytes that are not what gRPC frames. */
export class FrameFault extends Error {
  readonly kind: "compressed" | "too_large";
  constructor(kind: FrameFault["kind"], message: string) {
    super(message);
    this.kind = kind;
  }
}

/** Cuts a stream of bytes into messages; at most one that is not whole is kept. */
export class FrameReader {
  readonly #bytesMax: number;
  #chunks: Buffer[] = [];
  #length = 0;

  /** @param bytesMax Of one message; a longer one is refused before it is held. */
  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** Whether the bytes so far end in the middle of a message. */
  get isInside(): boolean {
    return this.#length > 0;
  }

  /** The messages that these bytes complete. @throws FrameFault */
  push(chunk: Buffer): readonly Buffer[] {
    this.#chunks.push(chunk);
    this.#length += chunk.length;
    const messages: Buffer[] = [];
    for (let next = this.#next(); next !== undefined; next = this.#next()) messages.push(next);
    return messages;
  }

  #next(): Buffer | undefined {
    if (this.#length < HEAD_BYTES) return undefined;
    const head = this.#chunks[0] as Buffer;
    const whole = head.length < HEAD_BYTES ? this.#joined() : head;
    if (whole[0] !== 0) throw new FrameFault("compressed", "a message is compressed");
    const length = whole.readUInt32BE(1);
    if (length > this.#bytesMax) {
      throw new FrameFault("too_large", `a message of ${length} bytes; ${this.#bytesMax} at most`);
    }
    if (this.#length < HEAD_BYTES + length) return undefined;
    const all = this.#joined();
    const rest = all.subarray(HEAD_BYTES + length);
    this.#chunks = rest.length === 0 ? [] : [rest];
    this.#length = rest.length;
    return all.subarray(HEAD_BYTES, HEAD_BYTES + length);
  }

  #joined(): Buffer {
    const all =
      this.#chunks.length === 1 ? (this.#chunks[0] as Buffer) : Buffer.concat(this.#chunks);
    this.#chunks = [all];
    return all;
  }
}
