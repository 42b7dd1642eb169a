import fc from "fast-check";
import { RE2JS } from "re2js";
import { describe, expect, test } from "vitest";
import type { CompiledRule } from "../../../../../node/dataplane/scan/compile-rules.ts";
import { measurePattern } from "../../../../../node/dataplane/scan/measure-pattern.ts";
import { parsePattern } from "../../../../../node/dataplane/scan/parse-pattern.ts";
import {
  assertionHolds,
  BYTE_NODE,
  MATCH_NODE,
  type PositionAutomaton,
} from "../../../../../node/dataplane/scan/position-automaton.ts";
import { SCAN_LIMITS } from "../../../../../node/dataplane/scan/scan-limits.ts";
import { createScanner } from "../../../../../node/dataplane/scan/scan-stream.ts";
import { proofCount } from "../../../../support/proof.ts";
import { anyPattern, cutAt, cutPlaces, plainPattern, texts } from "./pattern-arbitrary.ts";
import { allMatches, bytesOf, neverEmpty, type Piece, scanPieces, setOf } from "./scan-fixture.ts";

const somePatterns = fc.array(anyPattern.map(neverEmpty), { minLength: 1, maxLength: 4 });

/** The full proof draws sixty times as many cases as an ordinary run. */
const RUNS = proofCount("scan oracle, multiples", { small: 1, full: 60 }).count;
const TIMEOUT_MS = 30_000 * RUNS;

/** Room for one state, or for a few of them: every step, or every few steps, forgets everything. */
const FORGETFUL = fc.constantFrom(
  { tableBytesMax: 0, nodeListBytesMax: 0 },
  { tableBytesMax: 200, nodeListBytesMax: 100_000 },
  { tableBytesMax: 100_000, nodeListBytesMax: 2000 },
);

describe("the scanner against RE2", { timeout: TIMEOUT_MS }, () => {
  test("the same rules hit, however the text is cut", () => {
    fc.assert(
      fc.property(somePatterns, texts({ maxLength: 40 }), cutPlaces, (patterns, text, places) => {
        const expected = patterns.flatMap((pattern, rule) =>
          RE2JS.compile(pattern).matcher(text).find() ? [rule] : [],
        );
        const pieces = cutAt(bytesOf(text), places);
        const hits = scanPieces(setOf(patterns), pieces).flatMap((piece) => piece.hits);
        expect([...new Set(hits.map((hit) => hit.rule))].toSorted()).toEqual(expected);
      }),
      { numRuns: 200 * RUNS },
    );
  });

  test("hits are the first ends of each run of ends, and their starts begin a match", () => {
    fc.assert(
      fc.property(anyPattern.map(neverEmpty), texts({ maxLength: 7 }), (pattern, text) => {
        const matches = allMatches(pattern, text);
        const ends = new Set(matches.map((match) => match.end));
        const firsts = [...ends].filter((end) => !ends.has(end - 1)).toSorted((a, b) => a - b);
        const hits = scanPieces(setOf([pattern]), [bytesOf(text)]).flatMap((piece) => piece.hits);
        expect(hits.map((hit) => hit.end)).toEqual(firsts.slice(0, SCAN_LIMITS.hitsPerRuleMax));
        for (const { start, end } of hits) expect(matches).toContainEqual({ start, end });
      }),
      { numRuns: 50 * RUNS },
    );
  });

  test("a hit starts at the leftmost start when no assertion is open", () => {
    fc.assert(
      fc.property(plainPattern.map(neverEmpty), texts({ maxLength: 7 }), (pattern, text) => {
        const matches = allMatches(pattern, text);
        for (const hit of scanPieces(setOf([pattern]), [bytesOf(text)])[0]?.hits ?? []) {
          const starts = matches.filter(({ end }) => end === hit.end).map(({ start }) => start);
          expect(hit.start).toBe(Math.min(...starts));
        }
      }),
      { numRuns: 34 * RUNS },
    );
  });

  test("C3: no byte of a match is let go before the match is told", () => {
    fc.assert(
      fc.property(
        anyPattern.map(neverEmpty),
        texts({ maxLength: 7 }),
        cutPlaces,
        (pattern, text, places) => {
          const seen = scanPieces(setOf([pattern]), cutAt(bytesOf(text), places));
          for (const { start, end } of allMatches(pattern, text)) {
            let toldUpTo = -1;
            for (const { position, released, hits } of seen.slice(0, -1)) {
              toldUpTo = Math.max(toldUpTo, ...hits.map((hit) => hit.end));
              const open = position < end || (position === end && toldUpTo < 0);
              if (open) expect(released).toBeLessThanOrEqual(Math.min(start, position));
            }
          }
        },
      ),
      { numRuns: 50 * RUNS },
    );
  });

  test("matches are as long as the measure says, and graphs no larger", () => {
    fc.assert(
      fc.property(anyPattern.map(neverEmpty), texts({ maxLength: 7 }), (pattern, text) => {
        const { rules, automaton } = setOf([pattern]);
        const { minMatchBytes, maxMatchBytes } = rules[0] as CompiledRule;
        for (const { start, end } of allMatches(pattern, text)) {
          expect(end - start).toBeGreaterThanOrEqual(minMatchBytes);
          expect(end - start).toBeLessThanOrEqual(maxMatchBytes);
        }
        const parsed = parsePattern(pattern);
        const steps = parsed.ok ? measurePattern(parsed.tree).steps : 0;
        expect(automaton.nodeCount).toBeLessThanOrEqual(steps + 1);
      }),
      { numRuns: 50 * RUNS },
    );
  });

  test("C1: neither pieces nor a memory for a few states change what hits", () => {
    const text = texts({ maxLength: 40 });
    fc.assert(
      fc.property(somePatterns, text, cutPlaces, FORGETFUL, (patterns, text, places, memory) => {
        const whole = scanPieces(setOf(patterns), [bytesOf(text)]);
        const forgetful = setOf(patterns, memory);
        const cut = scanPieces(forgetful, cutAt(bytesOf(text), places));
        expect(cut.flatMap((piece) => piece.hits)).toEqual(whole.flatMap((piece) => piece.hits));
      }),
      { numRuns: 100 * RUNS },
    );
  });

  test("C1: scanners that share a forgetful set do not disturb each other", () => {
    fc.assert(
      fc.property(somePatterns, texts({ maxLength: 30 }), FORGETFUL, (patterns, text, memory) => {
        const alone = setOf(patterns);
        const bytes = Array.from(bytesOf(text), (byte) => Uint8Array.of(byte));
        const other = bytes.toReversed();
        const shared = setOf(patterns, memory);
        const interleaved = interleave(shared, bytes, other);
        expect(interleaved).toEqual([scanPieces(alone, bytes), scanPieces(alone, other)]);
      }),
      { numRuns: 50 * RUNS },
    );
  });
});

