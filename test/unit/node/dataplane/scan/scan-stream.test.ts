import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { SCAN_LIMITS } from "../../../../../node/dataplane/scan/scan-limits.ts";
import { createScanner } from "../../../../../node/dataplane/scan/scan-stream.ts";
import { cutAt, cutPlaces } from "./pattern-arbitrary.ts";
import { bytesOf, hitsOf, scanPieces, setOf } from "./scan-fixture.ts";

/** What `pendingFrom` says after each piece. */
function pendingAfter(pattern: string, pieces: readonly string[]): (number | undefined)[] {
  const scanner = createScanner(setOf([pattern], { purpose: "stream" }));
  return pieces.map((piece) => {
    scanner.push(bytesOf(piece));
    return scanner.pendingFrom();
  });
}

function placesOf(pattern: string, text: string): [number, number][] {
  return hitsOf(setOf([pattern]), text).map(({ start, end }) => [start, end]);
}

describe("pendingFrom", () => {
  test("clean text is not held, although a match could begin at every byte", () => {
    expect(pendingAfter("secret-[0-9]{4}", ["hello ", "world", " and so on"])).toEqual([
      undefined,
      undefined,
      undefined,
    ]);
  });

  test("a beginning is held from its first byte, and let go when it comes to nothing", () => {
    const pieces = ["ab s", "ecr", "et-12", "x", "y s"];
    expect(pendingAfter("secret-[0-9]{4}", pieces)).toEqual([3, 3, 3, undefined, 15]);
  });

  test("when the leftmost beginning fails, the next one is held", () => {
    expect(pendingAfter("aab", ["a", "a", "a", "a"])).toEqual([0, 0, 1, 2]);
  });

  test("a match that waits for a word's end is held until the next byte", () => {
    expect(pendingAfter("\\bcat\\b", ["a cat", " "])).toEqual([2, undefined]);
    expect(pendingAfter("\\bcat\\b", ["a cat", "s"])).toEqual([2, undefined]);
  });

  test("the first bytes of a character are held", () => {
    const scanner = createScanner(setOf(["€x"], { purpose: "stream" }));
    const bytes = bytesOf("1€");
    scanner.push(bytes.subarray(0, 2));
    expect(scanner.pendingFrom()).toBe(1);
  });

  test("rules that do not hold still hit", () => {
    const set = setOf([{ pattern: "abc", hold: false }, "bd"], { purpose: "stream" });
    const scanner = createScanner(set);
    scanner.push(bytesOf("a"));
    expect(scanner.pendingFrom()).toBeUndefined();
    scanner.push(bytesOf("b"));
    expect(scanner.pendingFrom()).toBe(1);
    expect(scanner.push(bytesOf("c"))).toMatchObject([{ rule: 0, start: 0, end: 3 }]);
  });

  test("C3: it never falls and is never further behind than the longest match", () => {
    const set = setOf(["a[ab]{0,30}c", "b{3,9}", "(?:ab){1,5}\\b"], { purpose: "stream" });
    const text = fc.array(fc.constantFrom("a", "b", "a", "b", " ", "c"), { maxLength: 200 });
    fc.assert(
      fc.property(text, cutPlaces, (characters, places) => {
        let last = 0;
        const pieces = cutAt(bytesOf(characters.join("")), places);
        for (const { position, released } of scanPieces(set, pieces)) {
          expect(released).toBeGreaterThanOrEqual(last);
          expect(position - released).toBeLessThanOrEqual(set.holdBytesMax);
          last = released;
        }
      }),
      { numRuns: 300 },
    );
  });

  test("a match of the largest size is held whole, byte by byte", () => {
    const size = SCAN_LIMITS.streamMatchBytesMax;
    const set = setOf(["<(?:[a-z]{409}){10}[a-z]{4}>"], { purpose: "stream" });
    expect(set.holdBytesMax).toBe(size);
    const text = `hi <${"x".repeat(size - 2)}>`;
    const pieces = Array.from(bytesOf(text), (byte) => Uint8Array.of(byte));
    const seen = scanPieces(set, pieces);
    expect(seen.at(-2)?.hits).toMatchObject([{ start: 3, end: 3 + size, startIsExact: true }]);
    expect(new Set(seen.slice(3, -2).map(({ released }) => released))).toEqual(new Set([3]));
  });

  test("is unknown after the end, and so is more text", () => {
    const scanner = createScanner(setOf(["ab"]));
    scanner.push(bytesOf("a"));
    scanner.end();
    expect(scanner.pendingFrom()).toBeUndefined();
    expect(() => scanner.push(bytesOf("b"))).toThrow("ended");
    expect(() => scanner.end()).toThrow("ended");
  });
});

