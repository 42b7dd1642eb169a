import { GrowingBytes } from "./growing-bytes.ts";

/** One event of a stream. */
export type SseFrame = {
  /** From behind the previous frame to the end of the empty line that ends this one. */
  readonly bytes: Uint8Array;
  /** Where its first line begins: behind the byte order mark, in the first frame. */
  readonly begin: number;
};

/** What a reader takes from a frame. */
export type SseWords = {
  readonly event: string | undefined;
  /** Where its name stands: ahead of all data, as where there is none, or behind some; or there are two, and it is the last. */
  readonly named: "ahead" | "behind" | "twice";
  /** Data lines joined by line feeds; undefined when the frame has none and so says nothing. */
  readonly data: string | undefined;
  /** Text that no client shows: comments, ids, fields that the format does not know. */
  readonly rest: string;
};

export type SseFault = "frame_too_large";

/**
 * Cuts a byte stream into the frames of `text/event-stream`, keeping every byte.
 *
 * All frames' bytes, joined, are the stream. Where it is cut into chunks changes nothing, but for
 * one thing: a carriage return ends a frame at once, and a line feed that belongs to it but comes in
 * the next chunk is a frame of its own that says nothing.
 *
 * @see https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
 */
export class SseFrames {
  readonly #frameBytesMax: number;
  /** Bytes of the frame that is not complete yet. */
  readonly #held = new GrowingBytes();
  /** Bytes of the line that is not complete yet. */
  #lineBytes = 0;
  /** The last byte was a carriage return: a line feed that follows is part of the same line end. */
  #afterReturn = false;
  /** How many bytes of a byte order mark have come at the very beginning; 3 when past it. */
  #markBytes = 0;
  #first = true;
  #fault: SseFault | undefined;

  constructor({ frameBytesMax }: { frameBytesMax: number }) {
    this.#frameBytesMax = frameBytesMax;
  }

  /** Set once the stream cannot be read on. No frame comes after it. */
  get fault(): SseFault | undefined {
    return this.#fault;
  }