describe("pendingFrom against one simulation per start", { timeout: TIMEOUT_MS }, () => {
  test("C3: it is exactly the leftmost start of what is unfinished", () => {
    fc.assert(
      fc.property(somePatterns, texts({ maxLength: 20 }), cutPlaces, (patterns, text, places) => {
        const set = setOf(patterns);
        const bytes = bytesOf(text);
        for (const { position, released } of scanPieces(set, cutAt(bytes, places)).slice(0, -1)) {
          expect(released).toBe(leftmostUnfinished(set.automaton, bytes, position));
        }
      }),
      { numRuns: 100 * RUNS },
    );
  });
});

function interleave(
  set: ReturnType<typeof setOf>,
  first: readonly Uint8Array[],
  second: readonly Uint8Array[],
) {
  // Each generator stops after every piece, so that the two take turns on the shared states.
  const turns = [takeTurns(set, first), takeTurns(set, second)];
  const seen: ReturnType<typeof scanPieces>[] = [];
  for (let going = true; going; ) {
    going = false;
    for (const [index, turn] of turns.entries()) {
      const { done, value } = turn.next();
      if (done) seen[index] = value;
      else going = true;
    }
  }
  return seen;
}

function* takeTurns(set: ReturnType<typeof setOf>, pieces: readonly Uint8Array[]) {
  const scanner = createScanner(set);
  const seen: Piece[] = [];
  let position = 0;
  for (const piece of pieces) {
    const hits = scanner.push(piece);
    position += piece.length;
    seen.push({ position, released: scanner.pendingFrom() ?? position, hits });
    yield;
  }
  const hits = scanner.end();
  seen.push({ position, released: scanner.pendingFrom() ?? position, hits });
  return seen;
}

/** What `pendingFrom` must say, found without states, caches or reading backwards. */
function leftmostUnfinished(automaton: PositionAutomaton, bytes: Uint8Array, position: number) {
  for (let start = 0; start < position; start++) {
    let at = new Set(automaton.startNodes);
    for (let offset = start; offset < position; offset++) {
      at = stepFrom(automaton, at, bytes, offset);
    }
    if ([...at].some((node) => automaton.kindOf[node] !== MATCH_NODE)) return start;
  }
  return position;
}

function stepFrom(
  {
    kindOf,
    followFrom,
    followList,
    contextOf,
    symbolOf,
    edgeSymbol,
    passes,
    setOf: sets,
  }: PositionAutomaton,
  at: ReadonlySet<number>,
  bytes: Uint8Array,
  offset: number,
): Set<number> {
  const symbolAt = (place: number) => symbolOf[bytes[place] as number] as number;
  const before = contextOf[offset === 0 ? edgeSymbol : symbolAt(offset - 1)] as number;
  const symbol = symbolAt(offset);
  const here = new Set(at);
  const next = new Set<number>();
  for (const node of here) {
    const kind = kindOf[node] as number;
    const follow = followList.subarray(followFrom[node], followFrom[node + 1]);
    if (kind === BYTE_NODE) {
      if (passes[(sets[node] as number) * edgeSymbol + symbol] === 1) {
        for (const follower of follow) next.add(follower);
      }
    } else if (kind !== MATCH_NODE && assertionHolds(kind, before, contextOf[symbol] as number)) {
      for (const follower of follow) here.add(follower);
    }
  }
  return next;
}
