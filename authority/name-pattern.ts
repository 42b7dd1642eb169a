import { isStrictlySorted } from "./strictly-sorted.ts";

/**
 * Names of models and tools as contracts spell them, and the patterns that grant them.
 *
 * A pattern is a literal, or `X/*`, which covers every name and pattern that starts with `X/`, at
 * any depth, and not `X` itself. There are no other wildcards, so "is covered by" is decided
 * exactly and the meet of two patterns is a pattern. Letters are lower case and ASCII: nothing is
 * folded or normalised, and what is spelt otherwise is covered by nothing.
 */

/** Bytes of a name or pattern at most. */
export const PATTERN_BYTES_MAX = 128;

const PATTERN = /^[a-z0-9][a-z0-9._-]*(?:\/[a-z0-9][a-z0-9._:@-]*)*(?:\/\*)?$/;

/** A literal name, or `X/*` with `X` a name. */
export function isNamePattern(text: string): boolean {
  return text.length <= PATTERN_BYTES_MAX && PATTERN.test(text);
}

/** True when everything that `narrow` covers is covered by `wide`. Both are patterns. */
export function isCovered(narrow: string, wide: string): boolean {
  return narrow === wide || (wide.endsWith("/*") && narrow.startsWith(wide.slice(0, -1)));
}

/** The name is spelt as contracts spell names, and one of `patterns` covers it. */
export function coversName(patterns: readonly string[], name: string): boolean {
  if (name.endsWith("*") || !isNamePattern(name)) return false;
  for (const pattern of patterns) if (isCovered(name, pattern)) return true;
  return false;
}

/** What both cover: the narrower of two comparable patterns, else nothing. */
export function meetOfPatterns(one: string, other: string): string | undefined {
  if (isCovered(one, other)) return one;
  return isCovered(other, one) ? other : undefined;
}

/** The same set of names in its one spelling: no pattern twice or inside another one, in order. */
export function normalPatterns(patterns: readonly string[]): readonly string[] {
  // What was signed is normal already, and to see that costs a fraction of making it so.
  if (isStrictlySorted(patterns) && !hasCovered(patterns)) return patterns;
  const distinct = [...new Set(patterns)].sort();
  return distinct.filter((one) =>
    distinct.every((other) => other === one || !isCovered(one, other)),
  );
}

function hasCovered(patterns: readonly string[]): boolean {
  for (const wide of patterns) {
    if (!wide.endsWith("/*")) continue;
    for (const one of patterns) if (one !== wide && isCovered(one, wide)) return true;
  }
  return false;
}
