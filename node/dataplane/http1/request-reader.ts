import type { HeadViolation } from "../head-rules.ts";
import { ChunkedBody, type ChunkedLimits } from "./chunked-body.ts";
import { type ReceivedHead, readRequestHead } from "./request-head.ts";

/**
 * `head`: `head` has it, and `frame` is to be told what follows it. `body`: `body` has a piece of it, never an empty
 * one. `whole`: the request is over, and what follows is the next. `fault`: `fault` says what it is.
 */
export type RequestReading = "more" | "head" | "body" | "whole" | "fault";

export type ReaderLimits = ChunkedLimits & {
  /** First line, headers and the empty line; empty lines before them are counted too. */
  readonly headBytesMax: number;
};

type Place = "head" | "told" | "sized" | "chunked" | "broken";

/**
 * Reads one request after another from the bytes of a client's connection.
 *
 * R1. How the bytes are cut changes nothing: the same heads, bodies and faults come of them.
 * R2. A body is what its framing gives it, to the byte; what follows is the next request's, and of a fault nothing
 *     that follows is anybody's.
 * R3. What is told of a body shares its memory with nothing else that is told.
 * R4. Nothing is read that was not asked for: a next request waits as the bytes that it came as.
 */
export class RequestReader {
  /** Until `next`, as `body`: a connection that falls silent holds on to nothing that it has told. */
  head: ReceivedHead | undefined;
  body: Buffer = NO_BUFFER;
  fault: HeadViolation | undefined;
  readonly #limits: ReaderLimits;
  #place: Place = "head";
  /** What was not read yet lies from `#at` to `#end`. */
  #bytes: Buffer = NO_BUFFER;
  #at = 0;
  #end = 0;
  /** How much of an unfinished head was looked through. */
  #seenBytes = 0;
  /** Of empty lines before it. */
  #skippedBytes = 0;
  #leftBytes = 0;
  #chunks: ChunkedBody | undefined;

  constructor(limits: ReaderLimits) {
    this.#limits = limits;
  }

