import { SCAN_LIMITS } from "./scan-limits.ts";

/**
 * States of an automaton whose states are made when they are first needed, and forgotten all at
 * once when memory is full.
 *
 * S1. Two live states never have the same nodes, context and marks.
 * S2. `table[state.row + symbol]` is 0 (not yet known), the row of the next state, or the negated
 *     row of a next state that its reader has to look at. Rows start at one stride, so none is 0.
 * S3. A row is valid only while `state.generation` is the cache's: `current` first, then the row.
 * S4. Memory is bounded by `tableBytesMax` and `nodeListBytesMax`, whatever the text.
 */
export class StateCache<Facts> {
  readonly stride: number;
  table: Int32Array;
  generation = 1;
  readonly #describe: (key: StateKey) => { facts: Facts; noteworthy: boolean };
  readonly #rowsMax: number;
  readonly #nodeListBytesMax: number;
  #states: AutomatonState<Facts>[] = [];
  #byHash = new Map<number, AutomatonState<Facts>>();
  #nodeListBytes = 0;

  constructor({
    symbolCount,
    describe,
    tableBytesMax = SCAN_LIMITS.tableBytesMax,
    nodeListBytesMax = SCAN_LIMITS.nodeListBytesMax,
  }: {
    symbolCount: number;
    describe: (key: StateKey) => { facts: Facts; noteworthy: boolean };
    tableBytesMax?: number;
    nodeListBytesMax?: number;
  }) {
    this.stride = symbolCount;
    this.#describe = describe;
    // Two rows at least: the one that is never used, and one to be in.
    this.#rowsMax = Math.max(2, Math.floor(tableBytesMax / (4 * symbolCount)));
    this.#nodeListBytesMax = nodeListBytesMax;
    this.table = new Int32Array(symbolCount * Math.min(this.#rowsMax, FIRST_ROWS));
  }

  /** The state of a key, made if need be. May forget all other states: see S3. */
  intern(key: StateKey): AutomatonState<Facts> {
    const hash = hashOf(key);
    for (let state = this.#byHash.get(hash); state !== undefined; state = state.sameHash) {
      if (sameKey(state, key)) return state;
    }
    const bytes = STATE_BYTES + 8 * (key.nodes.length + key.marks.length);
    const full = this.#states.length + 2 > this.#rowsMax;
    if (full || this.#nodeListBytes + bytes > this.#nodeListBytesMax) this.#forget();
    this.#nodeListBytes += bytes;
    const { facts, noteworthy } = this.#describe(key);
    const state: AutomatonState<Facts> = {
      nodes: key.nodes,
      context: key.context,
      marks: key.marks,
      facts,
      noteworthy,
      row: (this.#states.length + 1) * this.stride,
      generation: this.generation,
      sameHash: this.#byHash.get(hash),
    };
    this.#states.push(state);
    this.#byHash.set(hash, state);
    this.#makeRoom(state.row + this.stride);
    return state;
  }

  /** The same state with a row that is valid now. */
  current(state: AutomatonState<Facts>): AutomatonState<Facts> {
    return state.generation === this.generation ? state : this.intern(state);
  }

  /** The state of a row that is valid now. */
  at(row: number): AutomatonState<Facts> {
    return this.#states[row / this.stride - 1] as AutomatonState<Facts>;
  }

  /** Remembers a step, unless making `to` has forgotten `from`. */
  link(from: AutomatonState<Facts>, symbol: number, to: AutomatonState<Facts>): void {
    if (from.generation !== this.generation) return;
    this.table[from.row + symbol] = to.noteworthy ? -to.row : to.row;
  }

  get stateCount(): number {
    return this.#states.length;
  }

  #forget(): void {
    this.generation += 1;
    this.#states = [];
    this.#byHash = new Map();
    this.#nodeListBytes = 0;
    this.table.fill(0);
  }

  #makeRoom(length: number): void {
    if (length <= this.table.length) return;
    const longest = this.#rowsMax * this.stride;
    const table = new Int32Array(Math.min(longest, 2 * this.table.length));
    table.set(this.table);
    this.table = table;
  }
}

/** What makes a state the state it is. */
export type StateKey = {
  /** Ascending, without repetition. */
  readonly nodes: readonly number[];
  /** What is known of the byte that was read last. Bits as CONTEXT. */
  readonly context: number;
  /** What the last step found out about the position before it. */
  readonly marks: readonly number[];
};

export type AutomatonState<Facts> = StateKey & {
  readonly facts: Facts;
  /** Whether a reader of the table has to stop here. */
  readonly noteworthy: boolean;
  readonly row: number;
  readonly generation: number;
  readonly sameHash: AutomatonState<Facts> | undefined;
};

const FIRST_ROWS = 64;

/** An estimate of a state's own memory beside its two lists. */
const STATE_BYTES = 256;

function hashOf({ nodes, context, marks }: StateKey): number {
  let hash = Math.imul(context + 1, 0x9e3779b1) ^ marks.length;
  for (let index = 0; index < marks.length; index++) hash = mix(hash, marks[index] as number);
  for (let index = 0; index < nodes.length; index++) hash = mix(hash, nodes[index] as number);
  return hash;
}

function mix(hash: number, value: number): number {
  const mixed = Math.imul(hash ^ value, 0x85ebca6b);
  return mixed ^ (mixed >>> 15);
}

function sameKey(a: StateKey, b: StateKey): boolean {
  return a.context === b.context && sameList(a.nodes, b.nodes) && sameList(a.marks, b.marks);
}

function sameList(a: readonly number[], b: readonly number[]): boolean {
  if (a.length !== b.length) return false;
  for (let index = 0; index < a.length; index++) if (a[index] !== b[index]) return false;
  return true;
}
