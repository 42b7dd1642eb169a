import type { CodePointSet } from "./pattern-tree.ts";

/** Inclusive. */
export type ByteRange = readonly [low: number, high: number];

/** One range per byte of an encoding: 1 to 4 of them. */
export type ByteSequence = readonly ByteRange[];

/** The largest code point of each encoded length. */
const LAST_OF_LENGTH = [0x7f, 0x7ff, 0xffff, 0x10ffff] as const;

/**
 * The UTF-8 encodings of a set of code points, as sequences of byte ranges.
 *
 * A code point range is cut until all its members have the same length and the low bytes run over
 * their whole span, so that "each byte within its range" accepts exactly the members. Overlong
 * forms and surrogates are never accepted.
 *
 * @see https://www.rfc-editor.org/rfc/rfc3629#section-3
 */
export function utf8Sequences(set: CodePointSet): readonly ByteSequence[] {
  const sequences: ByteSequence[] = [];
  for (const [low, high] of set) addRange(sequences, low, high);
  return sequences;
}

function addRange(sequences: ByteSequence[], low: number, high: number): void {
  for (const last of LAST_OF_LENGTH) {
    if (low <= last && high > last) {
      addRange(sequences, low, last);
      addRange(sequences, last + 1, high);
      return;
    }
  }
  const length = encodedLength(low);
  for (let trailing = 1; trailing < length; trailing++) {
    const mask = (1 << (6 * trailing)) - 1;
    if ((low & ~mask) === (high & ~mask)) continue;
    if ((low & mask) !== 0) {
      addRange(sequences, low, low | mask);
      addRange(sequences, (low | mask) + 1, high);
      return;
    }
    if ((high & mask) !== mask) {
      addRange(sequences, low, (high & ~mask) - 1);
      addRange(sequences, high & ~mask, high);
      return;
    }
  }
  const lowBytes = encode(low, length);
  const highBytes = encode(high, length);
  sequences.push(lowBytes.map((byte, index) => [byte, highBytes[index] as number] as const));
}

/** Bytes of a code point's encoding, 1 to 4. */
export function encodedLength(codePoint: number): number {
  return LAST_OF_LENGTH.findIndex((last) => codePoint <= last) + 1;
}

function encode(codePoint: number, length: number): number[] {
  if (length === 1) return [codePoint];
  const bytes: number[] = [];
  for (let trailing = length - 1; trailing > 0; trailing--) {
    bytes.push((codePoint >> (6 * trailing)) & (trailing === length - 1 ? 0x1f : 0x3f));
  }
  bytes.push(codePoint & 0x3f);
  const lead = [0, 0, 0xc0, 0xe0, 0xf0][length] as number;
  return bytes.map((bits, index) => (index === 0 ? lead | bits : 0x80 | bits));
}
