import { expect, test } from "vitest";
import { didYouMean } from "../../../policy/suggestion.ts";

const words = ["budget", "rate", "models", "tools", "hosts", "hours"];

test.each([
  ["budgte", "budget"],
  ["budgets", "budget"],
  ["Models", "models"],
  ["hosst", "hosts"],
  ["rte", "rate"],
])("%s is a slip for %s", (word, meant) => {
  expect(didYouMean(word, words)).toBe(`; did you mean "${meant}"?`);
});

test.each(["", "x", "ra", "clearance", "bdt"])("%j is a slip for none of them", (word) => {
  expect(didYouMean(word, words)).toBe("");
});
