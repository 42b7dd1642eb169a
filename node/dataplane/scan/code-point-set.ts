import type { CodePointSet } from "./pattern-tree.ts";

const CODE_POINT_MAX = 0x10ffff;
const SURROGATE_FIRST = 0xd800;
const SURROGATE_LAST = 0xdfff;

/** Code points beyond ASCII of which one set's other cases are looked up: each costs time. */
const FOLDED_MAX = 1024;

type Range = readonly [low: number, high: number];

/** Any code point that UTF-8 can carry. */
export const ANY_CODE_POINT: CodePointSet = [
  [0, SURROGATE_FIRST - 1],
  [SURROGATE_LAST + 1, CODE_POINT_MAX],
];

export const DIGITS: CodePointSet = [[0x30, 0x39]];

/** `[\t\n\f\r ]`: RE2's `\s` has no vertical tab. */
export const SPACES: CodePointSet = [
  [0x09, 0x0a],
  [0x0c, 0x0d],
  [0x20, 0x20],
];

export const WORD_CHARACTERS: CodePointSet = [
  [0x30, 0x39],
  [0x41, 0x5a],
  [0x5f, 0x5f],
  [0x61, 0x7a],
];

export const NOT_NEWLINE: CodePointSet = complement([[0x0a, 0x0a]]);

/** Sorts, joins and strips surrogates: what makes a list of ranges a set. */
export function codePointSet(ranges: readonly Range[]): CodePointSet {
  const cut: Range[] = [];
  for (const [low, high] of ranges) {
    if (low < SURROGATE_FIRST) cut.push([low, Math.min(high, SURROGATE_FIRST - 1)]);
    if (high > SURROGATE_LAST) cut.push([Math.max(low, SURROGATE_LAST + 1), high]);
  }
  cut.sort((a, b) => a[0] - b[0]);
  const joined: [number, number][] = [];
  for (const [low, high] of cut) {
    const last = joined.at(-1);
    if (last !== undefined && low <= last[1] + 1) last[1] = Math.max(last[1], high);
    else joined.push([low, high]);
  }
  return joined;
}

/** Every code point that is not in the set. */
export function complement(set: CodePointSet): CodePointSet {
  const gaps: Range[] = [];
  let next = 0;
  for (const [low, high] of set) {
    if (low > next) gaps.push([next, low - 1]);
    next = high + 1;
  }
  if (next <= CODE_POINT_MAX) gaps.push([next, CODE_POINT_MAX]);
  return codePointSet(gaps);
}

/**
 * Adds the other case of each letter, for `(?i)`; `undefined` for a set too wide for that.
 *
 * ASCII letters fold among themselves alone (no Kelvin sign for `k`), other letters with the single
 * code point that is their other case.
 */
export function withBothCases(set: CodePointSet): CodePointSet | undefined {
  const ranges: Range[] = [...set];
  let folded = 0;
  for (const [low, high] of set) {
    addShifted(ranges, [Math.max(low, 0x41), Math.min(high, 0x5a)], 0x20);
    addShifted(ranges, [Math.max(low, 0x61), Math.min(high, 0x7a)], -0x20);
    folded += Math.max(0, high - Math.max(low, 0x80) + 1);
    if (folded > FOLDED_MAX) return undefined;
    for (let codePoint = Math.max(low, 0x80); codePoint <= high; codePoint++) {
      addOtherCases(ranges, String.fromCodePoint(codePoint));
    }
  }
  return codePointSet(ranges);
}

function addOtherCases(ranges: Range[], letter: string): void {
  for (const other of [letter.toLowerCase(), letter.toUpperCase()]) {
    const codePoint = other.codePointAt(0) as number;
    // Some letters have a counterpart of several code points, or one in ASCII: not theirs alone.
    const single = other === String.fromCodePoint(codePoint);
    if (single && codePoint >= 0x80) ranges.push([codePoint, codePoint]);
  }
}

function addShifted(ranges: Range[], [low, high]: Range, by: number): void {
  if (low <= high) ranges.push([low + by, high + by]);
}
