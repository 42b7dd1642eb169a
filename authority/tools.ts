import type { Dimension } from "./dimension.ts";
import { coversName, isCovered, meetOfPatterns } from "./name-pattern.ts";
import { isSameList, isStrictlySorted } from "./strictly-sorted.ts";

/** What may be done with a tool, in the order of their spelling. */
export const VERBS = ["admin", "call", "exec", "read", "write"] as const;
export type Verb = (typeof VERBS)[number];

/** Verbs by the pattern of the tools they are granted for. None is bottom. */
export type Tools = ReadonlyMap<string, readonly Verb[]>;

/** A set of (pattern, verb); each pair must lie in one pair of the other side. Compared pattern by pattern. */
export const tools: Dimension<Tools> = {
  normal: (value) => (isNormal(value) ? value : withoutInside(value)),
  leq: (child, parent) => {
    for (const [pattern, verbs] of child) if (!areGranted(parent, pattern, verbs)) return false;
    return true;
  },
  meet: (one, other) => {
    // A delegation mostly leaves tools alone, and a set met with itself is itself.
    if (isSame(one, other)) return one;
    const both = new Map<string, Verb[]>();
    for (const [a, verbs] of one) {
      for (const [b, others] of other) {
        const pattern = meetOfPatterns(a, b);
        if (pattern === undefined) continue;
        const common = verbs.filter((verb) => others.includes(verb));
        both.set(pattern, [...(both.get(pattern) ?? []), ...common]);
      }
    }
    return withoutInside(both);
  },
};

/** True when the tool of that name may be used so. */
export function toolsGrant(granted: Tools, name: string, verb: Verb): boolean {
  for (const [pattern, verbs] of granted) {
    if (verbs.includes(verb) && coversName([pattern], name)) return true;
  }
  return false;
}

function areGranted(parent: Tools, pattern: string, verbs: readonly Verb[]): boolean {
  let missing = verbs;
  for (const [wide, granted] of parent) {
    if (missing.length === 0) return true;
    if (isCovered(pattern, wide)) missing = missing.filter((verb) => !granted.includes(verb));
  }
  return missing.length === 0;
}

/** Nothing that lies in something else, nothing twice, in order. */
function withoutInside(value: Tools): Tools {
  const left = new Map<string, readonly Verb[]>();
  for (const pattern of [...value.keys()].sort()) {
    let verbs = [...new Set(value.get(pattern))].sort();
    for (const [wide, others] of value) {
      if (verbs.length === 0) break;
      const isInside = wide !== pattern && isCovered(pattern, wide);
      if (isInside) verbs = verbs.filter((verb) => !others.includes(verb));
    }
    if (verbs.length > 0) left.set(pattern, verbs);
  }
  return left;
}

/** What was signed is normal already, and to see that costs a fraction of making it so. */
function isNormal(value: Tools): boolean {
  if (!isStrictlySorted([...value.keys()])) return false;
  for (const [pattern, verbs] of value) {
    if (verbs.length === 0 || !isStrictlySorted(verbs)) return false;
    if (!pattern.endsWith("/*")) continue;
    for (const [other, others] of value) {
      const isInside = other !== pattern && isCovered(other, pattern);
      if (isInside && others.some((verb) => verbs.includes(verb))) return false;
    }
  }
  return true;
}

/** Both in normal form, so in the same order. */
function isSame(one: Tools, other: Tools): boolean {
  if (one.size !== other.size || !isSameList([...one.keys()], [...other.keys()])) return false;
  for (const [pattern, verbs] of one) {
    if (!isSameList(verbs, other.get(pattern) ?? [])) return false;
  }
  return true;
}
