import { ChunkedBody } from "../http1/chunked-body.ts";
import { type AnswerHead, readAnswerHead } from "./answer-head.ts";
import { ORIGIN_LIMITS } from "./origin-limits.ts";

/**
 * `head`: `head` has it. `body`: `body` has a piece of it, never an empty one. `whole`: the answer is over.
 * `upgraded`: `head` has the agreement, and what follows is of another protocol. `fault`: `fault` says what it is.
 */
export type Reading = "more" | "head" | "body" | "whole" | "upgraded" | "fault";

/** What of a request says how its answer is to be read. */
export type Asked = { readonly method: string; readonly upgrade?: string | undefined };

type Place = "before" | "head" | "sized" | "chunked" | "until-close" | "over";

/**
 * Reads one answer after another from the bytes of a connection.
 *
 * A1. How the bytes are cut changes nothing: the same heads, bodies and faults come of them.
 * A2. Nothing but the bytes that its framing gives it is told as an answer's, and whatever does not end as it
 *     has to is a fault.
 * A3. What is told is never a view of the bytes that were pushed: those may be overwritten afterwards.
 */
export class AnswerReader {
  head: AnswerHead | undefined;
  /** Until `next`. */
  body: Uint8Array = NO_BYTES;
  fault = "";
  #asked: Asked = { method: "" };
  #place: Place = "over";
  #bytes: Buffer = NO_BUFFER;
  #at = 0;
  #end = 0;
  /** The beginning of a head that is not there whole, and how much of it there is. */
  #begun: Buffer = NO_BUFFER;
  #begunBytes = 0;
  #headBytes = 0;
  #interimHeads = 0;
  #leftBytes = 0;
  #chunks: ChunkedBody | undefined;

  /** The next answer is one to this. */
  begin(asked: Asked): void {
    this.#asked = asked;
    this.#place = "before";
    this.head = undefined;
    this.#forgetBegun();
    this.#headBytes = 0;
    this.#interimHeads = 0;
  }

  /** More bytes, up to `end`; those before have been read. */
  push(bytes: Buffer, end: number): void {
    this.#bytes = bytes;
    this.#at = 0;
    this.#end = end;
  }

  /** What comes next. After `more` all bytes were read; after `whole` or `upgraded` there may be a rest. */
  next(): Reading {
    // A connection that falls silent holds on to nothing that it has told.
    this.body = NO_BYTES;
    switch (this.#place) {
      case "before":
        return this.#readHead();
      case "head":
        this.#place = this.#beginBody(this.head as AnswerHead);
        return this.next();
      case "sized":
        return this.#leftBytes === 0 ? this.#over() : this.#readSized();
      case "chunked":
        return this.#readChunks(this.#chunks as ChunkedBody);
      case "until-close":
        return this.#at === this.#end ? "more" : this.#tell(this.#end - this.#at);
      case "over":
        return this.#at === this.#end ? "more" : this.#fail("bytes that no request asked for");
    }
  }

  /** The server will send nothing more. */
  finish(): "whole" | "fault" {
    if (this.#place === "until-close") {
      this.#place = "over";
      return "whole";
    }
    this.#fail("the answer broke off");
    return "fault";
  }

  get hasRest(): boolean {
    return this.#at < this.#end;
  }

  /** A copy of what was pushed and is not the answer's. */
  takeRest(): Buffer {
    const rest = Buffer.from(this.#bytes.subarray(this.#at, this.#end));
    this.#at = this.#end;
    return rest;
  }

  #readHead(): Reading {
    while (this.#at < this.#end) {
      const text = this.#begunBytes === 0 ? this.#wholeHead() : this.#goOnWithHead();
      if (text === undefined) return this.fault === "" ? "more" : "fault";
      const head = readAnswerHead(text);
      if (typeof head === "string") return this.#fail(head);
      if (head.status >= 200) return this.#tellHead(head);
      if (head.status === 101) return this.#upgrade(head);
      this.#interimHeads += 1;
      if (this.#interimHeads > ORIGIN_LIMITS.interimHeadsMax) {
        return this.#fail("too many heads before the answer");
      }
    }
    return "more";
  }

