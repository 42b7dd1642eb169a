import type { Transform } from "node:stream";
import {
  constants,
  createBrotliDecompress,
  createGunzip,
  createZstdDecompress,
  type Zlib,
} from "node:zlib";
import type { BodyRelay } from "./body-relay.ts";
import type { ClientLeg } from "./client-leg.ts";
import type { Encoding } from "./content-encoding.ts";
import { DECODE_LIMITS } from "./decode-limits.ts";

/**
 * Relays an answer that came compressed, although providers are asked for one that is not: it is
 * decompressed as it comes, and what it says is read, scanned and sent on like any other answer.
 *
 * Z1. A few bytes never become many: over the ratio the answer ends, and the rest stays as it is.
 * Z2. Where the compressed data ends before the answer, or the answer before it, there is no answer:
 *     another reader might have read more, or less.
 * Z3. The provider waits for the decoder and the decoder for the client, so neither keeps much.
 * Z4. What is decompressed comes in turns of its own, where a bug of ours has nobody above it: it ends this answer,
 *     as one that shows while the provider is listened to does.
 *
 * Decoding runs on libuv's pool, which is one per process and where nobody may stay for long: each step
 * ends after `stepBytes`.
 */
export class DecodedRelay implements BodyRelay {
  readonly #leg: ClientLeg;
  readonly #inner: BodyRelay;
  readonly #decoder: Transform & Zlib;
  #receivedBytes = 0;
  #decodedBytes = 0;
  /** The provider has said all. */
  #isEnded = false;
  /** The compressed data is over. */
  #isWhole = false;

  constructor(leg: ClientLeg, encoding: Encoding, inner: BodyRelay) {
    this.#leg = leg;
    this.#inner = inner;
    this.#decoder = DECODERS[encoding]();
    this.#on("data", (piece: Buffer) => this.#take(piece));
    this.#on("end", () => {
      this.#isWhole = true;
      this.#finish();
    });
    this.#on("error", (error: NodeJS.ErrnoException) => this.#fail(error.code));
    this.#on("drain", () => leg.resumeProvider());
    leg.decodeBy({
      resume: () => this.#decoder.resume(),
      close: () => this.#decoder.destroy(),
    });
  }

  get complete(): boolean {
    return this.#inner.complete === true;
  }

  data(chunk: Uint8Array): boolean {
    this.#receivedBytes += chunk.length;
    if (!this.#isWhole) return this.#decoder.write(chunk);
    this.#finish();
    return false;
  }

  end(): void {
    this.#isEnded = true;
    if (this.#isWhole) this.#finish();
    else this.#decoder.end();
  }

  #on<Told>(event: string, does: (told: Told) => void): void {
    this.#decoder.on(event, (told: Told) => {
      try {
        does(told);
      } catch (error) {
        this.#leg.fault(error);
      }
    });
  }

  #take(piece: Buffer): void {
    if (this.#leg.over) return;
    this.#decodedBytes += piece.length;
    const { freeBytes, ratioMax } = DECODE_LIMITS;
    if (this.#decodedBytes > Math.max(freeBytes, this.#receivedBytes * ratioMax)) this.#refuse();
    else if (!this.#inner.data(piece) && !this.#leg.over) this.#decoder.pause();
  }

  #finish(): void {
    if (this.#leg.over) return;
    if (this.#decoder.bytesWritten < this.#receivedBytes) this.#refuse();
    else if (this.#isEnded) this.#inner.end();
  }

  #fail(code: string | undefined): void {
    if (this.#leg.over) return;
    // All has been said: what is missing then is the end of the coding alone.
    if (this.complete && code === CUT_SHORT) this.#inner.end();
    else this.#refuse();
  }

  #refuse(): void {
    if (this.#inner.unreadable === undefined) this.#leg.object("response_unscannable");
    else this.#inner.unreadable();
  }
}

/** What zlib says of data that goes on after all that there is. */
const CUT_SHORT = "Z_BUF_ERROR";

const STEP = { chunkSize: DECODE_LIMITS.stepBytes };

const DECODERS: Readonly<Record<Encoding, () => Transform & Zlib>> = {
  gzip: () => createGunzip(STEP),
  br: () => createBrotliDecompress(STEP),
  zstd: () =>
    createZstdDecompress({
      ...STEP,
      params: { [constants.ZSTD_d_windowLogMax]: Math.log2(DECODE_LIMITS.zstdWindowBytesMax) },
    }),
};
