import { ANY_CODE_POINT, NOT_NEWLINE, withBothCases } from "./code-point-set.ts";
import { parseClass, parseEscapedCharacter, takeNamedSet } from "./parse-class.ts";
import { PatternCursor, PatternRefused } from "./pattern-cursor.ts";
import type { AssertionKind, PatternError, PatternNode } from "./pattern-tree.ts";
import { SCAN_LIMITS } from "./scan-limits.ts";

export type ParsedPattern =
  | { readonly ok: true; readonly tree: PatternNode }
  | { readonly ok: false; readonly error: PatternError };

/**
 * Reads a pattern in a subset of RE2's syntax: literals, `.`, classes, `\d \s \w` and negations,
 * `\b \B ^ $ \A \z`, groups, alternation, repetition, and the flags `i`, `s` and `m`.
 *
 * What is accepted means what it means in RE2, except that `(?i)` folds ASCII letters among
 * themselves alone and other letters with their one counterpart. What RE2 reads and this does not
 * (Unicode and POSIX classes, octal, `\Q`) is refused, never read in another way. Laziness is read
 * and has no effect, since every end of a match is found.
 *
 * @see https://github.com/google/re2/wiki/Syntax
 */
export function parsePattern(pattern: string): ParsedPattern {
  const cursor = new PatternCursor(pattern);
  try {
    if (pattern.length > SCAN_LIMITS.patternCharsMax) {
      cursor.refuse("pattern_too_long", `longer than ${SCAN_LIMITS.patternCharsMax} characters`);
    }
    const flags: Flags = { foldCase: false, dotMatchesNewline: false, multiLine: false };
    const tree = parseAlternation(cursor, flags, 0);
    if (!cursor.atEnd()) cursor.refuse("malformed_pattern", "no group is open here");
    return { ok: true, tree };
  } catch (error) {
    if (error instanceof PatternRefused) return { ok: false, error: error.refusal };
    throw error;
  }
}

/** The flags at one place of the pattern. A group changes its own copy until it closes. */
type Flags = { foldCase: boolean; dotMatchesNewline: boolean; multiLine: boolean };

const FLAG_NAMES: Readonly<Record<string, keyof Flags>> = {
  i: "foldCase",
  s: "dotMatchesNewline",
  m: "multiLine",
};

const GROUP_NAME = /\?P?<[A-Za-z0-9_]+>/y;
const GROUP_FLAGS = /\?([a-zA-Z]*)(-[a-zA-Z]+)?([:)])/y;
const COUNTED = /\{([0-9]{1,9})(?:(,)([0-9]{1,9})?)?\}/y;

function parseAlternation(cursor: PatternCursor, flags: Flags, depth: number): PatternNode {
  if (depth > SCAN_LIMITS.nestingMax) {
    cursor.refuse("nesting_too_deep", `groups are nested deeper than ${SCAN_LIMITS.nestingMax}`);
  }
  const branches: PatternNode[] = [];
  do {
    branches.push(parseSequence(cursor, flags, depth));
  } while (cursor.take("|"));
  return branches.length === 1 ? (branches[0] as PatternNode) : { kind: "alternation", branches };
}

function parseSequence(cursor: PatternCursor, flags: Flags, depth: number): PatternNode {
  const parts: PatternNode[] = [];
  while (!cursor.atEnd() && !cursor.startsWith("|") && !cursor.startsWith(")")) {
    const atom = parseAtom(cursor, flags, depth);
    if (atom !== undefined) parts.push(parseRepetition(cursor, atom));
  }
  return parts.length === 1 ? (parts[0] as PatternNode) : { kind: "sequence", parts };
}

/** One unit that a repetition may follow; `undefined` after flags, which stand for nothing. */
function parseAtom(cursor: PatternCursor, flags: Flags, depth: number): PatternNode | undefined {
  if (cursor.startsWith("*") || cursor.startsWith("+") || cursor.startsWith("?")) {
    cursor.refuse("malformed_pattern", "there is nothing to repeat here");
  }
  if (cursor.take("(")) return parseGroup(cursor, flags, depth);
  if (cursor.take("[")) return { kind: "set", set: parseClass(cursor, flags) };
  if (cursor.take(".")) {
    return { kind: "set", set: flags.dotMatchesNewline ? ANY_CODE_POINT : NOT_NEWLINE };
  }
  const assertion = takeAssertion(cursor, flags);
  if (assertion !== undefined) return { kind: "assertion", assertion };
  const named = takeNamedSet(cursor);
  if (named !== undefined) return { kind: "set", set: named };
  if (cursor.takeMatch(COUNTED) !== undefined || cursor.startsWith("{,")) {
    cursor.refuse("malformed_pattern", "there is nothing to repeat here");
  }
  const codePoint = cursor.take("\\") ? parseEscapedCharacter(cursor) : cursor.next();
  const set = [[codePoint, codePoint]] as const;
  return { kind: "set", set: (flags.foldCase ? withBothCases(set) : undefined) ?? set };
}

