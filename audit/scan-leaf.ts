import { LEAF_BYTES_MAX } from "./leaf.ts";

const [QUOTE, BACKSLASH, COMMA] = [0x22, 0x5c, 0x2c];
const [OPEN_BRACE, CLOSE_BRACE, OPEN_BRACKET, CLOSE_BRACKET] = [0x7b, 0x7d, 0x5b, 0x5d];

/** Where things stand in the bytes of a leaf; -1: it has none, or it is no leaf. */
export type LeafScan = {
  /** Where the member `ep`, and where `seq`, would begin. */
  readonly epAt: number;
  readonly seqAt: number;
  /** It has one of the two already. */
  readonly isPlaced: boolean;
  /** First character of what `k` says, and of what `rid` says. */
  readonly kindAt: number;
  readonly ridAt: number;
  /** Time of the record, ms since the Unix epoch. */
  readonly t: number;
};

/**
 * Finds in one pass over a leaf what the log needs of it, without decoding it: a log that takes tens of
 * thousands of records a second spends most of its time on that otherwise.
 *
 * Believed only of bytes that a checksum has kept. What is no leaf gives nothing, or nonsense.
 */
export function scanLeaf(leaf: Uint8Array): LeafScan {
  let [epAt, seqAt, kindAt, ridAt, t, isPlaced] = [-1, -1, -1, -1, -1, false];
  const length = leaf.length <= LEAF_BYTES_MAX ? leaf.length : 0;
  if (length > 0) TEXT.set(leaf);
  // Two of them, because a backslash before the end skips one.
  TEXT[length] = QUOTE;
  TEXT[length + 1] = QUOTE;
  let at = TEXT[0] === OPEN_BRACE ? 1 : length;
  // Members stand in the order of their names, and the time is behind all that is looked for.
  while (at < length && t < 0) {
    const [first, second] = [TEXT[at + 1] as number, TEXT[at + 2] as number];
    if (epAt < 0 && first >= E) {
      const order = orderOf(TEXT, at + 1, EP);
      if (order === 0) isPlaced = true;
      else if (order > 0) epAt = at;
    }
    if (seqAt < 0 && first >= S) {
      const order = orderOf(TEXT, at + 1, SEQ);
      if (order === 0) isPlaced = true;
      else if (order > 0) seqAt = at;
    }
    if (second === QUOTE && first === K) kindAt = at + KIND.length;
    else if (second === QUOTE && first === T) t = numberAt(at + TIME.length, length);
    else if (first === R && orderOf(TEXT, at + 1, RID) === 0) ridAt = at + 2 + RID.length + 1;
    if (t < 0) at = memberEnd(at, length) + 1;
  }
  return { epAt, seqAt, isPlaced, kindAt, ridAt, t };
}

/** Whether these bytes stand at a place. */
export function standsAt(leaf: Uint8Array, at: number, word: Uint8Array): boolean {
  return at >= 0 && orderOf(leaf, at, word) === 0;
}

/**
 * The leaf is copied here first: bytes at a place that never moves are read in half the time, and a quote
 * behind them ends what has no end.
 */
const TEXT = new Uint8Array(LEAF_BYTES_MAX + 8);

const [E, K, R, S, T] = [0x65, 0x6b, 0x72, 0x73, 0x74];
const EP = Buffer.from('ep"', "latin1");
const SEQ = Buffer.from('seq"', "latin1");
const RID = Buffer.from('rid"', "latin1");
const KIND = '"k":"';
const TIME = '"t":';

/** Below 0: what begins at `at` sorts before. The closing quote sorts before all letters. */
function orderOf(leaf: Uint8Array, at: number, key: Uint8Array): number {
  for (let i = 0; i < key.length; i++) {
    const order = (leaf[at + i] ?? 0) - (key[i] as number);
    if (order !== 0) return order;
  }
  return 0;
}

function numberAt(from: number, length: number): number {
  let value = -1;
  for (let at = from; at < length; at++) {
    const digit = (TEXT[at] as number) - 0x30;
    if (digit < 0 || digit > 9) break;
    value = Math.max(value, 0) * 10 + digit;
  }
  return Number.isSafeInteger(value) ? value : -1;
}

/** Where the comma or brace behind a member is. */
function memberEnd(from: number, length: number): number {
  let depth = 0;
  for (let at = stringEnd(from) + 2; at < length; at++) {
    const byte = TEXT[at];
    if (byte === QUOTE) at = stringEnd(at);
    else if (byte === COMMA && depth === 0) return at;
    else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) depth++;
    else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) {
      if (depth === 0) return at;
      depth--;
    }
  }
  return length;
}

/** Where the quote that closes the one at `from` is. */
function stringEnd(from: number): number {
  let at = from + 1;
  for (let byte = TEXT[at]; byte !== QUOTE; byte = TEXT[at]) at += byte === BACKSLASH ? 2 : 1;
  return at;
}
