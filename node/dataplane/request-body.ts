import type { Cancel, Clock } from "../../ports/clock.ts";
import type { Reason } from "../../proto/reasons.ts";
import type { AtOnce } from "../at-once.ts";
import type { BodyReader, BodySource } from "./client-wire.ts";

export type BodyLimits = { readonly bytesMax: number; readonly timeoutMs: number };

const EMPTY = Buffer.alloc(0);

/**
 * Reads one request's body whole, within bounds.
 *
 * Memory follows what has arrived, not what was declared, and never the number of chunks: a client
 * that sends a byte at a time holds one buffer like any other.
 */
export class RequestBody implements BodyReader {
  /** Body bytes that arrived so far. */
  receivedBytes = 0;
  readonly #source: BodySource;
  readonly #declaredBytes: number | undefined;
  #store: Buffer = EMPTY;
  #bytesMax = 0;
  #settle: ((body: Buffer | Reason) => void) | undefined;
  #cancelTimer: Cancel | undefined;

  /** @param declaredBytes Content-Length; 0 for no body, `undefined` where its end says it. */
  constructor(source: BodySource, declaredBytes: number | undefined) {
    this.#source = source;
    this.#declaredBytes = declaredBytes;
  }

  /** True once nothing more of the body will come that has to be read. */
  isComplete(): boolean {
    return this.#declaredBytes === 0 || this.#source.isComplete();
  }

  /**
   * The body in memory of its own, which may be given to another thread. Or why there is none:
   * `body_too_large` (for a declared length, before anything is read), `body_too_slow`, or what
   * `fail` was called with. After any of these the rest of the body is still to be discarded.
   */
  read({ bytesMax, timeoutMs }: BodyLimits, clock: Clock): AtOnce<Buffer | Reason> {
    const declared = this.#declaredBytes;
    if (declared === 0) return Buffer.alloc(0);
    if (declared !== undefined && declared > bytesMax) return "body_too_large";
    this.#bytesMax = bytesMax;
    // Small bodies mostly come with their heads: there is nothing to wait for, nor to set a time for.
    const there = declared === undefined ? undefined : this.#source.take(declared);
    if (there === undefined) return this.#readOn(timeoutMs, clock);
    this.receivedBytes = there.length;
    return there;
  }

  #readOn(timeoutMs: number, clock: Clock): Promise<Buffer | Reason> {
    return new Promise((resolve) => {
      this.#settle = resolve;
      this.#cancelTimer = clock.after(timeoutMs, () => this.fail("body_too_slow"));
      this.#source.tell(this);
    });
  }

  /** True while a `read` waits for bytes. */
  isReading(): boolean {
    return this.#settle !== undefined;
  }

  /** Ends a running `read` with this reason; otherwise does nothing. */
  fail(reason: Reason): void {
    this.#finish(reason);
  }

  onPiece(piece: Buffer): void {
    const received = this.receivedBytes + piece.length;
    if (received > this.#bytesMax) {
      this.#finish("body_too_large");
      return;
    }
    if (this.receivedBytes === 0) {
      this.#store = piece;
    } else {
      if (received > this.#store.length) this.#grow(received);
      piece.copy(this.#store, this.receivedBytes);
    }
    this.receivedBytes = received;
  }

  onEnd(): void {
    this.#finish(this.#source.isBroken() ? "client_gone" : this.#whole());
  }

  /** Pages of a large buffer cost nothing until they are written, so a declared length is taken. */
  #grow(bytesMin: number): void {
    const doubled = Math.min(Math.max(bytesMin, 2 * this.#store.length), this.#bytesMax);
    const bigger = Buffer.allocUnsafeSlow(this.#declaredBytes ?? doubled);
    this.#store.copy(bigger, 0, 0, this.receivedBytes);
    this.#store = bigger;
  }

  #whole(): Buffer {
    if (this.receivedBytes === 0) return Buffer.alloc(0);
    return this.#store.subarray(0, this.receivedBytes);
  }

  #finish(body: Buffer | Reason): void {
    const settle = this.#settle;
    if (settle === undefined) return;
    this.#settle = undefined;
    this.#cancelTimer?.();
    this.#source.hush();
    this.#store = EMPTY;
    settle(body);
  }
}
