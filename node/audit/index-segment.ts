/**
 * A part of the index by request id: which leaves of one stretch of the log mention an id.
 *
 * I1. It is derived from the entries alone, so it can be deleted and made again.
 * I2. It is never believed: whoever looks something up reads the entry and sees whether it is that.
 *
 * The file is a head of 40 bytes (`ALTRIDX1`, u64 first leaf, u32 leaves, u32 rows, u64 each for the earliest
 * and the latest time in an id, ms) and rows of 8 bytes in rising order: the last 48 bits of the id, which are
 * random, and u16 the leaf's distance from the first. Integers are big endian.
 */

import assert from "node:assert/strict";
import { endianness } from "node:os";
import { type LeafScan, scanLeaf, standsAt } from "../../audit/scan-leaf.ts";

const MAGIC = Buffer.from("ALTRIDX1", "latin1");
const HEAD_BYTES = 40;
const KEY_BYTES = 6;
const KEYS = 2 ** 48;
const ROW_BYTES = 8;
/** Rows that are read at once when the search has come near enough. */
const ROWS_READ = 64;
/** Steps of a search at most: random keys need two or three, a damaged file any number. */
const STEPS_MAX = 48;

/** Leaves that one small segment covers. */
export const SMALL_SEGMENT_LEAVES = 4_096;
/** Leaves that one large segment covers, which takes the place of small ones. */
export const LARGE_SEGMENT_LEAVES = 65_536;

export type SegmentName = { readonly first: number; readonly leaves: number };

/** Path of a segment within the folder of its log. */
export function segmentPath({ first, leaves }: SegmentName): string {
  return `index/${leaves === LARGE_SEGMENT_LEAVES ? "large" : "small"}/${first / leaves}`;
}

/** Gathers the ids of a stretch of leaves. */
export class SegmentBuilder {
  readonly first: number;
  #rows = new Rows(SMALL_SEGMENT_LEAVES);
  #leaves = 0;
  #fromMs = NO_SPAN.fromMs;
  #toMs = NO_SPAN.toMs;

  constructor(first: number) {
    this.first = first;
  }

  get leaves(): number {
    return this.#leaves;
  }

  /**
   * One more leaf of the stretch, in any spelling: with its place or without.
   *
   * @param at Its distance from the first; left out, it follows those before it.
   */
  add(leaf: Uint8Array, scan: LeafScan = scanLeaf(leaf), at: number = this.#leaves): void {
    if (scan.ridAt >= 0) this.#add(leaf, scan.ridAt, at);
    else if (standsAt(leaf, scan.kindAt, FLOOD)) {
      const bytes = Buffer.from(leaf.buffer, leaf.byteOffset, leaf.byteLength);
      for (const member of FLOOD_ENDS) this.#add(leaf, bytes.indexOf(member) + member.length, at);
    }
    this.#leaves++;
  }

