import type { Readable } from "node:stream";
import type { BodyReader, ByteSource } from "./client-wire.ts";

/** What comes on a stream of Node's, told until it ends or is closed. */
export class StreamSource implements ByteSource {
  readonly #stream: Readable;
  #reader: BodyReader | undefined;

  constructor(stream: Readable) {
    this.#stream = stream;
  }

  tell(reader: BodyReader): void {
    this.hush();
    this.#reader = reader;
    this.#stream.on("data", this.#onData).on("end", this.#onEnd).on("close", this.#onEnd);
    this.#stream.resume();
  }

  hush(): void {
    if (this.#reader === undefined) return;
    this.#reader = undefined;
    this.#stream.off("data", this.#onData).off("end", this.#onEnd).off("close", this.#onEnd);
    // Without a listener the stream would go on, and lose what comes.
    this.#stream.pause();
  }

  readonly #onData = (piece: Buffer): void => this.#reader?.onPiece(piece);

  readonly #onEnd = (): void => this.#reader?.onEnd();
}
