import type { AssertionKind } from "./pattern-tree.ts";
import type { ByteRange } from "./utf8-ranges.ts";

/**
 * All rules of a set as one graph whose nodes wait for something: a byte of a set, a condition
 * between two bytes, or nothing more (the rule has matched). Steps that wait for nothing have been
 * followed beforehand.
 *
 * To be *at* a node means: all before it has been read. The nodes of two rules are never shared.
 */
export type PositionAutomaton = {
  readonly nodeCount: number;
  /** BYTE_NODE, MATCH_NODE, or the number of an assertion. */
  readonly kindOf: Uint8Array;
  readonly ruleOf: Uint16Array;
  /** The nodes after node n are in `followList` from `followFrom[n]` to before the next's. */
  readonly followFrom: Int32Array;
  readonly followList: Int32Array;
  /** Where the rules begin. They begin at every byte, so these are never kept in a state. */
  readonly startNodes: readonly number[];
  readonly isStart: Uint8Array;
  /** The node at which rule r has matched. */
  readonly matchNodes: readonly number[];
  /** Bytes that no rule tells apart are one symbol. */
  readonly symbolOf: Uint8Array;
  /** The symbol for "the text begins or ends here". One more than the largest symbol of a byte. */
  readonly edgeSymbol: number;
  /** 1 where node n (row) passes symbol s (column): `passes[setOf[n] * edgeSymbol + s]`. */
  readonly passes: Uint8Array;
  readonly setOf: Int32Array;
  /** What assertions need to know of a neighbour that is this symbol. Bits as CONTEXT. */
  readonly contextOf: Uint8Array;
};

export const BYTE_NODE = 0;
export const MATCH_NODE = 1;
const FIRST_ASSERTION = 2;

const ASSERTIONS: readonly AssertionKind[] = [
  "text_begin",
  "text_end",
  "line_begin",
  "line_end",
  "word_boundary",
  "no_word_boundary",
];

/** What is known of the byte on one side of a position. */
export const CONTEXT = { word: 1, newline: 2, edge: 4, unknown: 8 } as const;
const CONTEXT_USED: readonly number[] = [4, 4, 6, 6, 1, 1];

/** Whether an assertion holds between two neighbours. One that is not yet known lets none hold. */
export function assertionHolds(kind: number, before: number, after: number): boolean {
  if (((before | after) & CONTEXT.unknown) !== 0) return false;
  switch (ASSERTIONS[kind - FIRST_ASSERTION]) {
    case "text_begin":
      return (before & CONTEXT.edge) !== 0;
    case "text_end":
      return (after & CONTEXT.edge) !== 0;
    case "line_begin":
      return (before & (CONTEXT.edge | CONTEXT.newline)) !== 0;
    case "line_end":
      return (after & (CONTEXT.edge | CONTEXT.newline)) !== 0;
    case "word_boundary":
      return ((before ^ after) & CONTEXT.word) !== 0;
    default:
      return ((before ^ after) & CONTEXT.word) === 0;
  }
}

const WORD_BYTES: readonly ByteRange[] = [
  [0x30, 0x39],
  [0x41, 0x5a],
  [0x5f, 0x5f],
  [0x61, 0x7a],
];

/** One rule's part of the automaton. Nodes are numbered from 0; at the first the rule matches. */
export type RuleGraph = {
  readonly nodes: readonly RuleNode[];
  readonly starts: readonly number[];
};

export type RuleNode = {
  readonly kind: number;
  /** The bytes that a byte node passes; empty for others. */
  readonly passes: readonly ByteRange[];
  readonly follow: readonly number[];
};

/** The node kind of an assertion. */
export function assertionNode(assertion: AssertionKind): number {
  return FIRST_ASSERTION + ASSERTIONS.indexOf(assertion);
}

