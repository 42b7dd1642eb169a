import type { CompiledRule, ScanSet } from "./compile-rules.ts";
import type { ForwardState } from "./forward-automaton.ts";
import { findStarts, NOT_YET_KNOWN } from "./locate-match.ts";
import { ScanHistory } from "./scan-history.ts";
import { SCAN_LIMITS } from "./scan-limits.ts";

/** One place where a rule matches. Offsets count bytes from the beginning of the stream. */
export type Hit = {
  /** The rule's number in its set. */
  readonly rule: number;
  readonly id: string;
  /**
   * The first byte of the match: the leftmost possible one, or the leftmost valid one. Already
   * released, perhaps, if the rule does not hold. Not exact: the match begins here or later.
   */
  readonly start: number;
  /** One past the last byte. */
  readonly end: number;
  /** False: the match began further back than is remembered. Never so in a stream's set. */
  readonly startIsExact: boolean;
};

/**
 * Scans a text that comes in pieces.
 *
 * C1. What hits and where does not depend on how the text is cut into pieces, except for a start
 *     that is not exact.
 * C2. A hit is told by the piece with its last byte or, where an assertion has to see what follows,
 *     by the next piece or `end`.
 * C3. Every byte from `pendingFrom()` on may belong to a match that is not yet told; no byte before
 *     it does. It never falls, and is at most `holdBytesMax` behind.
 * C4. Per rule, ends that follow one another byte by byte are one hit, told at the first of them,
 *     and at most `hitsPerRuleMax` hits are told.
 */
export type Scanner = {
  /** Scans the next piece. The bytes stay the caller's and may be reused afterwards. */
  push(bytes: Uint8Array): readonly Hit[];
  /** The lowest offset at which a match that is still possible begins, if one is possible. */
  pendingFrom(): number | undefined;
  /** What `end` would tell, if the text ended here. It may go on. */
  hitsAtEnd(): readonly Hit[];
  /** Says that the text ends here, which `$` and `\b` want to know. Nothing comes after it. */
  end(): readonly Hit[];
  /** `push` and `end` in one: of a piece that nothing follows no byte has to be remembered. */
  last(bytes: Uint8Array): readonly Hit[];
  /** Work done so far: bytes read in either direction, nodes and edges looked at. */
  readonly steps: number;
};

/** A scanner at the beginning of a text. Costs nothing to make; hundreds can share a set. */
export function createScanner(set: ScanSet): Scanner {
  return new SetScanner(set);
}

class SetScanner implements Scanner {
  steps = 0;
  readonly #set: ScanSet;
  readonly #history: ScanHistory;
  readonly #historyBytesMax: number;
  #state: ForwardState;
  #position = 0;
  #ended = false;
  #hits: Hit[] = [];
  /** Per rule that has hit: how often, and where the last of the ends that are one hit is. */
  #told: Map<number, { count: number; lastEnd: number }> | undefined;
  /** No match that is unfinished now begins before this offset. */
  #idleTo = 0;
  /** No such match that holds bytes back begins before this one. */
  #releasedTo = 0;
  #pendingAt = -1;

  constructor(set: ScanSet) {
    this.#set = set;
    // One byte more, since what stands before a match decides whether it may begin there.
    this.#historyBytesMax = set.reachBytesMax + 1;
    this.#history = new ScanHistory({ bytesMax: this.#historyBytesMax });
    this.#state = set.forward.cache.intern(set.forward.initial);
  }

  push(bytes: Uint8Array): readonly Hit[] {
    this.#hits = [];
    this.#read(bytes);
    const { open, holding } = this.#state.facts;
    this.#history.release({ bytes: open ? this.#historyBytesMax : 1 });
    if (!holding) this.#releasedTo = this.#position;
    return this.#hits;
  }

  last(bytes: Uint8Array): readonly Hit[] {
    this.#hits = [];
    this.#read(bytes);
    this.#end();
    return this.#hits;
  }

