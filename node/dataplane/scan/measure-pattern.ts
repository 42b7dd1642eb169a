import type { CodePointSet, PatternNode } from "./pattern-tree.ts";
import { encodedLength, utf8Sequences } from "./utf8-ranges.ts";

/** What is known of a pattern before an automaton is built for it. */
export type PatternMeasure = {
  /** Bytes of the shortest match. */
  readonly minBytes: number;
  /** Bytes of the longest match; `Infinity` when there is none. */
  readonly maxBytes: number;
  /** An upper bound of the steps of its graph. May be huge: nothing has been built. */
  readonly steps: number;
};

/** Bounds a pattern's matches and its automaton, in time linear in the pattern as written. */
export function measurePattern(tree: PatternNode): PatternMeasure {
  switch (tree.kind) {
    case "assertion":
      return { minBytes: 0, maxBytes: 0, steps: 1 };
    case "set":
      return measureSet(tree.set);
    case "sequence": {
      const parts = tree.parts.map(measurePattern);
      return {
        minBytes: sum(parts.map((part) => part.minBytes)),
        maxBytes: sum(parts.map((part) => part.maxBytes)),
        steps: 1 + sum(parts.map((part) => part.steps)),
      };
    }
    case "alternation": {
      const branches = tree.branches.map(measurePattern);
      return {
        minBytes: Math.min(...branches.map((branch) => branch.minBytes)),
        maxBytes: Math.max(...branches.map((branch) => branch.maxBytes)),
        steps: branches.length + sum(branches.map((branch) => branch.steps)),
      };
    }
    case "repeat": {
      const body = measurePattern(tree.body);
      const copies = tree.max === Number.POSITIVE_INFINITY ? Math.max(tree.min, 1) : tree.max;
      return {
        minBytes: body.minBytes * tree.min,
        // A body that is empty, or never repeated, stays so: 0 times infinity is 0 here.
        maxBytes: body.maxBytes === 0 || tree.max === 0 ? 0 : body.maxBytes * tree.max,
        steps: 1 + (1 + body.steps) * copies,
      };
    }
  }
}

/** The text that every match begins with, as far as the pattern spells it out. */
export function literalPrefix(tree: PatternNode): string {
  return prefixOf(tree).text;
}

/** `whole`: the pattern is this text and nothing else, so what follows it goes on. */
type Prefix = { readonly text: string; readonly whole: boolean };

function prefixOf(tree: PatternNode): Prefix {
  if (tree.kind === "set") {
    const [only, ...others] = tree.set;
    if (only === undefined || others.length > 0 || only[0] !== only[1]) {
      return { text: "", whole: false };
    }
    return { text: String.fromCodePoint(only[0]), whole: true };
  }
  // An assertion takes no bytes: it can only take matches away, never move the text after it.
  if (tree.kind === "assertion") return { text: "", whole: true };
  if (tree.kind === "repeat") {
    const body = prefixOf(tree.body);
    if (!body.whole) return tree.min > 0 ? body : { text: "", whole: false };
    return { text: body.text.repeat(tree.min), whole: tree.min === tree.max };
  }
  if (tree.kind === "alternation") return { text: "", whole: false };
  let text = "";
  for (const part of tree.parts) {
    const prefix = prefixOf(part);
    text += prefix.text;
    if (!prefix.whole) return { text, whole: false };
  }
  return { text, whole: true };
}

function measureSet(set: CodePointSet): PatternMeasure {
  const first = set[0];
  const last = set.at(-1);
  // An empty class matches nothing; its graph has a node that no byte passes.
  if (first === undefined || last === undefined) return { minBytes: 1, maxBytes: 1, steps: 1 };
  return {
    minBytes: encodedLength(first[0]),
    maxBytes: encodedLength(last[1]),
    steps: stepsOfSet(set),
  };
}

/** Encodings share the steps of their endings, and those with the same ending their first step. */
function stepsOfSet(set: CodePointSet): number {
  const endings = new Set<string>();
  const leads = new Set<string>();
  for (const sequence of utf8Sequences(set)) {
    leads.add(sequence.slice(1).join(">"));
    for (let from = 1; from < sequence.length; from++) endings.add(sequence.slice(from).join(">"));
  }
  // Each first step but one needs a join with the others.
  return endings.size + 2 * leads.size;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
