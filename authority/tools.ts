import type { Dimension } from "./dimension.ts";
import { coversName, isCovered, meetOfPatterns } from "./name-pattern.ts";
import { isSameList, isStrictlySorted } from "./strictly-sorted.ts";

/** What may be done with a tool, in the order of their spelling. */
export const VERBS = ["admin", "call", "exec", "read", "write"] as const;
export type Verb = (typeof VERBS)[number];

/** Verbs by the pattern of the tools they are granted for. None is bottom. */
export type Tools = ReadonlyMap<string, readonly Verb[]>;

type Pair = readonly [pattern: string, verb: Verb];

/** A set of (pattern, verb); each pair must lie in one pair of the other side. */
export const tools: Dimension<Tools> = {
  normal: (value) => (isNormal(value) ? value : normalPairs(pairsOf(value))),
  leq: (child, parent) => {
    const granted = pairsOf(parent);
    return pairsOf(child).every((pair) => granted.some((other) => lies(pair, other)));
  },
  meet: (one, other) => {
    // A delegation mostly leaves tools alone, and a set met with itself is itself.
    if (isSame(one, other)) return one;
    const right = pairsOf(other);
    return normalPairs(
      pairsOf(one).flatMap(([a, verb]) =>
        right.flatMap(([b, same]): Pair[] => {
          const both = verb === same ? meetOfPatterns(a, b) : undefined;
          return both === undefined ? [] : [[both, verb]];
        }),
      ),
    );
  },
};

/** True when the tool of that name may be used so. */
export function toolsGrant(granted: Tools, name: string, verb: Verb): boolean {
  for (const [pattern, verbs] of granted) {
    if (verbs.includes(verb) && coversName([pattern], name)) return true;
  }
  return false;
}

function pairsOf(value: Tools): readonly Pair[] {
  const pairs: Pair[] = [];
  for (const [pattern, verbs] of value) for (const verb of verbs) pairs.push([pattern, verb]);
  return pairs;
}

function lies([pattern, verb]: Pair, [wide, same]: Pair): boolean {
  return verb === same && isCovered(pattern, wide);
}

function normalPairs(pairs: readonly Pair[]): Tools {
  const verbsOf = new Map<string, Set<Verb>>();
  for (const [pattern, verb] of pairs) {
    const isInside = pairs.some((other) => other[0] !== pattern && lies([pattern, verb], other));
    if (isInside) continue;
    const verbs = verbsOf.get(pattern) ?? new Set<Verb>();
    verbsOf.set(pattern, verbs.add(verb));
  }
  const patterns = [...verbsOf.keys()].sort();
  return new Map(patterns.map((pattern) => [pattern, [...(verbsOf.get(pattern) ?? [])].sort()]));
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
