import { NodeSet } from "./node-set.ts";
import { assertionHolds, BYTE_NODE, type PositionAutomaton } from "./position-automaton.ts";
import { type AutomatonState, StateCache } from "./state-cache.ts";

export type ReverseFacts = {
  /** Whether a way begins at the position behind this state's: known one step late. */
  readonly startsBehind: boolean;
  /** Whether no way leads on. */
  readonly dead: boolean;
};

export type ReverseState = AutomatonState<ReverseFacts>;

/**
 * Reads a text backwards from a place and says where the ways to given nodes can have begun.
 *
 * R1. A state's nodes are those that a match can have been at, at this position, on a way to where
 *     the search began. The byte before is not yet known, so the position's assertions are open.
 * R2. A step over the byte before settles them, and with them whether a way begins at the position:
 *     that is marked on the next state.
 */
export class ReverseAutomaton {
  readonly cache: StateCache<ReverseFacts>;
  /** Nodes looked at and edges followed so far: what making states has cost. */
  work = 0;
  readonly #automaton: PositionAutomaton;
  readonly #precedeFrom: Int32Array;
  readonly #precedeList: Int32Array;
  readonly #here: NodeSet;
  readonly #next: NodeSet;

  constructor(
    automaton: PositionAutomaton,
    memory: { readonly tableBytesMax?: number; readonly nodeListBytesMax?: number },
  ) {
    this.#automaton = automaton;
    this.#here = new NodeSet(automaton.nodeCount);
    this.#next = new NodeSet(automaton.nodeCount);
    [this.#precedeFrom, this.#precedeList] = reversedEdges(automaton);
    this.cache = new StateCache({
      symbolCount: automaton.edgeSymbol + 1,
      describe: (key) => {
        const facts = { startsBehind: key.marks.length > 0, dead: key.nodes.length === 0 };
        return { facts, noteworthy: facts.startsBehind || facts.dead };
      },
      ...memory,
    });
  }

  /** Where a search begins. `context` is what is known of the byte behind the position. */
  seed(nodes: readonly number[], context: number): ReverseState {
    return this.cache.intern({ nodes, context, marks: NO_MARKS });
  }

  /** The state before one more symbol. `state` has to be current. */
  step(state: ReverseState, symbol: number): ReverseState {
    const known = this.cache.table[state.row + symbol] as number;
    if (known !== 0) return this.cache.at(Math.abs(known));
    const context = this.#automaton.contextOf[symbol] as number;
    const starts = this.#settle(state, context);
    this.#recede(symbol);
    const to = this.cache.intern({
      nodes: this.#next.sorted(),
      context,
      marks: starts ? STARTS : NO_MARKS,
    });
    this.cache.link(state, symbol, to);
    return to;
  }

  /** Fills `#here` with all nodes of the position, and says whether a rule begins at one. */
  #settle(state: ReverseState, before: number): boolean {
    const { kindOf, isStart } = this.#automaton;
    const here = this.#here;
    here.clear();
    for (let index = 0; index < state.nodes.length; index++) here.add(state.nodes[index] as number);
    let starts = false;
    for (let index = 0; index < here.size; index++) {
      const node = here.at(index);
      if (isStart[node] === 1) starts = true;
      const end = this.#precedeFrom[node + 1] as number;
      for (let edge = this.#precedeFrom[node] as number; edge < end; edge++) {
        this.work += 1;
        const preceding = this.#precedeList[edge] as number;
        const kind = kindOf[preceding] as number;
        if (kind !== BYTE_NODE && assertionHolds(kind, before, state.context)) here.add(preceding);
      }
    }
    return starts;
  }

  /** Fills `#next` with the nodes that pass the symbol into `#here`. */
  #recede(symbol: number): void {
    const { kindOf, passes, setOf, edgeSymbol } = this.#automaton;
    this.#next.clear();
    this.work += 1;
    if (symbol === edgeSymbol) return;
    for (let index = 0; index < this.#here.size; index++) {
      const node = this.#here.at(index);
      const end = this.#precedeFrom[node + 1] as number;
      for (let edge = this.#precedeFrom[node] as number; edge < end; edge++) {
        this.work += 1;
        const preceding = this.#precedeList[edge] as number;
        if (kindOf[preceding] !== BYTE_NODE) continue;
        if (passes[(setOf[preceding] as number) * edgeSymbol + symbol] === 1) {
          this.#next.add(preceding);
        }
      }
    }
  }
}

const NO_MARKS: readonly number[] = [];
const STARTS: readonly number[] = [1];

function reversedEdges({ nodeCount, followFrom, followList }: PositionAutomaton) {
  const from = new Int32Array(nodeCount + 1);
  for (const node of followList) from[node + 1] = (from[node + 1] as number) + 1;
  for (let node = 0; node < nodeCount; node++) {
    from[node + 1] = (from[node + 1] as number) + (from[node] as number);
  }
  const filled = from.slice();
  const list = new Int32Array(followList.length);
  for (let node = 0; node < nodeCount; node++) {
    for (let edge = followFrom[node] as number; edge < (followFrom[node + 1] as number); edge++) {
      const follower = followList[edge] as number;
      list[filled[follower] as number] = node;
      filled[follower] = (filled[follower] as number) + 1;
    }
  }
  return [from, list] as const;
}