  #tellHead(head: AnswerHead): Reading {
    this.head = head;
    this.#place = "head";
    return "head";
  }

  #upgrade(head: AnswerHead): Reading {
    if (this.#asked.upgrade === undefined) return this.#fail("another protocol was not asked for");
    this.head = head;
    this.#place = "over";
    return "upgraded";
  }

  /** As nearly all of them come: in one piece. */
  #wholeHead(): string | undefined {
    const stop = this.#bytes.indexOf(HEAD_END, this.#at);
    if (stop < 0 || stop + HEAD_END.length > this.#end) return this.#goOnWithHead();
    const text = this.#bytes.toString("latin1", this.#at, stop + 2);
    return this.#endOfHead(stop + HEAD_END.length - this.#at) ? text : undefined;
  }

  /** A byte at a time: where the head ends, or as soon as it cannot be one. */
  #goOnWithHead(): string | undefined {
    const before = this.#begunBytes;
    const begun = this.#addToBegun();
    const end = this.#begunBytes;
    for (let at = before; at < end; at += 1) {
      if (at < HEAD_START.length && begun[at] !== HEAD_START[at]) {
        this.#fail("the answer is not HTTP/1");
        return undefined;
      }
      if (begun[at] !== LF) continue;
      if (begun[at - 1] !== CR) {
        this.#fail("a line of the answer's head has no end");
        return undefined;
      }
      if (begun[at - 2] !== LF) continue;
      this.#forgetBegun();
      return this.#endOfHead(at + 1 - before) ? begun.toString("latin1", 0, at - 1) : undefined;
    }
    this.#endOfHead(end - before);
    return undefined;
  }

  /** Keeps what was pushed, in memory that doubles: a head may come a byte at a time. */
  #addToBegun(): Buffer {
    const bytes = this.#begunBytes + this.#end - this.#at;
    if (bytes > this.#begun.length) {
      const bigger = Buffer.allocUnsafeSlow(Math.max(bytes, 2 * this.#begun.length));
      this.#begun.copy(bigger, 0, 0, this.#begunBytes);
      this.#begun = bigger;
    }
    this.#bytes.copy(this.#begun, this.#begunBytes, this.#at, this.#end);
    this.#begunBytes = bytes;
    return this.#begun;
  }

  #forgetBegun(): void {
    this.#begun = NO_BUFFER;
    this.#begunBytes = 0;
  }

  /** Counts what of a head was read. False: it is too large. */
  #endOfHead(bytes: number): boolean {
    this.#at += bytes;
    this.#headBytes += bytes;
    if (this.#headBytes > ORIGIN_LIMITS.headBytesMax) this.#fail("the answer's head is too large");
    return this.fault === "";
  }

  #beginBody({ status, framing }: AnswerHead): Place {
    const hasNone = this.#asked.method === "HEAD" || status === 204 || status === 304;
    if (framing === "until-close" && !hasNone) return "until-close";
    this.#leftBytes = typeof framing === "number" && !hasNone ? framing : 0;
    if (framing !== "chunked" || hasNone) return "sized";
    this.#chunks = new ChunkedBody(ORIGIN_LIMITS);
    return "chunked";
  }

  #readSized(): Reading {
    const count = Math.min(this.#leftBytes, this.#end - this.#at);
    if (count === 0) return "more";
    this.#leftBytes -= count;
    return this.#tell(count);
  }

  #readChunks(chunks: ChunkedBody): Reading {
    if (chunks.fault !== undefined) return this.#fail(chunks.fault);
    if (chunks.isWhole) return this.#over();
    if (this.#at === this.#end) return "more";
    this.body = chunks.take(this.#bytes, this.#at, this.#end);
    this.#at += chunks.taken;
    return this.body.length > 0 ? "body" : this.#readChunks(chunks);
  }

  #tell(count: number): Reading {
    const body = Buffer.allocUnsafe(count);
    this.#bytes.copy(body, 0, this.#at, this.#at + count);
    this.body = body;
    this.#at += count;
    return "body";
  }

  #over(): Reading {
    this.#place = "over";
    return "whole";
  }

  #fail(why: string): Reading {
    this.fault = why;
    this.#place = "over";
    return "fault";
  }
}

const NO_BYTES = new Uint8Array(0);
const NO_BUFFER = Buffer.alloc(0);
const HEAD_START = Buffer.from("HTTP/1.");
const HEAD_END = Buffer.from("\r\n\r\n");
const CR = 0x0d;
const LF = 0x0a;
