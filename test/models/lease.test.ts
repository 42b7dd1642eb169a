import { expect, test } from "vitest";
import { explore } from "./explore.ts";
import { type LeaseMutation, type LeaseState, LIMIT, leaseProtocol } from "./lease.ts";

test("I1, I2, I4: no reachable state lends or spends more than the limit", () => {
  const { states, found } = explore(leaseProtocol());
  expect(found).toBeUndefined();
  // Fewer would mean that the model no longer does what it is about.
  expect(states).toBeGreaterThan(1_000);
});

test("the model spends the whole limit, and has two coordinators that both believe they lead", () => {
  const reaches = (isSo: (state: LeaseState) => boolean) =>
    explore({ ...leaseProtocol(), wrong: (state) => (isSo(state) ? "reached" : undefined) }).found;
  expect(reaches(({ spent }) => spent === LIMIT)?.wrong).toBe("reached");
  expect(
    reaches(
      ({ chain, coordinators }) => chain.length > 1 && coordinators.every((one) => one.leads),
    ),
  ).toBeDefined();
});

const MUTATIONS: readonly (readonly [LeaseMutation, RegExp, string])[] = [
  ["appends_unconditionally", /^I1/, "coordinator 2 takes the lead"],
  ["answers_before_commit", /^I4/, "answers"],
  ["refunds_by_timeout", /^I2/, "back"],
  ["spends_earlier_boots", /^I2/, "the node starts again"],
];

test.each(MUTATIONS)("a mesh that %s breaks %s", (mutation, invariant, step) => {
  const { found } = explore(leaseProtocol(mutation));
  expect(found?.wrong).toMatch(invariant);
  expect(found?.steps.join("\n")).toContain(step);
});
