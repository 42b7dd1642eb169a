import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { ScanSet } from "../../../../../node/dataplane/scan/compile-rules.ts";
import { DETECTORS } from "../../../../../node/dataplane/scan/detectors.ts";
import { createScanner } from "../../../../../node/dataplane/scan/scan-stream.ts";
import { scanBytes } from "../../../../../node/dataplane/scan/scan-text.ts";
import { bytesOf, setOf } from "./scan-fixture.ts";

const TEXT_BYTES = 100_000;

/** A text of drawn characters, the same on every run. */
function drawn(alphabet: string, seed: number): string {
  const character = fc.integer({ min: 0, max: alphabet.length - 1 });
  const indexes = fc.array(character, { minLength: 4096, maxLength: 4096 });
  const [sample] = fc.sample(indexes, { numRuns: 1, seed });
  const block = (sample as number[]).map((index) => alphabet[index]).join("");
  // Blocks end at different places of a line, so that the repetition is not a short cycle.
  return Array.from({ length: 25 }, (_, turn) => block.slice(turn) + block.slice(0, turn)).join("");
}

const HOSTILE: readonly [string, string][] = [
  ["random hex", drawn("0123456789abcdef", 1)],
  ["mail addresses that end too early", "a@b.".repeat(TEXT_BYTES / 4)],
  ["words and dots", drawn("ab.-+", 2)],
  ["words, dots and @", drawn("ab.-@", 3)],
  ["spaced digits", "4 ".repeat(TEXT_BYTES / 2)],
  ["digits and separators", drawn("0123456789 -", 4)],
  ["account numbers", drawn("AD12 ", 5)],
  ["token prefixes", "eyJ".repeat(TEXT_BYTES / 3)],
  ["a long run", "a".repeat(TEXT_BYTES)],
  ["a run of dashes", "-".repeat(TEXT_BYTES)],
  ["base64", drawn("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", 6)],
];

/** Steps per byte that no text costs with our detectors, whose longest overlap is some 130 ways. */
const STEPS_PER_BYTE_MAX = 300;

describe("hostile texts", () => {
  test.each(HOSTILE)("%s costs steps in proportion to its length", (_, text) => {
    const stepsFor = (bytes: Uint8Array) => scanBytes(freshSet(), bytes).steps;
    const bytes = bytesOf(text).subarray(0, TEXT_BYTES);
    const whole = stepsFor(bytes);
    expect(whole).toBeLessThan(STEPS_PER_BYTE_MAX * bytes.length);
    // States made once are used again, so the first part may cost more, but not the second.
    const half = stepsFor(bytes.subarray(0, bytes.length / 2));
    expect(whole).toBeLessThan(2.2 * half);
  });

  test("an unbounded rule that keeps matching costs one step a byte", () => {
    const set = setOf(["a+", "(?s)b.*", "[^c]+c"]);
    const text = bytesOf(`b${"a".repeat(TEXT_BYTES)}c`);
    expect(scanBytes(set, text).steps).toBeLessThan(1.5 * text.length + 50_000);
  });

  test("asking for pendingFrom after every byte costs at most one longest match each time", () => {
    const set = setOf(["a[ab]{0,400}c"], { purpose: "stream" });
    const scanner = createScanner(set);
    const bytes = bytesOf("ab".repeat(5000));
    for (const byte of bytes) {
      scanner.push(Uint8Array.of(byte));
      scanner.pendingFrom();
    }
    const statesMade = 1_000_000;
    expect(scanner.steps).toBeLessThan((set.holdBytesMax + 2) * bytes.length + statesMade);
  });

  test("memory stays within its limits, and a full one changes nothing that is found", () => {
    const tableBytesMax = 64 * 1024;
    const text = bytesOf(`${drawn("ab.-+", 7)} 4111 1111 1111 1111 x@y.org`);
    const small = freshSet({ tableBytesMax, nodeListBytesMax: 64 * 1024 });
    const { hits } = scanBytes(small, text);
    expect(small.forward.cache.generation).toBeGreaterThan(10);
    expect(small.forward.cache.table.byteLength).toBeLessThanOrEqual(tableBytesMax);
    expect(hits).toEqual(scanBytes(freshSet(), text).hits);
    expect(hits.map(({ id }) => id)).toEqual(
      expect.arrayContaining(["payment-card", "email-address"]),
    );
  });
});

test("node lists are bounded by themselves, whatever room the table has", () => {
  const nodeListBytesMax = 64 * 1024;
  const small = freshSet({ nodeListBytesMax });
  scanBytes(small, bytesOf(drawn("ab.-+", 8)));
  const eachAtLeast = 256;
  expect(small.forward.cache.generation).toBeGreaterThan(10);
  expect(small.forward.cache.stateCount * eachAtLeast).toBeLessThanOrEqual(nodeListBytesMax);
});

function freshSet(memory = {}): ScanSet {
  return setOf([...DETECTORS], { purpose: "stream", ...memory });
}
