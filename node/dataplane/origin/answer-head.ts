import { HEADER_LINES, hasTabbedFraming, readHeaderLines, wordsOf } from "../http1/header-lines.ts";
import { ORIGIN_LIMITS } from "./origin-limits.ts";

/** What of an answer's head says where it ends, and what becomes of its connection. */
export type AnswerHead = {
  readonly status: number;
  /** Flat name, value, ... as received. */
  readonly rawHeaders: readonly string[];
  /** Bytes of its body, if its status has one. */
  readonly framing: number | "chunked" | "until-close";
  /** The connection may carry another request. */
  readonly persists: boolean;
  /** How long the server says that it keeps the connection, milliseconds. Absent: it does not say. */
  readonly keptMs: number | undefined;
};

/**
 * Reads the head of an answer, without the empty line at its end. A string: why it is none.
 *
 * Strict where two readers could differ: header lines are of one form, and a body has one framing that is said once.
 *
 * @param text A character a byte.
 * @see https://www.rfc-editor.org/rfc/rfc9112#section-6.3
 */
export function readAnswerHead(text: string): AnswerHead | string {
  if (!HEAD_FORM.test(text)) return "the head of the answer is not HTTP/1";
  if (hasTabbedFraming(text)) return "the answer says beside a tab where its body ends";
  const rawHeaders = readHeaderLines(text, text.indexOf("\r\n") + 2);
  if (rawHeaders.length > 2 * ORIGIN_LIMITS.headersMax) return "the answer has too many headers";
  const said = new Said(text.charCodeAt(MINOR_AT) === ONE);
  for (let i = 0; i < rawHeaders.length; i += 2) {
    said.take(rawHeaders[i] as string, rawHeaders[i + 1] as string);
  }
  const framing = said.framing();
  if (framing === undefined) return "the answer does not say where its body ends";
  const status = Number(text.slice(STATUS_AT, STATUS_AT + 3));
  return { status, rawHeaders, framing, persists: said.persists, keptMs: said.keptMs };
}

/** Above 599 there is no status, and who hears of one over HTTP/2 can be told of none. */
const HEAD_FORM = new RegExp(
  String.raw`^HTTP\/1\.[01] [1-5][0-9]{2}(?: [\t\x20-\x7e\x80-\xff]*)?\r\n${HEADER_LINES}$`,
);
const MINOR_AT = "HTTP/1.".length;
const STATUS_AT = "HTTP/1.1 ".length;
const ONE = 0x31;
const DIGITS = /^[0-9]{1,15}$/;
const KEPT_SECONDS = /(?:^|[,;\s])timeout=([0-9]{1,9})(?:$|[,;\s])/i;

/** What headers have said of body and connection so far. */
class Said {
  readonly #isOneOne: boolean;
  #lengths = 0;
  #length: number | undefined;
  #encodings = 0;
  #isChunked = false;
  #closes = false;
  #keeps = false;
  keptMs: number | undefined;

  constructor(isOneOne: boolean) {
    this.#isOneOne = isOneOne;
  }

  /** Few names are of that length, so nearly none is looked at twice. */
  take(name: string, value: string): void {
    if (name.length === 10) this.#takeOfConnection(name.toLowerCase(), value);
    else if (name.length === 14 && name.toLowerCase() === "content-length") {
      this.#lengths += 1;
      this.#length = DIGITS.test(value) ? Number(value) : undefined;
    } else if (name.length === 17 && name.toLowerCase() === "transfer-encoding") {
      this.#encodings += 1;
      this.#isChunked = value.toLowerCase() === "chunked";
    }
  }

  /** Undefined: twice, in two ways, or in one that is not known here. */
  framing(): AnswerHead["framing"] | undefined {
    if (this.#lengths + this.#encodings > 1) return undefined;
    if (this.#encodings === 1) {
      return this.#isOneOne && this.#isChunked ? "chunked" : undefined;
    }
    return this.#lengths === 1 ? this.#length : "until-close";
  }

  get persists(): boolean {
    return !this.#closes && (this.#isOneOne || this.#keeps);
  }

  #takeOfConnection(name: string, value: string): void {
    if (name === "keep-alive") {
      this.keptMs = keptBy(value) ?? this.keptMs;
    } else if (name === "connection") {
      // As nearly all servers say it.
      if (value === "keep-alive") this.#keeps = true;
      else this.#takeWords(value);
    }
  }

  #takeWords(value: string): void {
    for (const token of wordsOf(value)) {
      this.#closes ||= token === "close";
      this.#keeps ||= token === "keep-alive";
    }
  }
}

/** A server says the same of every connection, so it is mostly what was read last. */
let lastKept: { readonly value: string; readonly ms: number | undefined } = {
  value: "",
  ms: undefined,
};

/** For how long, milliseconds, if the value of `keep-alive` says so. */
function keptBy(value: string): number | undefined {
  if (value !== lastKept.value) {
    const seconds = KEPT_SECONDS.exec(value)?.[1];
    lastKept = { value, ms: seconds === undefined ? undefined : Number(seconds) * 1_000 };
  }
  return lastKept.ms;
}
