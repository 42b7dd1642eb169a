/**
 * Names and the patterns that grant them: models (`provider/model`) and tools.
 *
 * A pattern is a literal, or `X/*`, which covers every name that starts with `X/`, at any depth,
 * and not `X` itself. There are no other wildcards, so that "is covered by" is decided exactly.
 */

/** Bytes of a name or pattern at most. */
export const NAME_BYTES_MAX = 128;

// A segment starts with a letter, digit or underscore, so `.`, `..` and the empty one are none.
// Case is kept, because tools are named by programmers; nothing here folds or normalises it.
const SEGMENT = "[A-Za-z0-9_][A-Za-z0-9._:@-]*";
const NAME = new RegExp(`^${SEGMENT}(?:/${SEGMENT})*$`);
const PATTERN = new RegExp(`^${SEGMENT}(?:/${SEGMENT})*(?:/\\*)?$`);

/** A name that a pattern can cover. What is not one is covered by nothing. */
export function isPlainName(text: string): boolean {
  return text.length <= NAME_BYTES_MAX && NAME.test(text);
}

/** A literal name, or `X/*` with `X` a name. */
export function isPattern(text: string): boolean {
  return text.length <= NAME_BYTES_MAX && PATTERN.test(text);
}

/** True when one of `patterns` covers `name`. */
export function covers(patterns: Iterable<string>, name: string): boolean {
  if (!isPlainName(name)) return false;
  for (const pattern of patterns) {
    if (pattern === name || (pattern.endsWith("/*") && startsInside(pattern, name))) return true;
  }
  return false;
}

/** True when everything that `narrow` covers is covered by `wide`. Both are patterns. */
export function isNarrower(narrow: string, wide: string): boolean {
  return narrow === wide || (wide.endsWith("/*") && startsInside(wide, narrow));
}

/** True when `name` starts with the pattern less its star. It goes on: no name ends in `/`. */
function startsInside(pattern: string, name: string): boolean {
  return name.startsWith(pattern.slice(0, -1));
}
