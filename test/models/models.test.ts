import { expect, test } from "vitest";
import { explore } from "./explore.ts";
import { type FanOut, killFanOut, type Mutation } from "./kill-fan-out.ts";

test("K7: in no reachable state is a node open 2T after a kill was committed that it does not have", () => {
  const { states, found } = explore(killFanOut());
  expect(found).toBeUndefined();
  // Fewer would mean that the model no longer does what it is about.
  expect(states).toBeGreaterThan(1_000);
});

test("the model has states in which the node is open with the kill, and without it before", () => {
  const reaches = (isSo: (state: FanOut) => boolean) =>
    explore({ ...killFanOut(), wrong: (state) => (isSo(state) ? "reached" : undefined) }).found;
  expect(reaches(({ node }) => node.killed && node.openTicks > 0)?.wrong).toBe("reached");
  expect(
    reaches(({ since, node }) => since >= 3 && !node.killed && node.openTicks > 0),
  ).toBeDefined();
});

const MUTATIONS: readonly (readonly [Mutation, string])[] = [
  ["ignores_quorum", "a coordinator that is cut off and goes on sending digests"],
  ["ignores_age", "a digest that was held back"],
  ["ignores_state", "a digest of a state that the node does not have"],
];

test.each(MUTATIONS)("a node that %s is kept open by %s", (mutation) => {
  const { found } = explore(killFanOut(mutation));
  expect(found?.wrong).toMatch(/^K7/);
  expect(found?.steps.join("\n")).toContain("the kill is committed and heard by nobody");
});
