import type { ServerHttp2Stream } from "node:http2";
import type { BodySource, ClientWire } from "../client-wire.ts";
import { StreamSource } from "../stream-source.ts";

/** Codes with which a stream or a connection ends. @see https://www.rfc-editor.org/rfc/rfc9113#section-7 */
export const HTTP2_CODE = { none: 0, refused: 7, calm: 11 } as const;

/** Of an answer that is handed over at once. */
const PART_BYTES = 64 * 1024;

/** What a stream is ended with whose answer may not go on. */
class CutOff extends Error {}

/**
 * A request over HTTP/2: one stream, beside which others go on whatever becomes of it.
 *
 * An answer that is broken off is destroyed with an error. Node's `close` of a stream ends what was written
 * first, as a whole answer ends, and a client would take the cut for an end (Node 26.10).
 */
export class Http2Wire implements ClientWire {
  readonly body: BodySource;
  readonly #stream: ServerHttp2Stream;
  readonly #isHead: boolean;
  #handedBytes = 0;

  /** @param of.isHead The request wants a head alone. */
  constructor(stream: ServerHttp2Stream, { isHead }: { readonly isHead: boolean }) {
    this.body = new Http2Body(stream);
    this.#stream = stream;
    this.#isHead = isHead;
  }

  sayContinue(): void {
    if (!this.#isGone) this.#stream.additionalHeaders({ ":status": 100 });
  }

  writeHead(status: number, headers: readonly string[]): void {
    if (this.#isGone || this.#stream.headersSent) return;
    this.#stream.respond([":status", String(status), ...headers]);
  }

  /** It leaves with the turn. */
  flushHead(): void {}

  write(chunk: Uint8Array): boolean {
    if (this.#isGone) return true;
    this.#handedBytes += chunk.length;
    return this.#stream.write(chunk);
  }

  onDrain(fn: () => void): void {
    this.#stream.on("drain", fn);
  }

  end(body?: Uint8Array): void {
    if (this.#isGone) return;
    const isSaid = body === undefined || body.length === 0 || this.#isHead;
    if (isSaid) this.#stream.end();
    else this.#endWith(body, 0);
  }

  /** A write counts as taken once all of it is, so a large answer is several, each after the one before. */
  #endWith(body: Uint8Array, at: number): void {
    if (this.#isGone) return;
    const stop = at + PART_BYTES;
    const part = body.subarray(at, stop);
    this.#handedBytes += part.length;
    if (stop >= body.length) this.#stream.end(part);
    else this.#stream.write(part, () => this.#endWith(body, stop));
  }

  endUnread(body: Uint8Array): void {
    this.end(body);
  }

  unreadOver(outcome: "ended" | "bounded"): void {
    if (outcome === "bounded") this.#stream.close(HTTP2_CODE.none);
  }

  isFinished(): boolean {
    // What a client gives up is ended on our side too, and so finishes.
    return this.#stream.writableFinished && !this.#stream.aborted;
  }

  unsentBytes(): number {
    return this.#stream.destroyed ? 0 : this.#stream.writableLength;
  }

  takenBytes(): number {
    return this.#handedBytes - this.#stream.writableLength;
  }

  cut(lastFrame: Uint8Array | undefined): void {
    if (lastFrame === undefined) this.reset();
    else this.end(lastFrame);
  }

  closeSoon(): void {
    this.#stream.close(HTTP2_CODE.none);
  }

  reset(): void {
    this.#stream.destroy(new CutOff());
  }

  get #isGone(): boolean {
    return this.#stream.destroyed || this.#stream.closed;
  }
}

/** A stream's side that its client speaks on. */
class Http2Body extends StreamSource implements BodySource {
  readonly #stream: ServerHttp2Stream;

  constructor(stream: ServerHttp2Stream) {
    super(stream);
    this.#stream = stream;
  }

  isComplete(): boolean {
    return this.#stream.endAfterHeaders || this.#stream.readableEnded;
  }

  /** A stream that its client resets ends all the same, as if that had been the end of its body. */
  isBroken(): boolean {
    return this.#stream.destroyed || this.#stream.closed || this.#stream.aborted;
  }

  /** Whether what was declared is kept to shows at the end of a stream, so it is waited for. */
  take(): undefined {
    return undefined;
  }
}
