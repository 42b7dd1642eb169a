import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  decodeLadder,
  encodeLadder,
  StoredStateError,
} from "../../../../node/actors/agent-record.ts";
import {
  climb,
  fall,
  type LadderState,
  type LadderStep,
  newLadder,
  raisedByMesh,
  revived,
  scoreNow,
} from "../../../../node/actors/ladder.ts";
import { STANDINGS } from "../../../../node/decision/facts.ts";
import type { LadderCause, LadderPolicy } from "../../../../policy/compiled-policy.ts";
import { proofCount } from "../../../support/proof.ts";

const { count, seed } = proofCount("the ladder", { small: 300, full: 20_000 });

const POLICY: LadderPolicy = {
  points: new Map<LadderCause, number>([
    ["refusal", 1_000],
    ["tool_outside_grant", 10_000],
    ["content_high", 40_000],
  ]),
  enter: [3_000, 10_000, 20_000, 40_000],
  leave: [1_000, 5_000, 10_000, 20_000],
  halfLifeMs: 60_000,
  blockCoolDownMs: 300_000,
  budgetMilli: [800, 950],
  autoKill: new Set(),
};
const START_MS = 1_000_000;

function stateAfter(causes: readonly LadderCause[], nowMs = START_MS): LadderState {
  return causes.reduce(
    (state, cause) => climb(state, cause, POLICY, nowMs).state,
    newLadder(nowMs),
  );
}

const level = ({ standing }: LadderState) => STANDINGS.indexOf(standing);
const times = (count: number, cause: LadderCause) => Array.from({ length: count }, () => cause);

describe("the ladder", () => {
  test.each<[string, readonly LadderCause[], LadderState["standing"]]>([
    ["nothing", [], "normal"],
    ["two refusals", times(2, "refusal"), "normal"],
    ["three refusals", times(3, "refusal"), "warning"],
    ["ten refusals", times(10, "refusal"), "throttle"],
    ["a tool outside the grant", ["tool_outside_grant"], "throttle"],
    ["two tools outside the grant", times(2, "tool_outside_grant"), "quarantine"],
    ["one grave match", ["content_high"], "block"],
    ["a cause that policy gives no points", ["content_low"], "normal"],
  ])("%s leads to the level that the score reaches", (_, causes, standing) => {
    expect(stateAfter(causes).standing).toBe(standing);
  });

  test("says what changed and why, once", () => {
    const first = climb(stateAfter(times(2, "refusal")), "refusal", POLICY, START_MS);
    expect(first.change).toEqual({ from: "normal", to: "warning", cause: "refusal" });
    expect(climb(first.state, "refusal", POLICY, START_MS).change).toBeUndefined();
  });

  test("a score halves with each half-life, and a clock that steps back leaves it", () => {
    const state = stateAfter(times(4, "refusal"));
    expect(scoreNow(state, POLICY, START_MS + 60_000)).toBe(2_000);
    expect(scoreNow(state, POLICY, START_MS - 60_000)).toBe(4_000);
  });

  test("L3: block lasts its cool-down though the score is long gone", () => {
    const blocked = stateAfter(["content_high"]);
    expect(fall(blocked, POLICY, START_MS + 299_999).state.standing).toBe("block");
    expect(fall(blocked, POLICY, START_MS + 300_000).change?.to).not.toBe("block");
  });

  test("an event that finds a level left by time does not pretend to be a fall", () => {
    const quarantined = stateAfter(times(2, "tool_outside_grant"));
    const late = START_MS + 120_000;
    // The score is 5,000 by then: below the mark of quarantine, at that of throttle.
    const step = climb(quarantined, "refusal", POLICY, late);
    expect(step.change).toEqual({ from: "quarantine", to: "throttle", cause: "decay" });
    expect(step.state.standing).toBe("throttle");
  });

  test("an event that reaches the level which time has just left keeps it", () => {
    const blocked = stateAfter(["content_high"]);
    const step = climb(blocked, "content_high", POLICY, START_MS + 600_000);
    expect(step.state.standing).toBe("block");
    expect(step.change).toBeUndefined();
  });

  test("a revived agent has no score and stands at warning", () => {
    const step = revived(stateAfter(["content_high"]), START_MS);
    expect(step.state).toMatchObject({ standing: "warning", scoreMilli: 0 });
    expect(step.change).toEqual({ from: "block", to: "warning", cause: "operator" });
  });

  test("L2: a level that another node reported is left by decay, not at the next look", () => {
    const raised = raisedByMesh(newLadder(START_MS), "quarantine", POLICY, START_MS);
    expect(raised.change).toEqual({ from: "normal", to: "quarantine", cause: "mesh" });
    expect(fall(raised.state, POLICY, START_MS + 1_000).change).toBeUndefined();
    expect(fall(raised.state, POLICY, START_MS + 61_000).change?.to).toBe("throttle");
  });

  test("another node's lower level changes nothing", () => {
    const state = stateAfter(["content_high"]);
    expect(raisedByMesh(state, "warning", POLICY, START_MS)).toEqual({ state, change: undefined });
  });

  test("the stored form comes back, and what is no ladder is refused", () => {
    const state = stateAfter(["content_high"]);
    expect(decodeLadder(encodeLadder(state))).toEqual(state);
    const killed = { ...state, standing: "kill" } as unknown as LadderState;
    expect(() => decodeLadder(encodeLadder(killed))).toThrow(StoredStateError);
    expect(() => decodeLadder(Buffer.from("[]"))).toThrow(StoredStateError);
  });
});

