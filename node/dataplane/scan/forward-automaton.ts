import { NodeSet } from "./node-set.ts";
import {
  assertionHolds,
  BYTE_NODE,
  MATCH_NODE,
  type PositionAutomaton,
} from "./position-automaton.ts";
import { type AutomatonState, StateCache, type StateKey } from "./state-cache.ts";

export type ForwardFacts = {
  /** Rules of which a match ends here, whatever comes next. */
  readonly matched: readonly number[];
  /** Rules of which a match ended one byte ago, as the byte since has shown. Same as the marks. */
  readonly matchedBefore: readonly number[];
  /** Whether a match is unfinished here. */
  readonly open: boolean;
  /** Whether one of a rule that holds bytes back is. */
  readonly holding: boolean;
};

export type ForwardState = AutomatonState<ForwardFacts>;

/**
 * Reads a text forwards and says which rules match where.
 *
 * F1. A state's nodes are those that some match, begun at an earlier byte, could be at. Where a
 *     match could begin is the same at every byte and is in no state: an idle state is empty.
 * F2. An assertion waits in the state until the byte behind it is known. What it then lets match
 *     ended *before* that byte, and is marked on the next state.
 */
export class ForwardAutomaton {
  readonly cache: StateCache<ForwardFacts>;
  readonly initial: StateKey;
  /** Nodes looked at and edges followed so far: what making states has cost. */
  work = 0;
  readonly #automaton: PositionAutomaton;
  readonly #holds: Uint8Array;
  readonly #next: NodeSet;
  readonly #resolved: NodeSet;
  readonly #late: NodeSet;
  /** Per context and symbol, the nodes that a match beginning just before the symbol leads to. */
  readonly #begun: (readonly number[] | undefined)[] = [];

  constructor(
    automaton: PositionAutomaton,
    options: {
      readonly holds: readonly boolean[];
      readonly tableBytesMax?: number;
      readonly nodeListBytesMax?: number;
    },
  ) {
    this.#automaton = automaton;
    this.#next = new NodeSet(automaton.nodeCount);
    this.#resolved = new NodeSet(automaton.nodeCount);
    this.#late = new NodeSet(automaton.matchNodes.length);
    const { holds, ...memory } = options;
    this.#holds = Uint8Array.from(holds, Number);
    this.cache = new StateCache({
      symbolCount: automaton.edgeSymbol + 1,
      describe: (key) => describe(automaton, this.#holds, key),
      ...memory,
    });
    this.initial = {
      nodes: [],
      context: automaton.contextOf[automaton.edgeSymbol] as number,
      marks: [],
    };
  }

  /** The state after one more symbol. `state` has to be current. */
  step(state: ForwardState, symbol: number): ForwardState {
    const known = this.cache.table[state.row + symbol] as number;
    if (known !== 0) return this.cache.at(Math.abs(known));
    const context = this.#automaton.contextOf[symbol] as number;
    const begun = this.#begunBy(state.context, symbol);
    this.#next.clear();
    this.#late.clear();
    this.#advance(state.nodes, state.context, symbol);
    for (let index = 0; index < begun.length; index++) this.#next.add(begun[index] as number);
    this.work += this.#next.size + 1;
    const to = this.cache.intern({
      nodes: this.#next.sorted(),
      context,
      marks: this.#late.sorted(),
    });
    this.cache.link(state, symbol, to);
    return to;
  }

  /** The nodes of unfinished matches whose rules hold bytes back. */
  holdingNodes({ nodes }: ForwardState): readonly number[] {
    const { kindOf, ruleOf } = this.#automaton;
    return nodes.filter(
      (node) => kindOf[node] !== MATCH_NODE && this.#holds[ruleOf[node] as number] === 1,
    );
  }

  #begunBy(context: number, symbol: number): readonly number[] {
    const slot = context * this.cache.stride + symbol;
    const known = this.#begun[slot];
    if (known !== undefined) return known;
    this.#next.clear();
    this.#advance(this.#automaton.startNodes, context, symbol);
    const begun = this.#next.sorted();
    this.#begun[slot] = begun;
    return begun;
  }

  /** Adds to `#next` and `#late` what `nodes` lead to over one symbol. */
  #advance(nodes: readonly number[], before: number, symbol: number): void {
    const { kindOf, ruleOf, followFrom, followList, passes, setOf, edgeSymbol, contextOf } =
      this.#automaton;
    const after = contextOf[symbol] as number;
    const resolved = this.#resolved;
    resolved.clear();
    for (let index = 0; index < nodes.length; index++) {
      // A match that was seen without an assertion has been told already.
      if (kindOf[nodes[index] as number] !== MATCH_NODE) resolved.add(nodes[index] as number);
    }
    for (let index = 0; index < resolved.size; index++) {
      const node = resolved.at(index);
      const kind = kindOf[node] as number;
      this.work += 1;
      if (kind === MATCH_NODE) {
        this.#late.add(ruleOf[node] as number);
        continue;
      }
      const passed =
        kind === BYTE_NODE
          ? symbol !== edgeSymbol && passes[(setOf[node] as number) * edgeSymbol + symbol] === 1
          : assertionHolds(kind, before, after);
      if (!passed) continue;
      const to = kind === BYTE_NODE ? this.#next : resolved;
      const end = followFrom[node + 1] as number;
      this.work += end - (followFrom[node] as number);
      for (let edge = followFrom[node] as number; edge < end; edge++) {
        to.add(followList[edge] as number);
      }
    }
  }
}

function describe(automaton: PositionAutomaton, holds: Uint8Array, { nodes, marks }: StateKey) {
  const { kindOf, ruleOf } = automaton;
  const matched: number[] = [];
  let holding = false;
  for (let index = 0; index < nodes.length; index++) {
    const node = nodes[index] as number;
    const rule = ruleOf[node] as number;
    if (kindOf[node] === MATCH_NODE) matched.push(rule);
    else if (holds[rule] === 1) holding = true;
  }
  const open = nodes.length > matched.length;
  const facts: ForwardFacts = { matched, matchedBefore: marks, open, holding };
  return { facts, noteworthy: matched.length > 0 || marks.length > 0 };
}
