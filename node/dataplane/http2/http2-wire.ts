import type { ServerHttp2Stream } from "node:http2";
import type { ClientWire } from "../client-wire.ts";

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
  readonly source: ServerHttp2Stream;
  readonly #isHead: boolean;
  #handedBytes = 0;

  /** @param of.isHead The request wants a head alone. */
  constructor(stream: ServerHttp2Stream, { isHead }: { readonly isHead: boolean }) {
    this.source = stream;
    this.#isHead = isHead;
  }

  isBodyComplete(): boolean {
    return this.source.endAfterHeaders || this.source.readableEnded;
  }

  /** Whether what was declared is kept to shows at the end of a stream. */
  holdsBody(bytes: number): boolean {
    return this.isBodyComplete() && this.source.readableLength === bytes;
  }

  /** A stream that its client resets ends all the same, as if that had been the end of its body. */
  isBodyBroken(): boolean {
    return this.#isGone || this.source.aborted;
  }

  sayContinue(): void {
    if (!this.#isGone) this.source.additionalHeaders({ ":status": 100 });
  }

  writeHead(status: number, headers: readonly string[]): void {
    if (this.#isGone || this.source.headersSent) return;
    this.source.respond([":status", String(status), ...headers]);
  }

  /** It leaves with the turn. */
  flushHead(): void {}

  write(chunk: Uint8Array): boolean {
    if (this.#isGone) return true;
    this.#handedBytes += chunk.length;
    return this.source.write(chunk);
  }

  onDrain(fn: () => void): void {
    this.source.on("drain", fn);
  }

  end(body?: Uint8Array): void {
    if (this.#isGone) return;
    const isSaid = body === undefined || body.length === 0 || this.#isHead;
    if (isSaid) this.source.end();
    else this.#endWith(body, 0);
  }

  /** A write counts as taken once all of it is, so a large answer is several, each after the one before. */
  #endWith(body: Uint8Array, at: number): void {
    if (this.#isGone) return;
    const stop = at + PART_BYTES;
    const part = body.subarray(at, stop);
    this.#handedBytes += part.length;
    if (stop >= body.length) this.source.end(part);
    else this.source.write(part, () => this.#endWith(body, stop));
  }

  endUnread(body: Uint8Array): void {
    this.end(body);
  }

  unreadOver(outcome: "ended" | "bounded"): void {
    if (outcome === "bounded") this.source.close(HTTP2_CODE.none);
  }

  isFinished(): boolean {
    // What a client gives up is ended on our side too, and so finishes.
    return this.source.writableFinished && !this.source.aborted;
  }

  unsentBytes(): number {
    return this.source.destroyed ? 0 : this.source.writableLength;
  }

  takenBytes(): number {
    return this.#handedBytes - this.source.writableLength;
  }

  cut(lastFrame: Uint8Array | undefined): void {
    if (lastFrame === undefined) this.reset();
    else this.end(lastFrame);
  }

  closeSoon(): void {
    this.source.close(HTTP2_CODE.none);
  }

  reset(): void {
    this.source.destroy(new CutOff());
  }

  get #isGone(): boolean {
    return this.source.destroyed || this.source.closed;
  }
}
