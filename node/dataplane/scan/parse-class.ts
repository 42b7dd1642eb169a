import {
  codePointSet,
  complement,
  DIGITS,
  SPACES,
  WORD_CHARACTERS,
  withBothCases,
} from "./code-point-set.ts";
import type { PatternCursor } from "./pattern-cursor.ts";
import type { CodePointSet } from "./pattern-tree.ts";

const CONTROL_ESCAPES: Readonly<Record<string, number>> = {
  a: 0x07,
  t: 0x09,
  n: 0x0a,
  v: 0x0b,
  f: 0x0c,
  r: 0x0d,
};

const NAMED_SETS: Readonly<Record<string, CodePointSet>> = {
  d: DIGITS,
  D: complement(DIGITS),
  s: SPACES,
  S: complement(SPACES),
  w: WORD_CHARACTERS,
  W: complement(WORD_CHARACTERS),
};

const SHORT_HEX = /([0-9A-Fa-f]{2})/y;
const LONG_HEX = /\{([0-9A-Fa-f]{1,6})\}/y;

/** Reads `[...]`, the cursor being behind the `[`. */
export function parseClass(
  cursor: PatternCursor,
  { foldCase }: { readonly foldCase: boolean },
): CodePointSet {
  const opened = cursor.position - 1;
  const negated = cursor.take("^");
  const ranges: (readonly [number, number])[] = [];
  // Sets with a name are the same in both cases: only what is spelt out is folded.
  const named: (readonly [number, number])[] = [];
  for (let first = true; first || !cursor.startsWith("]"); first = false) {
    if (cursor.atEnd()) cursor.refuse("malformed_pattern", "the class is not closed", opened);
    if (cursor.startsWith("[:")) {
      cursor.refuse("unsupported_syntax", "POSIX classes are not supported");
    }
    const set = takeNamedSet(cursor);
    if (set !== undefined) named.push(...set);
    else ranges.push(parseRange(cursor));
  }
  cursor.take("]");
  const spelt = codePointSet(ranges);
  const folded = foldCase ? withBothCases(spelt) : spelt;
  if (folded === undefined) {
    return cursor.refuse("unsupported_syntax", "too wide a class to ignore case in", opened);
  }
  const set = codePointSet([...folded, ...named]);
  return negated ? complement(set) : set;
}

function parseRange(cursor: PatternCursor): readonly [number, number] {
  const start = cursor.position;
  const low = parseMember(cursor);
  // A hyphen that ends the class, or follows a range, stands for itself.
  if (!cursor.startsWith("-") || cursor.startsWith("-]")) return [low, low];
  cursor.take("-");
  const high = parseMember(cursor);
  if (high < low) cursor.refuse("malformed_pattern", "the range runs backwards", start);
  return [low, high];
}

function parseMember(cursor: PatternCursor): number {
  return cursor.take("\\") ? parseEscapedCharacter(cursor) : cursor.next();
}

/** Steps over `\d`, `\w`, `\s` or their negations, if one is next. */
export function takeNamedSet(cursor: PatternCursor): CodePointSet | undefined {
  if (!cursor.startsWith("\\")) return undefined;
  for (const [letter, set] of Object.entries(NAMED_SETS)) {
    if (cursor.take(`\\${letter}`)) return set;
  }
  return undefined;
}

/** Reads the one character that an escape stands for, the cursor being behind the backslash. */
export function parseEscapedCharacter(cursor: PatternCursor): number {
  const at = cursor.position - 1;
  if (cursor.atEnd()) cursor.refuse("malformed_pattern", "nothing follows the backslash", at);
  const character = cursor.peek();
  const control = CONTROL_ESCAPES[character];
  if (control !== undefined) {
    cursor.take(character);
    return control;
  }
  if (cursor.take("x")) {
    const digits = cursor.takeMatch(SHORT_HEX) ?? cursor.takeMatch(LONG_HEX);
    if (digits === undefined) cursor.refuse("malformed_pattern", "\\x wants hex digits", at);
    const codePoint = Number.parseInt((digits as RegExpExecArray)[1] as string, 16);
    if (codePoint > 0x10ffff || (codePoint >= 0xd800 && codePoint <= 0xdfff)) {
      cursor.refuse("malformed_pattern", "not a code point that UTF-8 can carry", at);
    }
    return codePoint;
  }
  if (/^[0-9]$/.test(character)) {
    cursor.refuse("unsupported_syntax", "backreferences and octal escapes are not supported", at);
  }
  if (!/^[!-/:-@[-`{-~ ]$/.test(character)) {
    cursor.refuse("unsupported_syntax", `unknown escape \\${character}`, at);
  }
  return cursor.next();
}
