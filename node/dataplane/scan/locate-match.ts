import type { ScanSet } from "./compile-rules.ts";
import { CONTEXT } from "./position-automaton.ts";
import type { ScanHistory } from "./scan-history.ts";

/** Where the ways to some nodes began. */
export type Starts = {
  /** Ascending offsets. */
  readonly offsets: readonly number[];
  /** False: a start may lie further back than is looked or remembered. */
  readonly complete: boolean;
  /** Bytes read and nodes looked at. */
  readonly steps: number;
};

export type Origin = {
  readonly nodes: readonly number[];
  readonly position: number;
  /** What is known of the byte behind the position. Bits as CONTEXT. */
  readonly after: number;
  /** No way begins before this offset. */
  readonly lowest: number;
};

/**
 * Reads backwards from a position and gives each offset at which a way to one of the nodes began.
 *
 * Linear in the distance read, which is no more than the longest way that ends there.
 */
export function findStarts(set: ScanSet, history: ScanHistory, origin: Origin): Starts {
  const { reverse } = set;
  const { symbolOf, edgeSymbol } = set.automaton;
  const workBefore = reverse.work;
  // As far back as a match can reach, less where it has no end: what a scanner remembers for it.
  const bound = Math.max(origin.lowest, origin.position - set.reachBytesMax);
  const offsets: number[] = [];
  let steps = 0;
  let complete = bound === origin.lowest;
  let state = reverse.seed(origin.nodes, origin.after);
  for (let position = origin.position; position >= bound; position--) {
    const symbol = position === 0 ? edgeSymbol : (symbolOf[history.at(position - 1)] as number);
    state = reverse.step(state, symbol);
    steps += 1;
    // A way has at least one byte: at the position itself it can only be about to begin.
    if (state.facts.startsBehind && position < origin.position) offsets.push(position);
    if (state.facts.dead) {
      complete = true;
      break;
    }
  }
  return { offsets: offsets.reverse(), complete, steps: steps + reverse.work - workBefore };
}

/** What is known of the byte behind a position that has only just been reached: nothing. */
export const NOT_YET_KNOWN = CONTEXT.unknown;
