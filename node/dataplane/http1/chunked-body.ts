/** Bounds on what a body in chunks may bring beside its bytes. */
export type ChunkedLimits = {
  /** What stands behind the size of one chunk, bytes. */
  readonly chunkExtensionBytesMax: number;
  /** The same of all chunks of one body together. Absent: they are not counted. */
  readonly chunkExtensionsBytesMax?: number;
  /** Headers behind the last chunk, bytes; they are dropped. */
  readonly trailerBytesMax: number;
};

type Place =
  | "size"
  | "extension"
  | "extension-name"
  | "extension-value"
  | "extension-word"
  | "extension-quoted"
  | "extension-escaped"
  | "extension-end"
  | "size-lf"
  | "data"
  | "data-cr"
  | "data-lf"
  | "trailer-start"
  | "trailer-name"
  | "trailer-value"
  | "trailer-lf"
  | "last-lf";

const CR = 0x0d;
const LF = 0x0a;
const TAB = 0x09;
const COLON = 0x3a;
const SEMICOLON = 0x3b;
const EQUALS = 0x3d;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/**
 * What ends a message or its connection: said behind the body, some readers go by it.
 *
 * @see https://www.rfc-editor.org/rfc/rfc9110#section-6.5.1
 */
const NO_TRAILERS: ReadonlySet<string> = new Set([
  ...["content-length", "transfer-encoding", "connection", "proxy-connection"],
]);

/** So that every size is a whole number. */
const SIZE_DIGITS_MAX = 13;

/**
 * Takes the chunks of one body apart, however they are cut.
 *
 * Extensions and trailers are read, since they have to end, and dropped.
 *
 * @see https://www.rfc-editor.org/rfc/rfc9112#section-7.1
 */
export class ChunkedBody {
  /** The empty line at its end was read. */
  isWhole = false;
  fault: string | undefined;
  readonly #limits: ChunkedLimits;
  #place: Place = "size";
  #digits = 0;
  #leftBytes = 0;
  #extensionBytes = 0;
  #extensionsBytes = 0;
  #trailerBytes = 0;
  #trailerName = "";
  #taken = 0;

  constructor(limits: ChunkedLimits) {
    this.#limits = limits;
  }

  /** How many of the bytes were read by the last `take`: all of them, unless it is whole or at fault. */
  get taken(): number {
    return this.#taken;
  }

