import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { proofCount } from "../../support/proof.ts";

const OF = { small: 3, full: 30_000 };

beforeEach(() => {
  vi.stubEnv("ALTRACE_PROOF", undefined);
  vi.stubEnv("ALTRACE_PROOF_SEED", undefined);
});

afterEach(() => {
  vi.unstubAllEnvs();
});

test("a proof is small unless it is asked for in full", () => {
  expect(proofCount("one", OF).count).toBe(3);
  vi.stubEnv("ALTRACE_PROOF", "full");
  expect(proofCount("one", OF).count).toBe(30_000);
});

test("a misspelt word is an error, and does not pass for a small proof", () => {
  vi.stubEnv("ALTRACE_PROOF", "ful");
  expect(() => proofCount("one", OF)).toThrow("ALTRACE_PROOF");
  vi.stubEnv("ALTRACE_PROOF", "5000");
  expect(() => proofCount("one", OF)).toThrow("ALTRACE_PROOF");
});

test("a seed that is given is the seed that is used, and nonsense is none", () => {
  vi.stubEnv("ALTRACE_PROOF_SEED", "12345");
  expect(proofCount("one", OF).seed).toBe(12_345);
  for (const wrong of ["-1", "1.5", "x", "4294967296"]) {
    vi.stubEnv("ALTRACE_PROOF_SEED", wrong);
    expect(() => proofCount("one", OF)).toThrow("ALTRACE_PROOF_SEED");
  }
});

test("without one it is drawn, and told, so that a failure can be run again", () => {
  const told: string[] = [];
  vi.spyOn(console, "log").mockImplementation((text: string) => void told.push(text));
  const { seed } = proofCount("orders of delivery", OF);
  expect(told).toEqual([`proof orders of delivery: N 3, ALTRACE_PROOF_SEED=${seed}`]);
});
