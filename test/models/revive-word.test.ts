import { expect, test } from "vitest";
import { explore } from "./explore.ts";
import { type Mutation, type ReviveWord, reviveWord } from "./revive-word.ts";

test("K4, K6: in no reachable state has the node a revive that was never stored, or an earlier version", () => {
  const { states, found } = explore(reviveWord());
  expect(found).toBeUndefined();
  expect(states).toBeGreaterThan(300);
});

test("the model has states in which a revive is in force, was lost to a kill, and was undone by one", () => {
  const reaches = (isSo: (state: ReviveWord) => boolean) =>
    explore({ ...reviveWord(), wrong: (state) => (isSo(state) ? "reached" : undefined) }).found;
  expect(reaches(({ node }) => node.op === "revive")).toBeDefined();
  expect(reaches(({ node, revived }) => node.op === "kill" && revived.length > 0)).toBeDefined();
  // K3: the kill of the same version was told, and the revive stored.
  expect(reaches(({ node, stream }) => node.v === stream.v && node.op !== stream.op)).toBeDefined();
});

const MUTATIONS: readonly (readonly [Mutation, RegExp])[] = [
  ["tells_before_stored", /^K6/],
  ["ignores_versions", /^K4/],
];

test.each(MUTATIONS)("where the mesh %s, the model finds it", (mutation, invariant) => {
  expect(explore(reviveWord(mutation)).found?.wrong).toMatch(invariant);
});