  #read(bytes: Uint8Array): void {
    if (this.#ended) throw new Error("the text has ended");
    const { forward, automaton } = this.#set;
    const { symbolOf } = automaton;
    const { cache } = forward;
    const workBefore = forward.work;
    this.#history.begin(bytes);
    let row = cache.current(this.#state).row;
    let table = cache.table;
    for (let index = 0; index < bytes.length; index++) {
      const symbol = symbolOf[bytes[index] as number] as number;
      const next = table[row + symbol] as number;
      if (next > 0) {
        row = next;
        continue;
      }
      const state = next < 0 ? cache.at(-next) : forward.step(cache.at(row), symbol);
      row = state.row;
      table = cache.table;
      if (state.noteworthy) this.#tell(state, this.#position + index + 1);
    }
    this.#position += bytes.length;
    this.#state = cache.at(row);
    this.steps += bytes.length + forward.work - workBefore;
    if (!this.#state.facts.open) this.#idleTo = this.#position;
  }

  pendingFrom(): number | undefined {
    if (this.#ended || !this.#state.facts.holding) return undefined;
    if (this.#pendingAt !== this.#position) {
      const starts = findStarts(this.#set, this.#history, {
        nodes: this.#set.forward.holdingNodes(this.#state),
        position: this.#position,
        after: NOT_YET_KNOWN,
        lowest: this.#releasedTo,
      });
      this.steps += starts.steps;
      // Only a body's unbounded rule can reach back further than is remembered.
      if (starts.complete) {
        const [first] = starts.offsets;
        if (first === undefined) throw new Error("an unfinished match began nowhere");
        this.#releasedTo = first;
      }
      this.#pendingAt = this.#position;
    }
    return this.#releasedTo;
  }

  end(): readonly Hit[] {
    this.#hits = [];
    this.#end();
    return this.#hits;
  }

  hitsAtEnd(): readonly Hit[] {
    this.#hits = [];
    this.#tellAtEnd();
    return this.#hits;
  }

  #end(): void {
    this.#tellAtEnd();
    this.#ended = true;
  }

  #tellAtEnd(): void {
    if (this.#ended) throw new Error("the text has ended");
    const { forward, automaton } = this.#set;
    const workBefore = forward.work;
    const state = forward.step(forward.cache.current(this.#state), automaton.edgeSymbol);
    this.steps += 1 + forward.work - workBefore;
    // The edge takes no byte, so what it settles is the present position.
    for (const rule of state.facts.matchedBefore) {
      this.#found(rule, this.#position, state.context);
    }
  }

  #tell(state: ForwardState, position: number): void {
    for (const rule of state.facts.matchedBefore) this.#found(rule, position - 1, state.context);
    for (const rule of state.facts.matched) this.#found(rule, position, NOT_YET_KNOWN);
  }

  #found(rule: number, end: number, after: number): void {
    const told = this.#told?.get(rule);
    if (told !== undefined) {
      if (end - told.lastEnd <= 1) {
        told.lastEnd = end;
        return;
      }
      if (told.count >= SCAN_LIMITS.hitsPerRuleMax) return;
    }
    const { rules, automaton } = this.#set;
    const starts = findStarts(this.#set, this.#history, {
      nodes: [automaton.matchNodes[rule] as number],
      position: end,
      after,
      lowest: this.#idleTo,
    });
    this.steps += starts.steps;
    const { id, validate } = rules[rule] as CompiledRule;
    const known = starts.complete ? (starts.offsets[0] as number) : this.#idleTo;
    const start = validate === undefined ? known : this.#firstValid(validate, starts.offsets, end);
    if (start === undefined) return;
    this.#hits.push({ rule, id, start, end, startIsExact: starts.complete });
    this.#told ??= new Map();
    this.#told.set(rule, { count: (told?.count ?? 0) + 1, lastEnd: end });
  }

  #firstValid(
    validate: (text: string) => boolean,
    starts: readonly number[],
    end: number,
  ): number | undefined {
    const leftmost = starts[0] as number;
    const bytes = this.#history.slice(leftmost, end);
    const ascii = asciiText(bytes);
    return starts.find((start) => {
      this.steps += end - start;
      const from = start - leftmost;
      return validate(ascii?.slice(from) ?? DECODER.decode(bytes.subarray(from)));
    });
  }
}

const DECODER = new TextDecoder();

/** The text of ASCII bytes, whose parts need no decoding of their own; `undefined` for others. */
function asciiText(bytes: Uint8Array): string | undefined {
  let text = "";
  for (let index = 0; index < bytes.length; index++) {
    const byte = bytes[index] as number;
    if (byte > 0x7f) return undefined;
    text += String.fromCharCode(byte);
  }
  return text;
}