  encode(): Buffer {
    const [fromMs, toMs] = [this.#fromMs, this.#toMs];
    return encode({ first: this.first, leaves: this.#leaves, fromMs, toMs }, this.#rows);
  }

  /** The id whose first character is at `idAt`. Read from its bytes: every record has one. */
  #add(leaf: Uint8Array, idAt: number, at: number): void {
    const ms = hexAt(leaf, idAt, 8) * 2 ** 16 + hexAt(leaf, idAt + 9, 4);
    const key = idAt + ID_CHARS - KEY_CHARS;
    const [high, low] = [hexAt(leaf, key, 8), hexAt(leaf, key + 8, 4)];
    if (Number.isNaN(ms + high + low)) return;
    this.#rows.add(high, low, at);
    if (ms < this.#fromMs) this.#fromMs = ms;
    if (ms > this.#toMs) this.#toMs = ms;
  }
}

/**
 * Rows as 64-bit numbers, written by halves: numbers of that size would each be an object. The key's first
 * 32 bits are the high half, its last 16 and the leaf the low one.
 */
class Rows {
  #halves: Uint32Array<ArrayBuffer>;
  #count = 0;

  constructor(rowsExpected: number) {
    assert(endianness() === "LE", "the index is written on little-endian machines alone");
    this.#halves = new Uint32Array(2 * rowsExpected);
  }

  get count(): number {
    return this.#count;
  }

  add(high: number, low: number, leaf: number): void {
    if (2 * this.#count === this.#halves.length) {
      const grown = new Uint32Array(2 * this.#halves.length + 2);
      grown.set(this.#halves);
      this.#halves = grown;
    }
    this.#halves[2 * this.#count] = low * 2 ** 16 + leaf;
    this.#halves[2 * this.#count + 1] = high;
    this.#count++;
  }

  /** Rows of a file whose leaves are `shift` further on here. There is room for them. */
  addAll(fileRows: Uint8Array, shift: number): void {
    const at = this.#count * ROW_BYTES;
    const own = Buffer.from(this.#halves.buffer, at, fileRows.length);
    own.set(fileRows);
    own.swap64();
    this.#count += fileRows.length / ROW_BYTES;
    // The leaf is the low half's last 16 bits, and stays below 2^16.
    for (let low = at / 4; low < 2 * this.#count; low += 2) {
      this.#halves[low] = (this.#halves[low] as number) + shift;
    }
  }

  /** All of them in rising order, as the file has them. */
  writeTo(bytes: Buffer, at: number): void {
    const { buffer } = this.#halves;
    new BigUint64Array(buffer, 0, this.#count).sort();
    Buffer.from(buffer, 0, this.#count * ROW_BYTES).copy(bytes, at);
    bytes.subarray(at, at + this.#count * ROW_BYTES).swap64();
  }
}

/** One segment of several that follow each other; `undefined` when one of them is damaged. */
export function mergeSegments(parts: readonly Buffer[]): Buffer | undefined {
  const heads = parts.map(headOf);
  const rows = new Rows(heads.reduce((sum, head) => sum + (head?.rows ?? 0), 0));
  let leaves = 0;
  for (const [i, part] of parts.entries()) {
    const head = heads[i];
    if (head === undefined || part.length !== HEAD_BYTES + head.rows * ROW_BYTES) return undefined;
    if (head.first !== (heads[0]?.first ?? 0) + leaves) return undefined;
    rows.addAll(part.subarray(HEAD_BYTES), leaves);
    leaves += head.leaves;
  }
  const first = heads[0]?.first;
  if (first === undefined || leaves > LARGE_SEGMENT_LEAVES) return undefined;
  return encode({ first, leaves, ...spanOf(heads as Span[]) }, rows);
}

/** Reads a part of a segment's file. Returns the bytes read. */
export type SegmentRead = (into: Buffer, at: number) => number;

/**
 * Leaves of a segment that may mention the id; `undefined` when the file is none.
 *
 * @param requestId A UUID.
 */
export function lookUp(read: SegmentRead, requestId: string): readonly number[] | undefined {
  const headBytes = Buffer.alloc(HEAD_BYTES);
  const head = read(headBytes, 0) === HEAD_BYTES ? headOf(headBytes) : undefined;
  if (head === undefined) return undefined;
  const atMs = timeOf(requestId);
  if (atMs < head.fromMs || atMs > head.toMs) return [];
  const wanted = keyOf(requestId);
  const from = nearRow(read, head.rows, wanted);
  if (from === undefined) return undefined;
  const rows = Buffer.alloc(ROWS_READ * ROW_BYTES);
  const found: number[] = [];
  for (let row = from; row < head.rows; row += ROWS_READ) {
    const filled = read(rows, HEAD_BYTES + row * ROW_BYTES);
    for (let at = 0; at + ROW_BYTES <= filled; at += ROW_BYTES) {
      const key = rows.readUIntBE(at, KEY_BYTES);
      if (key > wanted) return found;
      if (key === wanted) found.push(head.first + rows.readUInt16BE(at + KEY_BYTES));
    }
    if (filled < rows.length) break;
  }
  return found;
}

/** A row before all of the wanted key and not far from them. Keys are random: its place is guessed. */
function nearRow(read: SegmentRead, rows: number, wanted: number): number | undefined {
  const probe = Buffer.alloc(ROW_BYTES);
  let [low, high, lowKey, highKey] = [0, rows, 0, KEYS];
  for (let step = 0; high - low > ROWS_READ; step++) {
    if (step === STEPS_MAX) return undefined;
    const share = highKey > lowKey ? (wanted - lowKey) / (highKey - lowKey) : 0.5;
    // A little beside the guess, so that it closes in from both sides; every fourth step halves, so that
    // no order of keys makes the search long.
    const beside = step % 2 === 0 ? -(ROWS_READ >> 1) : ROWS_READ >> 1;
    const guess =
      step % 4 === 3 ? (low + high) >> 1 : low + Math.floor(share * (high - low)) + beside;
    const row = Math.min(Math.max(guess, low), high - 1);
    if (read(probe, HEAD_BYTES + row * ROW_BYTES) !== ROW_BYTES) return undefined;
    const key = probe.readUIntBE(0, KEY_BYTES);
    if (key < wanted) [low, lowKey] = [row + 1, key];
    else [high, highKey] = [row, key];
  }
  return low;
}

type Span = { readonly fromMs: number; readonly toMs: number };
type Head = Span & { readonly first: number; readonly leaves: number };

const NO_SPAN: Span = { fromMs: KEYS - 1, toMs: 0 };

function spanOf(spans: readonly Span[]): Span {
  const fromMs = Math.min(...spans.map((span) => span.fromMs));
  return { fromMs, toMs: Math.max(...spans.map((span) => span.toMs)) };
}

function encode({ first, leaves, fromMs, toMs }: Head, rows: Rows): Buffer {
  const bytes = Buffer.alloc(HEAD_BYTES + rows.count * ROW_BYTES);
  MAGIC.copy(bytes);
  bytes.writeBigUInt64BE(BigInt(first), 8);
  bytes.writeUInt32BE(leaves, 16);
  bytes.writeUInt32BE(rows.count, 20);
  bytes.writeBigUInt64BE(BigInt(fromMs), 24);
  bytes.writeBigUInt64BE(BigInt(toMs), 32);
  rows.writeTo(bytes, HEAD_BYTES);
  return bytes;
}

function headOf(bytes: Buffer) {
  if (bytes.length < HEAD_BYTES || !bytes.subarray(0, 8).equals(MAGIC)) return undefined;
  return {
    first: Number(bytes.readBigUInt64BE(8)),
    leaves: bytes.readUInt32BE(16),
    rows: bytes.readUInt32BE(20),
    fromMs: Number(bytes.readBigUInt64BE(24)),
    toMs: Number(bytes.readBigUInt64BE(32)),
  };
}

const FLOOD = Buffer.from('flood"', "latin1");
// In canonical JSON these characters can only be the members themselves.
const FLOOD_ENDS = ['"first":"', '"last":"'].map((text) => Buffer.from(text, "latin1"));
const ID_CHARS = 36;
/** Characters of a UUID after its last hyphen: 48 bits. */
const KEY_CHARS = 12;

/** Values of lower-case hexadecimal digits by their bytes; what is none makes the whole NaN. */
const HEX = Float64Array.from({ length: 256 }, (_, byte) => {
  const digit = "0123456789abcdef".indexOf(String.fromCharCode(byte));
  return digit < 0 ? Number.NaN : digit;
});

function hexAt(bytes: Uint8Array, from: number, digits: number): number {
  let value = 0;
  for (let at = from; at < from + digits; at++)
    value = value * 16 + (HEX[bytes[at] ?? 0] as number);
  return value;
}

function keyOf(requestId: string): number {
  return Number.parseInt(requestId.slice(-KEY_CHARS), 16);
}

/** The time in a UUIDv7, ms since the Unix epoch: 48 bits at its beginning. */
function timeOf(requestId: string): number {
  return Number.parseInt(requestId.slice(0, 8) + requestId.slice(9, 13), 16);
}
