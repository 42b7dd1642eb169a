import type { Cancel, Clock } from "../../ports/clock.ts";
import type { Reason } from "../../proto/reasons.ts";
import type { AtOnce } from "../at-once.ts";
import type { ClientWire } from "./client-wire.ts";

/** Where a body comes from. */
export type BodyWire = Pick<ClientWire, "source" | "isBodyComplete" | "isBodyBroken" | "holdsBody">;

export type BodyLimits = { readonly bytesMax: number; readonly timeoutMs: number };

const EMPTY = Buffer.alloc(0);

/**
 * Reads one request's body whole, within bounds.
 *
 * Memory follows what has arrived, not what was declared, and never the number of chunks: a client
 * that sends a byte at a time holds one buffer like any other.
 */
export class RequestBody {
  /** Body bytes that arrived so far. */
  receivedBytes = 0;
  readonly #wire: BodyWire;
  readonly #declaredBytes: number | undefined;
  #store: Buffer = EMPTY;
  #bytesMax = 0;
  /** All of it was there when it was asked for, which the wire may not have been told yet. */
  #isTaken = false;
  #settle: ((body: Buffer | Reason) => void) | undefined;
  #cancelTimer: Cancel | undefined;
  // Made when a body is read: most refused requests never get that far.
  #onData: (chunk: Buffer) => void = nothing;
  #onEnd: () => void = nothing;

  /** @param declaredBytes Content-Length; 0 for no body, `undefined` where its end says it. */
  constructor(wire: BodyWire, declaredBytes: number | undefined) {
    this.#wire = wire;
    this.#declaredBytes = declaredBytes;
  }

  /** True once nothing more of the body will come that has to be read. */
  isComplete(): boolean {
    const declared = this.#declaredBytes;
    return declared === 0 || this.#isTaken || this.#wire.isBodyComplete();
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
    if (declared !== undefined && this.#wire.holdsBody(declared)) return this.#taken();
    return new Promise((resolve) => {
      this.#settle = resolve;
      this.#cancelTimer = clock.after(timeoutMs, () => this.fail("body_too_slow"));
      // Not written straight into the fields: a function that is, V8 puts among the old objects, and
      // until its next full collection all that the function knows of this request hangs on it.
      const onData = (chunk: Buffer) => this.#take(chunk);
      const onEnd = () => this.#finish(this.#wire.isBodyBroken() ? "client_gone" : this.#whole());
      this.#onData = onData;
      this.#onEnd = onEnd;
      this.#wire.source.on("data", this.#onData);
      this.#wire.source.on("end", this.#onEnd);
    });
  }

  /** A stream hands out one piece at a time, as it came, and says when there is none left. */
  #taken(): Buffer {
    const { source } = this.#wire;
    for (let piece = source.read(); piece !== null; piece = source.read()) this.#take(piece);
    const body = this.#whole();
    this.#store = EMPTY;
    this.#isTaken = true;
    return body;
  }

  /** True while a `read` waits for bytes. */
  isReading(): boolean {
    return this.#settle !== undefined;
  }

  /** Ends a running `read` with this reason; otherwise does nothing. */
  fail(reason: Reason): void {
    this.#finish(reason);
  }

  /**
   * The exchange is over. Of a body that was taken at once nobody has read the end, and until somebody does, node:http keeps
   * the request for as long as its connection waits for another one.
   */
  forget(): void {
    if (this.#isTaken) this.#wire.source.read();
  }

  #take(chunk: Buffer): void {
    const received = this.receivedBytes + chunk.length;
    if (received > this.#bytesMax) {
      this.#finish("body_too_large");
      return;
    }
    if (this.receivedBytes === 0) {
      this.#store = chunk;
    } else {
      if (received > this.#store.length) this.#grow(received);
      chunk.copy(this.#store, this.receivedBytes);
    }
    this.receivedBytes = received;
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
    this.#wire.source.off("data", this.#onData);
    this.#wire.source.off("end", this.#onEnd);
    // Without a listener the parser must not go on filling the stream's own buffer.
    if (typeof body === "string") this.#wire.source.pause();
    this.#store = EMPTY;
    settle(body);
  }
}

function nothing(): void {}
