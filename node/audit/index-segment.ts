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

const MAGIC = Buffer.from("ALTRIDX1", "latin1");
const HEAD_BYTES = 40;
const KEY_BYTES = 6;
const KEY_SHIFT = 16n;
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
  readonly #rows: bigint[] = [];
  #leaves = 0;
  #span: Span = NO_SPAN;

  constructor(first: number) {
    this.first = first;
  }

  get leaves(): number {
    return this.#leaves;
  }

  /** The next leaf of the stretch, in any spelling: with its place or without. */
  add(leaf: Uint8Array): void {
    const bytes = Buffer.from(leaf.buffer, leaf.byteOffset, leaf.byteLength);
    const rid = idAfter(bytes, REQUEST);
    if (rid !== undefined) this.#add(rid);
    else if (bytes.includes(FLOOD)) {
      for (const member of FLOOD_ENDS) this.#add(idAfter(bytes, member) ?? "");
    }
    this.#leaves++;
  }

  encode(): Buffer {
    const { first } = this;
    const head = { first, leaves: this.#leaves, ...this.#span };
    return encode(head, BigUint64Array.from(this.#rows));
  }

  #add(requestId: string): void {
    const [key, ms] = [keyOf(requestId), timeOf(requestId)];
    if (Number.isNaN(key) || Number.isNaN(ms)) return;
    this.#rows.push((BigInt(key) << KEY_SHIFT) | BigInt(this.#leaves));
    this.#span = spanOf([this.#span, { fromMs: ms, toMs: ms }]);
  }
}

/** One segment of several that follow each other; `undefined` when one of them is damaged. */
export function mergeSegments(parts: readonly Buffer[]): Buffer | undefined {
  const heads = parts.map(headOf);
  const rows = new BigUint64Array(heads.reduce((sum, head) => sum + (head?.rows ?? 0), 0));
  let leaves = 0;
  let at = 0;
  for (const [i, part] of parts.entries()) {
    const head = heads[i];
    if (head === undefined || part.length !== HEAD_BYTES + head.rows * ROW_BYTES) return undefined;
    if (head.first !== (heads[0]?.first ?? 0) + leaves) return undefined;
    for (const row of rowsOf(part)) rows[at++] = row + BigInt(leaves);
    leaves += head.leaves;
  }
  const first = heads[0]?.first;
  if (first === undefined) return undefined;
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

function encode({ first, leaves, fromMs, toMs }: Head, rows: BigUint64Array): Buffer {
  const bytes = Buffer.alloc(HEAD_BYTES + rows.length * ROW_BYTES);
  MAGIC.copy(bytes);
  bytes.writeBigUInt64BE(BigInt(first), 8);
  bytes.writeUInt32BE(leaves, 16);
  bytes.writeUInt32BE(rows.length, 20);
  bytes.writeBigUInt64BE(BigInt(fromMs), 24);
  bytes.writeBigUInt64BE(BigInt(toMs), 32);
  let at = HEAD_BYTES;
  for (const row of rows.sort()) at = bytes.writeBigUInt64BE(row, at);
  return bytes;
}

function* rowsOf(part: Buffer): Generator<bigint> {
  for (let at = HEAD_BYTES; at < part.length; at += ROW_BYTES) yield part.readBigUInt64BE(at);
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

// In canonical JSON these characters can only be the members themselves.
const REQUEST = Buffer.from('"rid":"', "latin1");
const FLOOD = Buffer.from('"k":"flood"', "latin1");
const FLOOD_ENDS = ['"first":"', '"last":"'].map((text) => Buffer.from(text, "latin1"));
const ID_CHARS = 36;
/** Characters of a UUID after its last hyphen: 48 bits. */
const KEY_CHARS = 12;

function idAfter(bytes: Buffer, member: Buffer): string | undefined {
  const at = bytes.indexOf(member);
  if (at < 0) return undefined;
  const from = at + member.length;
  return bytes.toString("latin1", from, from + ID_CHARS);
}

function keyOf(requestId: string): number {
  return Number.parseInt(requestId.slice(-KEY_CHARS), 16);
}

/** The time in a UUIDv7, ms since the Unix epoch: 48 bits at its beginning. */
function timeOf(requestId: string): number {
  return Number.parseInt(requestId.slice(0, 8) + requestId.slice(9, 13), 16);
}