describe("hits", () => {
  test("C2: a hit is told with its last byte, without waiting for more", () => {
    const seen = scanPieces(setOf(["ab{2,4}"]), ["a", "b", "b", "b"].map(bytesOf));
    expect(seen.map(({ hits }) => hits.length)).toEqual([0, 0, 1, 0, 0]);
  });

  test("C2: where the next byte matters, it is told with that, or at the end", () => {
    const set = setOf(["ab\\b"]);
    const next = scanPieces(set, ["ab", ".", "ab"].map(bytesOf));
    expect(next.map(({ hits }) => hits.map(({ start, end }) => [start, end]))).toEqual([
      [],
      [[0, 2]],
      [],
      [[3, 5]],
    ]);
  });

  test.each<[string, string, [number, number][]]>([
    [
      "ab",
      "abab",
      [
        [0, 2],
        [2, 4],
      ],
    ],
    ["a+b", "aaab", [[0, 4]]],
    ["ab+", "abbb", [[0, 2]]],
    ["a|ab", "ab", [[0, 1]]],
    ["^ab", "abab", [[0, 2]]],
    ["ab$", "abab", [[2, 4]]],
    [
      "(?m:^)a(?m:$)",
      "a\nb\na",
      [
        [0, 1],
        [4, 5],
      ],
    ],
    ["\\Ba", "aa a", [[1, 2]]],
    ["é", "aéa", [[1, 3]]],
  ])("C4: %s in %j is at %j", (pattern, text, expected) => {
    expect(placesOf(pattern, text)).toEqual(expected);
  });

  test("a start is a place where what comes before allows one", () => {
    expect(placesOf("\\ba.{0,9}b", "1a ab")).toEqual([[3, 5]]);
    expect(placesOf("(?m:^)a(?s:.){0,9}b", "1a\nab")).toEqual([[3, 5]]);
    expect(placesOf("(?:a\\B|)[a-z] c", "a c")).toEqual([[0, 3]]);
    expect(placesOf("(?:1 \\B|)a c", "1 a c")).toEqual([[2, 5]]);
    expect(pendingAfter("\\ba.{0,9}b", ["1a a"])).toEqual([3]);
  });

  test("a start is not taken from a way whose end is still open", () => {
    expect(placesOf("b|ab\\b", "abc")).toEqual([[1, 2]]);
  });

  test("C4: a rule is told a bounded number of times", () => {
    const { hitsPerRuleMax } = SCAN_LIMITS;
    const hits = hitsOf(setOf(["ab", "ba"]), `${"ab ".repeat(hitsPerRuleMax + 5)}ba`);
    expect(hits.filter(({ rule }) => rule === 0)).toHaveLength(hitsPerRuleMax);
    expect(hits.filter(({ rule }) => rule === 1)).toHaveLength(1);
  });

  test("a start that lies further back than is looked is not called exact", () => {
    const { locateBytesMax } = SCAN_LIMITS;
    const set = setOf(["a[b]*c"]);
    const near = hitsOf(set, `a${"b".repeat(locateBytesMax - 2)}c`);
    expect(near).toMatchObject([{ start: 0, end: locateBytesMax, startIsExact: true }]);
    const loop = setOf(["[ab]+c"]);
    const far = hitsOf(loop, `${"a".repeat(3 * locateBytesMax)}c`);
    expect(far).toMatchObject([{ start: 0, startIsExact: false }]);
  });

  test("an unbounded rule that holds lets go of nothing it may have begun in", () => {
    const scanner = createScanner(setOf(["ab*c"]));
    scanner.push(bytesOf("xa"));
    expect(scanner.pendingFrom()).toBe(1);
    for (let piece = 0; piece < 3; piece++) {
      scanner.push(bytesOf("b".repeat(SCAN_LIMITS.locateBytesMax)));
      expect(scanner.pendingFrom()).toBe(1);
    }
    expect(scanner.push(bytesOf("c"))).toMatchObject([{ start: 0, startIsExact: false }]);
  });
});

