import fc from "fast-check";
import { expect, test } from "vitest";
import { climb, fall, newLadder } from "../../../../node/actors/ladder.ts";
import { forecast, needsOperator } from "../../../../node/actors/ladder-forecast.ts";
import { LADDER_CAUSES, type LadderCause } from "../../../../policy/compiled-policy.ts";
import { LADDER } from "../../../../policy/defaults.ts";
import { policy } from "../../../support/builders.ts";
import { proofCount } from "../../../support/proof.ts";

const { count, seed } = proofCount("forecasts of the ladder", { small: 60, full: 2_000 });
const START_MS = Date.UTC(2026, 10, 22);
const POLICY = {
  ...policy().ladder,
  points: new Map(LADDER_CAUSES.map((cause) => [cause, LADDER.points[cause]])),
  enter: [3_000, 10_000, 100_000, 300_000],
  leave: [1_500, 5_000, 25_000, 75_000],
} as const;

function after(causes: readonly LadderCause[], ladder = POLICY) {
  return causes.reduce(
    (state, cause) =>
      climb(state, { cause, judgedAt: "normal", requestId: undefined }, ladder, START_MS).state,
    newLadder(START_MS),
  );
}

test("what is forecast happens, to the millisecond, and nothing else does", () => {
  fc.assert(
    fc.property(fc.array(fc.constantFrom(...LADDER_CAUSES), { maxLength: 20 }), (causes) => {
      let state = after(causes);
      for (const { to, atMs } of forecast(state, POLICY, START_MS)) {
        const before = fall(state, POLICY, atMs - 1).state;
        expect(before.level).toBe(state.level);
        state = fall(before, POLICY, atMs).state;
        expect(state.level).toBe(to);
      }
      expect(state.level).toBe("normal");
    }),
    { numRuns: count, seed },
  );
});

test("whoever stands at normal falls nowhere", () => {
  expect(forecast(newLadder(START_MS), POLICY, START_MS)).toEqual([]);
});

test("a block that an operator alone ends is forecast no end", () => {
  const ladder = { ...POLICY, blockUntil: "operator" as const };
  const blocked = after(["content_high"], ladder as unknown as typeof POLICY);
  expect(forecast(blocked, ladder, START_MS)).toEqual([]);
  expect([needsOperator(blocked, ladder), needsOperator(blocked, POLICY)]).toEqual([true, false]);
  const quarantined = after(["content_medium"]);
  expect(needsOperator(quarantined, ladder)).toBe(false);
});