  /** Takes the next chunk; the frames that it completes. They may share its memory. */
  push(chunk: Uint8Array): readonly SseFrame[] {
    const frames: SseFrame[] = [];
    const ends = new LineEnds(chunk);
    let start = 0;
    let from = this.#skipLineFeed(chunk, frames);
    if (this.#held.length === 0) start = from;
    for (let at = ends.next(from); at < chunk.length; at = ends.next(from)) {
      if (this.#fault !== undefined) return frames;
      this.#countLineBytes(chunk, from, at);
      const returned = chunk[at] === CARRIAGE_RETURN;
      const empty = this.#endLine();
      from = returned && chunk[at + 1] === LINE_FEED ? at + 2 : at + 1;
      this.#afterReturn = returned && from === at + 1 && from === chunk.length;
      if (!empty) continue;
      this.#emit(slice(chunk, start, from), frames);
      start = from;
    }
    this.#countLineBytes(chunk, from, chunk.length);
    if (start < chunk.length) this.#hold(slice(chunk, start, chunk.length));
    return frames;
  }

  /** What is left when the stream ends: a frame without its empty line, or nothing. */
  end(): SseFrame | undefined {
    if (this.#held.length === 0 || this.#fault !== undefined) return undefined;
    const frames: SseFrame[] = [];
    this.#emit(NO_BYTES, frames);
    return frames[0];
  }

  /**
   * Steps over a line feed that belongs to the carriage return which the chunk before ended in.
   * Where that ended a frame too, the line feed is one of its own.
   */
  #skipLineFeed(chunk: Uint8Array, frames: SseFrame[]): number {
    const skips = this.#afterReturn && chunk[0] === LINE_FEED;
    if (chunk.length > 0) this.#afterReturn = false;
    if (!skips) return 0;
    if (this.#held.length === 0) this.#emit(slice(chunk, 0, 1), frames);
    return 1;
  }

  #countLineBytes(chunk: Uint8Array, from: number, to: number): void {
    let at = from;
    while (at < to && this.#markBytes < BYTE_ORDER_MARK.length) {
      if (chunk[at] === BYTE_ORDER_MARK[this.#markBytes]) {
        this.#markBytes += 1;
        at += 1;
      } else {
        // What looked like a mark was text, and its line is not empty: this byte is in it too.
        this.#markBytes = BYTE_ORDER_MARK.length;
      }
    }
    this.#lineBytes += to - at;
  }

  /** True: the line was empty. */
  #endLine(): boolean {
    const empty = this.#lineBytes === 0;
    this.#lineBytes = 0;
    this.#markBytes = BYTE_ORDER_MARK.length;
    return empty;
  }

  #hold(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    this.#held.add(bytes);
    if (this.#held.length > this.#frameBytesMax) this.#fail("frame_too_large");
  }

  #emit(tail: Uint8Array, frames: SseFrame[]): void {
    this.#hold(tail);
    if (this.#fault !== undefined) return;
    const bytes = this.#held.take();
    frames.push({ bytes, begin: this.#first ? markLength(bytes) : 0 });
    this.#first = false;
  }

  #fail(fault: SseFault): void {
    this.#fault = fault;
    this.#held.take();
  }
}

/** Undefined: it is not UTF-8. */
export function readFrame(frame: SseFrame): SseWords | undefined {
  try {
    return wordsOf(frame);
  } catch {
    return undefined;
  }
}

const LINE_FEED = 0x0a;
const CARRIAGE_RETURN = 0x0d;
const BYTE_ORDER_MARK = [0xef, 0xbb, 0xbf] as const;
const SPACE = 0x20;
const DATA = Buffer.from("data:");
const NO_BYTES = new Uint8Array(0);
const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Where lines of a chunk end, each byte looked at once for either of the two characters. */
class LineEnds {
  readonly #chunk: Uint8Array;
  #feed = -1;
  #return = -1;

  constructor(chunk: Uint8Array) {
    this.#chunk = chunk;
  }

  /** The next line end's first byte, from an index on; the chunk's length when there is none. */
  next(from: number): number {
    if (this.#feed < from) this.#feed = this.#find(LINE_FEED, from);
    if (this.#return < from) this.#return = this.#find(CARRIAGE_RETURN, from);
    return Math.min(this.#feed, this.#return);
  }

  #find(byte: number, from: number): number {
    const at = this.#chunk.indexOf(byte, from);
    return at < 0 ? this.#chunk.length : at;
  }
}

function slice(chunk: Uint8Array, from: number, to: number): Uint8Array {
  return from === 0 && to === chunk.length ? chunk : chunk.subarray(from, to);
}

function markLength(bytes: Uint8Array): number {
  return BYTE_ORDER_MARK.every((byte, index) => bytes[index] === byte) ? BYTE_ORDER_MARK.length : 0;
}

/** Reads a frame line by line, so that its data becomes one text of its own. Throws if not UTF-8. */
function wordsOf({ bytes, begin }: SseFrame): SseWords {
  const ends = new LineEnds(bytes);
  let name: string | undefined;
  let named: SseWords["named"] = "ahead";
  let data: string | undefined;
  let rest = "";
  let from = begin;
  while (from < bytes.length) {
    const end = ends.next(from);
    if (startsWith(bytes, from, DATA)) {
      const line = UTF8.decode(bytes.subarray(valueStart(bytes, from + DATA.length), end));
      data = data === undefined ? line : `${data}\n${line}`;
    } else if (end > from) {
      const line = UTF8.decode(bytes.subarray(from, end));
      if (line === "data") data = data === undefined ? "" : `${data}\n`;
      else if (line === "event" || line.startsWith("event:")) {
        if (name !== undefined) named = "twice";
        else if (data !== undefined) named = "behind";
        name = line.slice(line[6] === " " ? 7 : 6);
      } else rest += `${line}\n`;
    }
    from = end + 1;
  }
  // An empty name means the default one, as if there were no such line.
  return { event: name || undefined, named, data, rest };
}

function startsWith(bytes: Uint8Array, from: number, prefix: Uint8Array): boolean {
  for (let index = 0; index < prefix.length; index++) {
    if (bytes[from + index] !== prefix[index]) return false;
  }
  return true;
}

/** One space after the colon belongs to the format. */
function valueStart(bytes: Uint8Array, afterColon: number): number {
  return bytes[afterColon] === SPACE ? afterColon + 1 : afterColon;
}