function takeAssertion(cursor: PatternCursor, flags: Flags): AssertionKind | undefined {
  if (cursor.take("^")) return flags.multiLine ? "line_begin" : "text_begin";
  if (cursor.take("$")) return flags.multiLine ? "line_end" : "text_end";
  if (cursor.take("\\A")) return "text_begin";
  if (cursor.take("\\z")) return "text_end";
  if (cursor.take("\\b")) return "word_boundary";
  if (cursor.take("\\B")) return "no_word_boundary";
  return undefined;
}

function parseGroup(cursor: PatternCursor, outer: Flags, depth: number): PatternNode | undefined {
  const opened = cursor.position - 1;
  const flags = { ...outer };
  if (cursor.startsWith("?") && cursor.takeMatch(GROUP_NAME) === undefined) {
    if (/^\?(?:[=!]|<[=!])/.test(cursor.ahead(3))) {
      cursor.refuse("unsupported_syntax", "lookaround needs unbounded memory", opened);
    }
    const head = cursor.takeMatch(GROUP_FLAGS);
    if (head === undefined || head[0] === "?)") {
      cursor.refuse("unsupported_syntax", "unknown kind of group", opened);
    }
    const [, on, off, close] = head as unknown as [string, string, string | undefined, string];
    // Flags that close at once hold for the rest of the group they stand in.
    const target = close === ")" ? outer : flags;
    setFlags(cursor, target, on, true, opened);
    setFlags(cursor, target, off?.slice(1) ?? "", false, opened);
    if (close === ")") return undefined;
  }
  const tree = parseAlternation(cursor, flags, depth + 1);
  if (!cursor.take(")")) cursor.refuse("malformed_pattern", "the group is not closed", opened);
  return tree;
}

function setFlags(
  cursor: PatternCursor,
  flags: Flags,
  letters: string,
  value: boolean,
  opened: number,
): void {
  for (const letter of letters) {
    const name = FLAG_NAMES[letter];
    if (name === undefined) {
      cursor.refuse("unsupported_syntax", `unknown flag ${letter}`, opened);
    } else {
      flags[name] = value;
    }
  }
}

function parseRepetition(cursor: PatternCursor, body: PatternNode): PatternNode {
  const bounds = takeBounds(cursor);
  if (bounds === undefined) return body;
  cursor.take("?");
  const again = cursor.position;
  if (takeBounds(cursor) !== undefined) {
    cursor.refuse("malformed_pattern", "a repetition of a repetition needs a group", again);
  }
  return { kind: "repeat", body, ...bounds };
}

function takeBounds(cursor: PatternCursor): { min: number; max: number } | undefined {
  if (cursor.take("*")) return { min: 0, max: Number.POSITIVE_INFINITY };
  if (cursor.take("+")) return { min: 1, max: Number.POSITIVE_INFINITY };
  if (cursor.take("?")) return { min: 0, max: 1 };
  const start = cursor.position;
  const counted = cursor.takeMatch(COUNTED);
  if (counted === undefined) {
    // RE2 reads `{,5}` as five characters, other engines as a count: in doubt, neither.
    if (cursor.startsWith("{,")) cursor.refuse("unsupported_syntax", "{,n} has two readings");
    return undefined;
  }
  const min = Number(counted[1]);
  const open = counted[2] !== undefined && counted[3] === undefined;
  const max = open ? Number.POSITIVE_INFINITY : Number(counted[3] ?? counted[1]);
  if (max < min) cursor.refuse("malformed_pattern", "the largest count is the smaller", start);
  if (min > SCAN_LIMITS.repeatMax || (!open && max > SCAN_LIMITS.repeatMax)) {
    cursor.refuse("repeat_too_large", `counts go to ${SCAN_LIMITS.repeatMax}`, start);
  }
  return { min, max };
}