const cause = fc.constantFrom<LadderCause>(
  "refusal",
  "tool_outside_grant",
  "content_high",
  "content_low",
);
const happening = fc.record({
  cause: fc.option(cause, { nil: undefined }),
  // Back as well: a wall clock may be set.
  passMs: fc.integer({ min: -30_000, max: 400_000 }),
});

describe("for every history", () => {
  const walk = (
    history: readonly { cause: LadderCause | undefined; passMs: number }[],
    look: (before: LadderState, step: LadderStep, nowMs: number, cause?: LadderCause) => void,
  ) => {
    let nowMs = START_MS * 1_000;
    let state = newLadder(nowMs);
    for (const one of history) {
      nowMs += one.passMs;
      const step =
        one.cause === undefined
          ? fall(state, POLICY, nowMs)
          : climb(state, one.cause, POLICY, nowMs);
      look(state, step, nowMs, one.cause);
      state = step.state;
    }
  };

  test("L1: only events climb, and a change is told whenever the level is another", () => {
    fc.assert(
      fc.property(fc.array(happening, { maxLength: 40 }), (history) => {
        walk(history, (before, { state, change }, _, event) => {
          if (event === undefined) expect(level(state)).toBeLessThanOrEqual(level(before));
          expect(change === undefined).toBe(state.standing === before.standing);
          if (change) expect([change.from, change.to]).toEqual([before.standing, state.standing]);
        });
      }),
      { numRuns: count, seed },
    );
  });

  test("L2: a level just entered is not left, and one just left is not entered, without news", () => {
    fc.assert(
      fc.property(fc.array(happening, { maxLength: 40 }), (history) => {
        walk(history, (_, { state }, nowMs) => {
          expect(fall(state, POLICY, nowMs).change).toBeUndefined();
        });
      }),
      { numRuns: count, seed },
    );
  });

  test("L3: nobody leaves block before its cool-down", () => {
    fc.assert(
      fc.property(fc.array(happening, { maxLength: 40 }), (history) => {
        walk(history, (before, { state }, nowMs) => {
          if (before.standing !== "block" || state.standing === "block") return;
          expect(nowMs - before.sinceMs).toBeGreaterThanOrEqual(POLICY.blockCoolDownMs);
        });
      }),
      { numRuns: count, seed },
    );
  });

  test("L4: kill is never a level of it", () => {
    fc.assert(
      fc.property(fc.array(happening, { maxLength: 40 }), (history) => {
        walk(history, (_, { state }) => expect(state.standing).not.toBe("kill"));
      }),
      { numRuns: count, seed },
    );
  });
});