/** Joins rules, in the order of their numbers, into one automaton; a step ends after each. */
export function* joinRules(
  graphs: readonly RuleGraph[],
  edgeCount: number,
): Generator<void, PositionAutomaton, void> {
  const nodeCount = graphs.reduce((count, graph) => count + graph.nodes.length, 0);
  const kindOf = new Uint8Array(nodeCount);
  const ruleOf = new Uint16Array(nodeCount);
  const setOf = new Int32Array(nodeCount);
  const followFrom = new Int32Array(nodeCount + 1);
  const followList = new Int32Array(edgeCount);
  const startNodes: number[] = [];
  const matchNodes: number[] = [];
  const sets = new ByteSets();
  let node = 0;
  let edge = 0;
  for (const [rule, graph] of graphs.entries()) {
    const first = node;
    matchNodes.push(first);
    for (const start of graph.starts) startNodes.push(first + start);
    for (const { kind, passes, follow } of graph.nodes) {
      kindOf[node] = kind;
      ruleOf[node] = rule;
      setOf[node] = sets.indexOf(passes);
      for (const follower of follow) {
        followList[edge] = first + follower;
        edge += 1;
      }
      node += 1;
      followFrom[node] = edge;
    }
    yield;
  }
  const isStart = new Uint8Array(nodeCount);
  for (const start of startNodes) isStart[start] = 1;
  return {
    nodeCount,
    kindOf,
    ruleOf,
    setOf,
    followFrom,
    followList,
    startNodes,
    isStart,
    matchNodes,
    ...symbols(sets.members, contextUsedBy(kindOf)),
  };
}

/** The different sets of bytes among all nodes. Copies of a set are often the very same list. */
class ByteSets {
  readonly members: (readonly ByteRange[])[] = [];
  readonly #byList = new Map<readonly ByteRange[], number>();
  readonly #byRanges = new Map<string, number>();

  indexOf(ranges: readonly ByteRange[]): number {
    const same = this.#byList.get(ranges);
    if (same !== undefined) return same;
    const key = ranges.join(";");
    const index = this.#byRanges.get(key) ?? this.members.push(ranges) - 1;
    this.#byRanges.set(key, index);
    this.#byList.set(ranges, index);
    return index;
  }
}

/** The context bits that some assertion asks for. Others are left out: they would split states. */
function contextUsedBy(kindOf: Uint8Array): number {
  let used = 0;
  for (const kind of kindOf) {
    if (kind >= FIRST_ASSERTION) used |= CONTEXT_USED[kind - FIRST_ASSERTION] as number;
  }
  return used;
}

function symbols(sets: readonly (readonly ByteRange[])[], contextUsed: number) {
  const members = sets.map(byteFlags);
  const context = new Uint8Array(256);
  for (const [low, high] of WORD_BYTES) context.fill(CONTEXT.word & contextUsed, low, high + 1);
  context[0x0a] = CONTEXT.newline & contextUsed;
  const symbolOf = distinguish([...members, context]);
  const edgeSymbol = Math.max(...symbolOf) + 1;
  const passes = new Uint8Array(members.length * edgeSymbol);
  const contextOf = new Uint8Array(edgeSymbol + 1);
  for (const [byte, symbol] of symbolOf.entries()) {
    contextOf[symbol] = context[byte] as number;
    for (const [set, flags] of members.entries()) {
      passes[set * edgeSymbol + symbol] = flags[byte] as number;
    }
  }
  contextOf[edgeSymbol] = CONTEXT.edge & contextUsed;
  return { symbolOf, edgeSymbol, passes, contextOf };
}

function byteFlags(ranges: readonly ByteRange[]): Uint8Array {
  const flags = new Uint8Array(256);
  for (const [low, high] of ranges) flags.fill(1, low, high + 1);
  return flags;
}

/** Numbers the bytes so that two have one number just when no column tells them apart. */
function distinguish(columns: readonly Uint8Array[]): Uint8Array {
  const symbolOf = new Uint8Array(256);
  // A column holds flags, or context bits: up to four different values.
  const symbolFor = new Int16Array(256 * 4);
  for (const column of columns) {
    symbolFor.fill(-1);
    let symbols = 0;
    for (let byte = 0; byte < 256; byte++) {
      const key = 4 * (symbolOf[byte] as number) + (column[byte] as number);
      if (symbolFor[key] === -1) {
        symbolFor[key] = symbols;
        symbols += 1;
      }
      symbolOf[byte] = symbolFor[key] as number;
    }
  }
  return symbolOf;
}
