import type { Dimension } from "./dimension.ts";
import { coversName, isCovered, meetOfPatterns } from "./name-pattern.ts";

/** What may be done with a tool, in the order of their spelling. */
export const VERBS = ["admin", "call", "exec", "read", "write"] as const;
export type Verb = (typeof VERBS)[number];

/** Verbs by the pattern of the tools they are granted for. None is bottom. */
export type Tools = ReadonlyMap<string, readonly Verb[]>;

type Pair = readonly [pattern: string, verb: Verb];

/** A set of (pattern, verb); each pair must lie in one pair of the other side. */
export const tools: Dimension<Tools> = {
  normal: (value) => normalPairs(pairsOf(value)),
  leq: (child, parent) => {
    const granted = pairsOf(parent);
    return pairsOf(child).every((pair) => granted.some((other) => lies(pair, other)));
  },
  meet: (one, other) => {
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
