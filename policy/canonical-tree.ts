import { canonicalJson, JSON_DEPTH_MAX, type PlainJson } from "./canonical-json.ts";
import { type DocumentEntry, type DocumentNode, NO_PLACE, nodeOfJson } from "./document-node.ts";

// Reads canonical JSON from its bytes, a member at a time, for a thread that may not be away for long:
// the runtime's own parser takes 20 ns a byte, which for a policy of 100,000 agents is a fifth of a second.
//
// C1. Only the canonical spelling is taken. What lies within a piece is written again and compared;
//     between pieces there is nothing but the one byte that belongs there, and keys rise.
// C2. What a step costs is bounded by PIECE_BYTES_MAX, whatever the bytes say.

/** Levels that are read member by member; what lies deeper is one piece. */
const PIECEWISE_LEVELS = 4;
/** One piece: an agent's grant, a rule, a price. A grant of 64 of the longest of everything is below 64 KiB. */
const PIECE_BYTES_MAX = 512 * 1024;
/** Pieces of one map that are looked for again: agents of one team mostly have the same grant. */
const SHARED_MAX = 1024;

const COMMA = 0x2c;
const COLON = 0x3a;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_MAP = 0x7b;
const CLOSE_MAP = 0x7d;
const OPEN_LIST = 0x5b;
const CLOSE_LIST = 0x5d;

/** Bytes that are not canonical JSON, or have a piece that is too large. */
export class NotCanonical extends Error {
  constructor(message: string) {
    super(message);
    this.name = "NotCanonical";
  }
}

type Reader = { readonly bytes: Uint8Array; readonly utf8: TextDecoder; at: number };

/**
 * The tree of canonical JSON. Equal pieces of one map are one node, so that who reads them can tell
 * without looking into them.
 *
 * @throws NotCanonical
 */
export function* canonicalTree(bytes: Uint8Array): Generator<void, DocumentNode, void> {
  const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  const reader = { bytes, utf8, at: 0 };
  const tree = yield* readValue(reader, PIECEWISE_LEVELS, new Map());
  if (reader.at !== bytes.length) throw notCanonical(reader);
  return tree;
}

function* readValue(
  reader: Reader,
  levels: number,
  shared: Map<string, DocumentNode>,
): Generator<void, DocumentNode, void> {
  const first = reader.bytes[reader.at];
  if (levels > 0 && first === OPEN_MAP) return yield* readMembers(reader, levels);
  if (levels > 0 && first === OPEN_LIST) return yield* readItems(reader, levels);
  return readPiece(reader, shared);
}

function* readMembers(reader: Reader, levels: number): Generator<void, DocumentNode, void> {
  const entries: DocumentEntry[] = [];
  const shared = new Map<string, DocumentNode>();
  reader.at += 1;
  let before: string | undefined;
  while (!isEnd(reader, CLOSE_MAP, before === undefined)) {
    const key = readKey(reader);
    // Rising in the order of UTF-16 code units, and so none of them twice.
    if (before !== undefined && key <= before) throw notCanonical(reader);
    before = key;
    take(reader, COLON);
    const node = yield* readValue(reader, levels - 1, shared);
    entries.push({ key, keyPlace: NO_PLACE, value: () => node });
    yield;
  }
  return { kind: "map", place: NO_PLACE, entries };
}

function* readItems(reader: Reader, levels: number): Generator<void, DocumentNode, void> {
  const items: DocumentNode[] = [];
  const shared = new Map<string, DocumentNode>();
  reader.at += 1;
  while (!isEnd(reader, CLOSE_LIST, items.length === 0)) {
    items.push(yield* readValue(reader, levels - 1, shared));
    yield;
  }
  return { kind: "list", place: NO_PLACE, items };
}

/** Goes past the end of a map or list, or past the comma before its next member. */
function isEnd(reader: Reader, close: number, isFirst: boolean): boolean {
  if (reader.bytes[reader.at] === close) {
    reader.at += 1;
    return true;
  }
  if (!isFirst) take(reader, COMMA);
  return false;
}

function take(reader: Reader, byte: number): void {
  if (reader.bytes[reader.at] !== byte) throw notCanonical(reader);
  reader.at += 1;
}

function readKey(reader: Reader): string {
  if (reader.bytes[reader.at] !== QUOTE) throw notCanonical(reader);
  const text = textOf(reader, endOfText(reader.bytes, reader.at));
  return plainOf(text, reader) as string;
}

function readPiece(reader: Reader, shared: Map<string, DocumentNode>): DocumentNode {
  const text = textOf(reader, endOfPiece(reader));
  const known = shared.get(text);
  if (known !== undefined) return known;
  const node = nodeOfJson(plainOf(text, reader));
  if (shared.size < SHARED_MAX) shared.set(text, node);
  return node;
}

function textOf(reader: Reader, end: number): string {
  const piece = reader.bytes.subarray(reader.at, end);
  if (piece.length > PIECE_BYTES_MAX) {
    throw new NotCanonical(`a member is over ${PIECE_BYTES_MAX} bytes`);
  }
  reader.at = end;
  try {
    return reader.utf8.decode(piece);
  } catch (cause) {
    // Bytes from outside that are not UTF-8 (TypeError).
    throw new NotCanonical(`not JSON: ${(cause as Error).message}`);
  }
}

/** C1 within a piece. */
function plainOf(text: string, reader: Reader): PlainJson {
  let value: PlainJson;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new NotCanonical(`not JSON: ${(cause as Error).message}`);
  }
  if (canonicalJson(value) !== text) throw notCanonical(reader);
  return value;
}

/** Where a text that begins at `at` ends, behind its closing quote; C2: not looked for any further. */
function endOfText(bytes: Uint8Array, at: number): number {
  const until = Math.min(bytes.length, at + PIECE_BYTES_MAX + 1);
  let end = at + 1;
  while (end < until && bytes[end] !== QUOTE) end += bytes[end] === BACKSLASH ? 2 : 1;
  return Math.min(end + 1, bytes.length);
}

/** Where a value ends, as far as brackets and quotes tell; what it says is for the parser to find out. */
function endOfPiece({ bytes, at }: Reader): number {
  const until = Math.min(bytes.length, at + PIECE_BYTES_MAX + 1);
  let depth = 0;
  for (let end = at; end < until; end += 1) {
    const byte = bytes[end];
    if (byte === QUOTE) {
      end = endOfText(bytes, end) - 1;
    } else if (byte === OPEN_MAP || byte === OPEN_LIST) {
      depth += 1;
      if (depth > JSON_DEPTH_MAX) throw new NotCanonical("it nests deeper than any bundle");
    } else if (byte === CLOSE_MAP || byte === CLOSE_LIST) {
      if (depth === 0) return end;
      depth -= 1;
    } else if (byte === COMMA && depth === 0) {
      return end;
    }
  }
  return until;
}

function notCanonical({ at }: Reader): NotCanonical {
  return new NotCanonical(`the bundle is not canonical JSON at byte ${at}`);
}