  /** More bytes, which are the reader's from now on. */
  push(bytes: Buffer): void {
    const unread = this.unreadBytes;
    if (unread === 0) {
      this.#bytes = bytes;
      this.#at = 0;
      this.#end = bytes.length;
      return;
    }
    if (this.#end + bytes.length > this.#bytes.length) this.#makeRoom(unread + bytes.length);
    bytes.copy(this.#bytes, this.#end);
    this.#end += bytes.length;
  }

  /** What comes next. After `more` all bytes were read but those of a head that is not whole. */
  next(): RequestReading {
    this.head = undefined;
    this.body = NO_BUFFER;
    switch (this.#place) {
      case "head":
        return this.#readHead();
      case "told":
        return "more";
      case "sized":
        return this.#leftBytes === 0 ? this.#over() : this.#readSized();
      case "chunked":
        return this.#readChunks(this.#chunks as ChunkedBody);
      case "broken":
        return "fault";
    }
  }

  /** What follows the head: a body of so many bytes; undefined: one in chunks. */
  frame(bodyBytes: number | undefined): void {
    this.#leftBytes = bodyBytes ?? 0;
    this.#place = bodyBytes === undefined ? "chunked" : "sized";
    this.#chunks = bodyBytes === undefined ? new ChunkedBody(this.#limits) : undefined;
  }

  /** A body of a declared length that is there whole and of which nothing was read; then the request is over. */
  takeBody(bytes: number): Buffer | undefined {
    if (this.#place !== "sized" || this.#leftBytes !== bytes || this.unreadBytes < bytes) {
      return undefined;
    }
    this.#over();
    return this.#take(bytes);
  }

  /** Some of a head is there. An empty line is none of it. */
  get hasBegunHead(): boolean {
    return this.#place === "head" && this.unreadBytes > 0;
  }

  get unreadBytes(): number {
    return this.#end - this.#at;
  }

  /** All that was pushed and not read. */
  takeRest(): Buffer {
    return this.#take(this.unreadBytes);
  }

  /** In memory of twice what waits: bytes may come one at a time. What was read before counts no more. */
  #makeRoom(bytes: number): void {
    const room = Buffer.allocUnsafeSlow(Math.max(bytes, 2 * this.unreadBytes));
    this.#end = this.#bytes.copy(room, 0, this.#at, this.#end);
    this.#at = 0;
    this.#bytes = room;
  }

  #readHead(): RequestReading {
    this.#skipEmptyLines();
    const { headBytesMax } = this.#limits;
    const from = this.#at + Math.max(0, this.#seenBytes - HEAD_END.length);
    const stop = this.#bytes.indexOf(HEAD_END, from) + HEAD_END.length;
    const isWhole = stop >= HEAD_END.length && stop <= this.#end;
    const bytes = this.#skippedBytes + (isWhole ? stop : this.#end) - this.#at;
    if (isWhole && bytes <= headBytesMax) return this.#tellHead(stop);
    if (this.#isSpoilt(headBytesMax - this.#skippedBytes)) return this.#fail(MALFORMED);
    if (bytes > headBytesMax) {
      return this.#fail({ reason: "head_too_large", detail: `more than ${headBytesMax} bytes` });
    }
    return "more";
  }

  /** Some clients end a body with an empty line that is no part of it. */
  #skipEmptyLines(): void {
    while (this.#at + 1 < this.#end && this.#bytes[this.#at] === CR) {
      if (this.#bytes[this.#at + 1] !== LF) return;
      this.#goOnAt(this.#at + 2);
      this.#skippedBytes += 2;
      this.#seenBytes = 0;
    }
  }

  #tellHead(stop: number): RequestReading {
    const head = readRequestHead(this.#bytes.toString("latin1", this.#at, stop - 2));
    if (head === undefined) return this.#fail(MALFORMED);
    this.head = head;
    this.#goOnAt(stop);
    this.#seenBytes = 0;
    this.#skippedBytes = 0;
    this.#place = "told";
    return "head";
  }

  /** Whether what is there so far can be no head, whatever comes behind it. */
  #isSpoilt(bytesMax: number): boolean {
    const bytes = this.#bytes;
    const end = Math.min(this.#end, this.#at + bytesMax);
    // A CR may have been the last that was seen.
    for (let at = this.#at + Math.max(0, this.#seenBytes - 1); at < end; at += 1) {
      const byte = bytes[at] as number;
      if (byte >= SPACE && byte !== DEL) continue;
      if (byte === TAB) continue;
      if (byte === LF && at > this.#at && bytes[at - 1] === CR) continue;
      if (byte === CR && (at + 1 >= end || bytes[at + 1] === LF)) continue;
      return true;
    }
    this.#seenBytes = Math.max(0, end - this.#at);
    return false;
  }

  #readSized(): RequestReading {
    const count = Math.min(this.#leftBytes, this.unreadBytes);
    if (count === 0) return "more";
    this.#leftBytes -= count;
    this.body = this.#take(count);
    return "body";
  }

  #readChunks(chunks: ChunkedBody): RequestReading {
    if (chunks.fault !== undefined) {
      return this.#fail({ reason: "malformed_http", detail: chunks.fault });
    }
    if (chunks.isWhole) return this.#over();
    if (this.#at === this.#end) return "more";
    this.body = ownCopy(chunks.take(this.#bytes, this.#at, this.#end));
    this.#goOnAt(this.#at + chunks.taken);
    return this.body.length > 0 ? "body" : this.#readChunks(chunks);
  }

  /** A copy where something else lies in the same memory that is not read yet. */
  #take(count: number): Buffer {
    const stop = this.#at + count;
    const isLast = stop === this.#end;
    const bytes = this.#bytes.subarray(this.#at, stop);
    this.#goOnAt(stop);
    return isLast ? bytes : ownCopy(bytes);
  }

  #goOnAt(at: number): void {
    this.#at = at;
    if (at === this.#end) this.#forget();
  }

  #forget(): void {
    this.#bytes = NO_BUFFER;
    this.#at = 0;
    this.#end = 0;
  }

  #over(): RequestReading {
    this.#place = "head";
    this.#chunks = undefined;
    return "whole";
  }

  #fail(why: HeadViolation): RequestReading {
    this.fault = why;
    this.#place = "broken";
    this.#forget();
    return "fault";
  }
}

/** Small buffers of Node's lie in one memory. */
function ownCopy(bytes: Uint8Array): Buffer {
  const copy = Buffer.allocUnsafeSlow(bytes.length);
  copy.set(bytes);
  return copy;
}

const NO_BUFFER = Buffer.alloc(0);
const HEAD_END = Buffer.from("\r\n\r\n");
const MALFORMED: HeadViolation = { reason: "malformed_http", detail: "the head is not HTTP/1.1" };
const CR = 0x0d;
const LF = 0x0a;
const TAB = 0x09;
const SPACE = 0x20;
const DEL = 0x7f;
