import { expect, test } from "vitest";
import { bucketDescent, type Descent, type DescentMutation } from "./bucket-descent.ts";
import { explore } from "./explore.ts";

test("K1, K4: a comparison of states leaves both alike, and no version goes down", () => {
  const { states, found } = explore(bucketDescent());
  expect(found).toBeUndefined();
  // Fewer would mean that the model no longer does what it is about.
  expect(states).toBeGreaterThan(300);
});

test("the model has comparisons in which either side learns something", () => {
  const reaches = (isSo: (state: Descent) => boolean) =>
    explore({ ...bucketDescent(), wrong: (state) => (isSo(state) ? "reached" : undefined) }).found;
  expect(reaches(({ offers }) => offers[0] > 0 && offers[1] > 0)?.wrong).toBe("reached");
  const isLearnt = ({ phase, isDisturbed, node, coordinator }: Descent) =>
    phase === "ended" && !isDisturbed && node[0] === 2 && coordinator[1] === 2;
  expect(reaches(isLearnt)?.wrong).toBe("reached");
});

const MUTATIONS: readonly (readonly [DescentMutation, RegExp])[] = [
  ["offers_nothing", /^K1/],
  ["takes_what_is_told", /^K4/],
  ["looks_at_one_bucket", /^K1/],
];

test.each(MUTATIONS)("a replica that %s is caught", (mutation, rule) => {
  expect(explore(bucketDescent(mutation)).found?.wrong).toMatch(rule);
});