  /** What of the body is in these bytes, up to a fault if there is one; a copy. */
  take(bytes: Buffer, from: number, to: number): Uint8Array {
    let body = NO_BYTES;
    let length = 0;
    let at = from;
    while (at < to && !this.isWhole && this.fault === undefined) {
      if (this.#place !== "data") {
        this.#step(bytes[at] as number);
        at += 1;
        continue;
      }
      const count = Math.min(this.#leftBytes, to - at);
      // The body is never longer than what carries it.
      if (body.length === 0) body = Buffer.allocUnsafe(to - at);
      bytes.copy(body, length, at, at + count);
      at += count;
      length += count;
      this.#leftBytes -= count;
      if (this.#leftBytes === 0) this.#place = "data-cr";
    }
    this.#taken = at - from;
    const told = length === body.length ? body : body.subarray(0, length);
    // Whoever keeps a few bytes keeps all the memory that they lie in, and counts the few alone.
    return 2 * length < body.length ? new Uint8Array(told) : told;
  }

  #step(byte: number): void {
    switch (this.#place) {
      case "size":
        this.#size(byte);
        break;
      case "size-lf":
        this.#expect(byte === LF, this.#leftBytes === 0 ? "trailer-start" : "data");
        break;
      case "data-cr":
        this.#expect(byte === CR, "data-lf");
        break;
      case "data-lf":
        this.#expect(byte === LF, "size");
        this.#digits = 0;
        break;
      case "trailer-start":
      case "trailer-name":
      case "trailer-value":
      case "trailer-lf":
      case "last-lf":
        this.#trailer(byte);
        break;
      default:
        this.#extension(byte);
    }
  }

  #size(byte: number): void {
    const digit = hexDigit(byte);
    if (digit >= 0) {
      this.#leftBytes = this.#leftBytes * 16 + digit;
      this.#digits += 1;
      if (this.#digits > SIZE_DIGITS_MAX) this.fault = "a chunk is too large";
    } else if (this.#digits === 0) this.fault = "a chunk has no size";
    else if (byte === SEMICOLON) {
      this.#place = "extension";
      this.#extensionBytes = 0;
    } else this.#expect(byte === CR, "size-lf");
  }

  /** Words with values or without, and quoted ones: nothing in which an end of line could hide. */
  #extension(byte: number): void {
    if (byte !== CR && this.#isTooMuch()) {
      this.fault = "too much beside the size of a chunk";
      return;
    }
    switch (this.#place) {
      case "extension":
        this.#expect(TOKEN[byte] === 1, "extension-name");
        break;
      case "extension-name":
        if (byte === EQUALS) this.#place = "extension-value";
        else this.#afterWord(byte);
        break;
      case "extension-value":
        if (byte === QUOTE) this.#place = "extension-quoted";
        else this.#expect(TOKEN[byte] === 1, "extension-word");
        break;
      case "extension-word":
        this.#afterWord(byte);
        break;
      case "extension-quoted":
        if (byte === QUOTE) this.#place = "extension-end";
        else if (byte === BACKSLASH) this.#place = "extension-escaped";
        else this.#expect(!isControl(byte), "extension-quoted");
        break;
      case "extension-escaped":
        this.#expect(!isControl(byte), "extension-quoted");
        break;
      default:
        this.#afterExtension(byte);
    }
  }

  #isTooMuch(): boolean {
    const { chunkExtensionBytesMax, chunkExtensionsBytesMax } = this.#limits;
    this.#extensionBytes += 1;
    this.#extensionsBytes += 1;
    return (
      this.#extensionBytes > chunkExtensionBytesMax ||
      (chunkExtensionsBytesMax !== undefined && this.#extensionsBytes > chunkExtensionsBytesMax)
    );
  }

  #afterWord(byte: number): void {
    if (TOKEN[byte] !== 1) this.#afterExtension(byte);
  }

  #afterExtension(byte: number): void {
    if (byte === SEMICOLON) this.#place = "extension";
    else this.#expect(byte === CR, "size-lf");
  }

  #trailer(byte: number): void {
    this.#trailerBytes += 1;
    if (this.#trailerBytes > this.#limits.trailerBytesMax) {
      this.fault = "too much behind the last chunk";
    } else if (this.#place === "trailer-start" && byte === CR) this.#place = "last-lf";
    else if (this.#place === "trailer-start" || this.#place === "trailer-name") {
      this.#nameOfTrailer(byte);
    } else if (this.#place === "trailer-value") {
      if (byte === CR) this.#place = "trailer-lf";
      else if (isControl(byte)) this.fault = "a control character behind the last chunk";
    } else {
      this.isWhole = this.#place === "last-lf" && byte === LF;
      this.#expect(byte === LF, "trailer-start");
    }
  }

  #nameOfTrailer(byte: number): void {
    if (this.#place === "trailer-start") this.#trailerName = "";
    if (this.#trailerName !== "" && byte === COLON) {
      this.#expect(!NO_TRAILERS.has(this.#trailerName.toLowerCase()), "trailer-value");
      return;
    }
    this.#trailerName += String.fromCharCode(byte);
    this.#expect(TOKEN[byte] === 1, "trailer-name");
  }

  #expect(isSo: boolean, next: Place): void {
    if (isSo) this.#place = next;
    else this.fault = "the chunks are malformed";
  }
}

const NO_BYTES: Uint8Array = new Uint8Array(0);

const TOKEN = new Uint8Array(256);
for (const word of "!#$%&'*+-.^_`|~0123456789") TOKEN[word.charCodeAt(0)] = 1;
for (let letter = 0; letter < 26; letter += 1) TOKEN[0x41 + letter] = TOKEN[0x61 + letter] = 1;

function hexDigit(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const letter = byte | 0x20;
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : -1;
}

function isControl(byte: number): boolean {
  return (byte < 0x20 && byte !== TAB) || byte === 0x7f;
}
