import type { CodePointSet, PatternNode } from "./pattern-tree.ts";
import {
  assertionNode,
  BYTE_NODE,
  MATCH_NODE,
  type RuleGraph,
  type RuleNode,
} from "./position-automaton.ts";
import { type ByteRange, type ByteSequence, utf8Sequences } from "./utf8-ranges.ts";

/**
 * Builds one rule's graph: Thompson's construction over bytes, then without its empty steps.
 *
 * The caller has bounded the steps by measuring the pattern. `undefined`: more than `edgesMax`
 * edges, or more than that many empty steps on the way to them.
 */
export function ruleGraph(
  tree: PatternNode,
  { edgesMax }: { edgesMax: number },
): RuleGraph | undefined {
  const graph: Graph = { steps: [], leads: new Map() };
  const match = push(graph, { kind: MATCH_NODE, next: NOWHERE });
  const start = emit(graph, tree, match);
  return withoutSplits(graph.steps, start, edgesMax);
}

/** A kind of step that waits for nothing: both ways are followed at once. */
const SPLIT = 255;
const NOWHERE = -1;
const NO_BYTES: readonly ByteRange[] = [];

type Step = {
  readonly kind: number;
  readonly passes: readonly ByteRange[];
  readonly next: number;
  other: number;
};

type Graph = { readonly steps: Step[]; readonly leads: Map<CodePointSet, readonly Lead[]> };

/** Writes the steps of `tree` that go on at step `next`; gives the step to begin at. */
function emit(graph: Graph, tree: PatternNode, next: number): number {
  switch (tree.kind) {
    case "set":
      return emitSet(graph, tree.set, next);
    case "assertion":
      return push(graph, { kind: assertionNode(tree.assertion), next });
    case "sequence":
      return tree.parts.reduceRight((after, part) => emit(graph, part, after), next);
    case "alternation":
      return either(
        graph,
        tree.branches.map((branch) => emit(graph, branch, next)),
      );
    case "repeat":
      return emitRepeat(graph, tree, next);
  }
}

function emitRepeat(graph: Graph, tree: PatternNode & { kind: "repeat" }, next: number): number {
  let entry = next;
  let mandatory = tree.min;
  if (tree.max === Number.POSITIVE_INFINITY) {
    const loop = push(graph, { kind: SPLIT, next });
    const body = emit(graph, tree.body, loop);
    (graph.steps[loop] as Step).other = body;
    // The body of the loop is the last of the mandatory copies when there are any.
    entry = tree.min > 0 ? body : loop;
    mandatory = Math.max(0, tree.min - 1);
  } else {
    // Nested, (x(x)?)?, so that a copy has one way out and not one to each later copy.
    for (let copy = tree.min; copy < tree.max; copy++) {
      entry = either(graph, [emit(graph, tree.body, entry), next]);
    }
  }
  for (let copy = 0; copy < mandatory; copy++) entry = emit(graph, tree.body, entry);
  return entry;
}

/** First bytes that lead to one ending, and that ending: the bytes behind the first. */
type Lead = { readonly passes: ByteRange[]; readonly ending: ByteSequence };

function emitSet(graph: Graph, set: CodePointSet, next: number): number {
  const tails = new Map<string, number>();
  const leads = leadsOf(graph, set);
  if (leads.length === 0) return push(graph, { kind: BYTE_NODE, next });
  return either(
    graph,
    leads.map(({ passes, ending }) =>
      push(graph, { kind: BYTE_NODE, passes, next: emitEnding(graph, ending, next, tails) }),
    ),
  );
}

/** Encodings that end alike share their last steps. */
function emitEnding(
  graph: Graph,
  ending: ByteSequence,
  next: number,
  tails: Map<string, number>,
): number {
  return ending.reduceRight((after, range) => {
    const key = `${range}>${after}`;
    const known = tails.get(key) ?? push(graph, { kind: BYTE_NODE, passes: [range], next: after });
    tails.set(key, known);
    return known;
  }, next);
}

/** A repeated set is written out many times; it is encoded once, and its copies share the lists. */
function leadsOf(graph: Graph, set: CodePointSet): readonly Lead[] {
  const known = graph.leads.get(set);
  if (known !== undefined) return known;
  const byEnding = new Map<string, Lead>();
  for (const [first, ...ending] of utf8Sequences(set)) {
    const key = ending.join(">");
    const lead = byEnding.get(key) ?? { passes: [], ending };
    lead.passes.push(first as ByteRange);
    byEnding.set(key, lead);
  }
  const leads = [...byEnding.values()];
  graph.leads.set(set, leads);
  return leads;
}

function either(graph: Graph, entries: readonly number[]): number {
  return entries.reduceRight((rest, entry) =>
    push(graph, { kind: SPLIT, next: entry, other: rest }),
  );
}

function push(graph: Graph, step: Partial<Step> & Pick<Step, "kind" | "next">): number {
  graph.steps.push({ passes: NO_BYTES, other: NOWHERE, ...step });
  return graph.steps.length - 1;
}

function withoutSplits(
  steps: readonly Step[],
  start: number,
  edgesMax: number,
): RuleGraph | undefined {
  const nodeOfStep = new Map<number, number>();
  for (const [index, step] of steps.entries()) {
    if (step.kind !== SPLIT) nodeOfStep.set(index, nodeOfStep.size);
  }
  const seenFrom = new Int32Array(steps.length).fill(NOWHERE);
  const known = new Map<number, readonly number[]>();
  let work = 0;
  const reachedFrom = (from: number): readonly number[] => {
    const earlier = known.get(from);
    if (earlier !== undefined) return earlier;
    const nodes: number[] = [];
    const open = [from];
    while (open.length > 0 && work <= edgesMax) {
      const index = open.pop() as number;
      if (seenFrom[index] === from) continue;
      seenFrom[index] = from;
      work += 1;
      const step = steps[index] as Step;
      if (step.kind === SPLIT) open.push(step.other, step.next);
      else nodes.push(nodeOfStep.get(index) as number);
    }
    known.set(from, nodes);
    return nodes;
  };
  const nodes: RuleNode[] = [];
  let edges = 0;
  for (const step of steps) {
    if (step.kind === SPLIT) continue;
    const follow = step.next === NOWHERE ? [] : reachedFrom(step.next);
    edges += follow.length;
    if (edges > edgesMax || work > edgesMax) return undefined;
    nodes.push({ kind: step.kind, passes: step.passes, follow });
  }
  return { nodes, starts: reachedFrom(start) };
}