describe("scanners of one set", () => {
  test("C1: whatever another has made the set forget, each goes on and ends where it was", () => {
    for (let tableBytesMax = 0; tableBytesMax < 1500; tableBytesMax += 20) {
      const set = setOf(["ab\\b", "cd"], { tableBytesMax });
      const [ending, going, other] = [createScanner(set), createScanner(set), createScanner(set)];
      ending.push(bytesOf("ab"));
      going.push(bytesOf(".c"));
      other.push(bytesOf("cdcdxyz  ac "));
      other.end();
      expect(ending.end()).toMatchObject([{ rule: 0, start: 0, end: 2 }]);
      expect(going.pendingFrom()).toBe(1);
      expect(going.push(bytesOf("d"))).toMatchObject([{ rule: 1, start: 1, end: 3 }]);
    }
  });
});

describe("last", () => {
  test("tells what push and end tell, wherever the text is cut before", () => {
    const set = setOf(["\\bcat\\b", "ab+$", "secret-[0-9]{2,4}", "€x", "t\\b"]);
    const words = fc.constantFrom("cat", "ab", "b", "secret-1", "23", "€x", "€", " ", "t", ".");
    fc.assert(
      fc.property(fc.array(words, { maxLength: 12 }), cutPlaces, (parts, places) => {
        const pieces = cutAt(bytesOf(parts.join("")), places);
        const rest = pieces.pop() ?? new Uint8Array(0);
        const [one, other] = [createScanner(set), createScanner(set)];
        for (const piece of pieces) expect(one.push(piece)).toEqual(other.push(piece));
        expect(one.last(rest)).toEqual([...other.push(rest), ...other.end()]);
      }),
    );
  });

  test("ends the text", () => {
    const scanner = createScanner(setOf(["ab"], { purpose: "stream" }));
    expect(scanner.last(bytesOf("xa"))).toEqual([]);
    expect(scanner.pendingFrom()).toBeUndefined();
    expect(() => scanner.push(bytesOf("b"))).toThrow("the text has ended");
    expect(() => scanner.last(bytesOf("b"))).toThrow("the text has ended");
  });
});

describe("validation", () => {
  const even = (text: string) => Number(text.replace(/[^0-9]/g, "")) % 2 === 0;

  test("every way to match is offered, the leftmost valid one is told", () => {
    const asked: string[] = [];
    const validate = (text: string) => {
      asked.push(text);
      return text === "34" || text === "234";
    };
    const set = setOf([{ pattern: "[0-9]{2,3}", validate }]);
    expect(hitsOf(set, "12345")).toMatchObject([{ start: 1, end: 4 }]);
    expect(asked).toEqual(["12", "123", "23", "234"]);
  });

  test("a match that is not valid at an assertion's end is offered there too", () => {
    const validate = (text: string) => text === "ab";
    const set = setOf([{ pattern: "b|ab\\b", validate }]);
    expect(hitsOf(set, "ab.")).toMatchObject([{ start: 0, end: 2 }]);
  });

  test("an invalid match is no hit, and does not hide the next one", () => {
    const set = setOf([{ pattern: "\\b[0-9]{3}\\b", validate: even }]);
    expect(hitsOf(set, "111 113 112 115")).toMatchObject([{ start: 8, end: 11 }]);
  });

  test("bytes are held until they have been validated, wherever they are cut", () => {
    const set = setOf([{ pattern: "\\bn[0-9]{3,6}\\b", validate: even }], { purpose: "stream" });
    const text = "an n1117, n2222 and n31 n448";
    fc.assert(
      fc.property(cutPlaces, (places) => {
        const seen = scanPieces(set, cutAt(bytesOf(text), places));
        const hits = seen.flatMap((piece) => piece.hits.map(({ start, end }) => [start, end]));
        expect(hits).toEqual([
          [10, 15],
          [24, 28],
        ]);
        for (const [start, end] of hits as [number, number][]) {
          const told = seen.findIndex((piece) => piece.hits.some((hit) => hit.end === end));
          for (const { released, position } of seen.slice(0, told)) {
            expect(released).toBeLessThanOrEqual(Math.min(start, position));
          }
        }
      }),
    );
  });

  test("text beyond ASCII reaches the validation as it was written", () => {
    const asked: string[] = [];
    const validate = (text: string) => asked.push(text) > 0;
    hitsOf(setOf([{ pattern: "<.{2}>", validate }]), "<é😀>");
    expect(asked).toEqual(["<é😀>"]);
  });
});
