import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  decodeLadder,
  encodeLadder,
  StoredStateError,
} from "../../../../node/actors/agent-record.ts";
import {
  type BudgetUse,
  budgetRung,
  largestShare,
  withSpent,
} from "../../../../node/actors/budget-share.ts";
import { totalScore } from "../../../../node/actors/cause-scores.ts";
import {
  budgetSpent,
  climb,
  fall,
  kernelEvidence,
  killHeard,
  type LadderState,
  type LadderStep,
  type Level,
  newLadder,
  othersReport,
  revived,
} from "../../../../node/actors/ladder.ts";
import { STANDINGS, type Standing } from "../../../../node/decision/facts.ts";
import {
  LADDER_CAUSES,
  type LadderCause,
  type LadderPolicy,
} from "../../../../policy/compiled-policy.ts";
import { LADDER } from "../../../../policy/defaults.ts";
import { proofCount } from "../../../support/proof.ts";

const { count, seed } = proofCount("the ladder", { small: 300, full: 20_000 });

/** The marks and times that are in force where policy says nothing. */
const POLICY: LadderPolicy = {
  points: new Map(LADDER_CAUSES.map((cause) => [cause, LADDER.points[cause]])),
  enter: [LADDER.enter.warning, LADDER.enter.throttle, LADDER.enter.quarantine, LADDER.enter.block],
  leave: [LADDER.leave.warning, LADDER.leave.throttle, LADDER.leave.quarantine, LADDER.leave.block],
  windowMs: 60_000,
  halfLifeMs: 120_000,
  halfLifeMsOf: new Map(),
  blockCoolDownMs: 900_000,
  blockUntil: "cool_down",
  evidenceFloor: 3,
  budgetMilli: [800, 950],
  autoKill: new Set(),
};
const START_MS = Date.UTC(2026, 10, 22, 9, 30);
const MINUTE_MS = 60_000;

function offence(cause: LadderCause, judgedAt: Standing = "normal") {
  return { cause, judgedAt, requestId: "r1" };
}

/** Each of them judged where the agent then stands. */
function stateAfter(
  causes: readonly LadderCause[],
  policy: LadderPolicy = POLICY,
  nowMs = START_MS,
): LadderState {
  return causes.reduce(
    (state, cause) => climb(state, offence(cause, state.standing), policy, nowMs).state,
    newLadder(nowMs),
  );
}

/** What a second's tick after another makes of it. */
function stateIn(state: LadderState, ms: number, policy = POLICY): LadderState {
  let after = state;
  for (let atMs = 1_000; atMs <= ms; atMs += 1_000) {
    after = fall(after, policy, START_MS + atMs).state;
  }
  return after;
}

const index = (level: Level) => STANDINGS.indexOf(level);
const times = (count: number, cause: LadderCause) => Array.from({ length: count }, () => cause);
const use = (spent: number, more: Partial<BudgetUse> = {}): BudgetUse => ({
  unit: "usdMicros",
  window: "day:2026-11-22",
  limit: 1_000,
  spent,
  endsAtMs: Date.UTC(2026, 10, 23),
  ...more,
});
const spend = (state: LadderState, spent: number, nowMs = START_MS) =>
  budgetSpent(state, [use(spent)], POLICY, { nowMs, requestId: "r2" });

describe("with the defaults", () => {
  test.each<[string, readonly LadderCause[], Level]>([
    ["nothing", [], "normal"],
    ["two refusals", times(2, "refusal"), "normal"],
    ["three refusals", times(3, "refusal"), "warning"],
    ["nine refusals", times(9, "refusal"), "warning"],
    ["ten refusals", times(10, "refusal"), "throttle"],
    ["a match of low severity", ["content_low"], "warning"],
    ["a match of medium severity", ["content_medium"], "quarantine"],
    ["a match of high severity", ["content_high"], "block"],
    ["a tool call outside the grant", ["tool_outside_grant"], "quarantine"],
    ["evidence of the kernel", ["kernel_evidence"], "quarantine"],
    ["one offence in quarantine", ["tool_outside_grant", "refusal"], "quarantine"],
    ["three offences in quarantine", ["tool_outside_grant", ...times(3, "refusal")], "block"],
  ])("%s lead to %2$s", (_, causes, level) => {
    expect(stateAfter(causes).standing).toBe(level);
  });

  test("says what changed, why, and by which request, once", () => {
    const first = climb(stateAfter(times(2, "refusal")), offence("refusal"), POLICY, START_MS);
    const change = { from: "normal", to: "warning", cause: "refusal", requestId: "r1" };
    expect(first.change).toEqual(change);
    expect(first.state).toMatchObject({ cause: "refusal", requestId: "r1", sinceMs: START_MS });
    expect(climb(first.state, offence("refusal"), POLICY, START_MS).change).toBeUndefined();
  });

  test("an offence counts as a breach only for a request that was judged in quarantine", () => {
    const quarantined = stateAfter(["tool_outside_grant"]);
    // These were on their way when the quarantine began.
    const burst = times(3, "refusal").reduce(
      (state, cause) => climb(state, offence(cause, "normal"), POLICY, START_MS).state,
      quarantined,
    );
    expect(burst.standing).toBe("quarantine");
    const breached = stateAfter(["tool_outside_grant", ...times(3, "refusal")]);
    expect(breached).toMatchObject({ standing: "block", cause: "quarantine_breach" });
  });

  test("comes all the way down by itself", () => {
    const levels: Level[] = [];
    let state = stateAfter(["content_high"]);
    for (let atMs = 0; atMs < 60 * MINUTE_MS; atMs += 1_000) {
      const step = fall(state, POLICY, START_MS + atMs);
      if (step.change) levels.push(step.change.to);
      state = step.state;
    }
    // The block outlasts the score; what is left of that is worth a warning.
    expect(levels).toEqual(["warning", "normal"]);
    const down: Level[] = [];
    state = stateAfter(["content_medium"]);
    for (let atMs = 0; atMs < 60 * MINUTE_MS; atMs += 1_000) {
      const step = fall(state, POLICY, START_MS + atMs);
      if (step.change) down.push(step.change.to);
      state = step.state;
    }
    expect(down).toEqual(["throttle", "warning", "normal"]);
  });
});

describe("a score", () => {
  test("counts in full for its window and halves with each half-life after it", () => {
    const { scores } = stateAfter(times(4, "refusal"));
    const at = (ms: number) => totalScore(scores, POLICY, START_MS + ms);
    expect(at(59_999)).toBe(4_000);
    // A slot of a twelfth of the window comes before decay.
    expect(at(65_000)).toBe(4_000);
    expect(at(65_000 + 120_000)).toBe(2_000);
    expect(at(65_000 + 240_000)).toBe(1_000);
    expect(at(-60_000)).toBe(4_000);
  });

  test("has a half-life of its own for causes that policy gives one", () => {
    const policy = { ...POLICY, halfLifeMsOf: new Map([["content_low" as const, 600_000]]) };
    const { scores } = stateAfter(["content_low", "refusal"], policy);
    const later = START_MS + 65_000 + 600_000;
    expect(totalScore(scores, policy, later)).toBe(1_500 + Math.floor(1_000 / 2 ** 5));
  });

  test("keeps a bounded number of slots, however many events come", () => {
    let state = newLadder(START_MS);
    for (let atMs = 0; atMs < 600_000; atMs += 100) {
      state = climb(state, offence("refusal"), POLICY, START_MS + atMs).state;
    }
    expect(state.scores).toHaveLength(1);
    expect(state.scores[0]?.fresh.length).toBeLessThanOrEqual(14);
    expect(state.scores[0]?.count).toBe(6_000);
  });

  test("of a cause that policy gives no points leaves no trace", () => {
    const policy = { ...POLICY, points: new Map() };
    expect(stateAfter(["content_high"], policy)).toEqual(newLadder(START_MS));
  });
});

describe("block", () => {
  test("L3: lasts its cool-down though the score is long gone", () => {
    const policy = { ...POLICY, halfLifeMs: 1_000, windowMs: 1_000 };
    const blocked = stateAfter(["content_high"], policy);
    expect(fall(blocked, policy, START_MS + 899_999).state.standing).toBe("block");
    expect(fall(blocked, policy, START_MS + 900_000).change).toMatchObject({ to: "normal" });
  });

  test("L3: ends by an operator alone where policy says so", () => {
    const policy: LadderPolicy = { ...POLICY, blockUntil: "operator" };
    const late = START_MS + 365 * 24 * 3_600_000;
    const still = fall(stateAfter(["content_high"], policy), policy, late);
    expect(still.state.standing).toBe("block");
    expect(revived(still.state, policy, late).state.standing).toBe("warning");
  });

  test("an event that finds a level left by time does not pretend to be a climb", () => {
    const quarantined = stateAfter(["tool_outside_grant"]);
    const step = climb(quarantined, offence("refusal"), POLICY, START_MS + 30 * MINUTE_MS);
    expect(step.change).toMatchObject({ from: "quarantine", to: "normal", cause: "decay" });
  });

  test("an event that reaches the level which time has just left keeps it", () => {
    const blocked = stateAfter(["content_high"]);
    const step = climb(blocked, offence("content_high"), POLICY, START_MS + 60 * MINUTE_MS);
    expect(step.state.standing).toBe("block");
    expect(step.change).toBeUndefined();
  });
});

describe("a budget", () => {
  test.each<[number, Level]>([
    [799, "normal"],
    [800, "warning"],
    [949, "warning"],
    [950, "throttle"],
    [999, "throttle"],
    [1_000, "block"],
    [5_000, "block"],
  ])("of which %d thousandths are spent leads to %s", (spent, level) => {
    expect(spend(newLadder(START_MS), spent).state.standing).toBe(level);
  });

  test("says which share it was, and which request spent it", () => {
    const warned = spend(newLadder(START_MS), 810);
    expect(warned.change).toMatchObject({
      to: "warning",
      cause: "budget_warning",
      requestId: "r2",
    });
    expect(spend(warned.state, 960).change).toMatchObject({ cause: "budget_throttle" });
    expect(spend(warned.state, 1_000).change).toMatchObject({ cause: "budget_block" });
  });

  test("L5: a top-up lifts its block at once, cool-down or not", () => {
    const blocked = spend(newLadder(START_MS), 1_000).state;
    const uses = [use(1_000, { limit: 2_000 })];
    const step = budgetSpent(blocked, uses, POLICY, { nowMs: START_MS + 1 });
    expect(step.change).toMatchObject({ from: "block", to: "normal", cause: "budget_lifted" });
  });

  test("L5: neither time, decay nor a revive lifts its block", () => {
    const blocked = spend(newLadder(START_MS), 1_000).state;
    expect(stateIn(blocked, 2 * 3_600_000).standing).toBe("block");
    expect(revived(blocked, POLICY, START_MS).change).toBeUndefined();
    expect(revived(blocked, POLICY, START_MS).state).toMatchObject({ standing: "block", rung: 3 });
  });

  test("L5: the end of its window does", () => {
    const blocked = spend(newLadder(START_MS), 1_000).state;
    const endsAtMs = Date.UTC(2026, 10, 23);
    expect(fall(blocked, POLICY, endsAtMs - 1).change).toBeUndefined();
    expect(fall(blocked, POLICY, endsAtMs).change).toMatchObject({ cause: "budget_lifted" });
  });

  test("L5: a block that a score led to stays when the budget is topped up", () => {
    const both = spend(stateAfter(["content_high"]), 1_000).state;
    const lifted = budgetSpent(both, [use(0)], POLICY, { nowMs: START_MS });
    expect(lifted.change).toBeUndefined();
    expect(lifted.state).toMatchObject({ standing: "block", rung: 0 });
  });

  test("L2: a share that swings about a mark does not swing the level", () => {
    let state = newLadder(START_MS);
    const told: unknown[] = [];
    for (const spent of [799, 801, 799, 801, 760, 800, 755]) {
      const step = spend(state, spent);
      if (step.change) told.push(step.change.to);
      state = step.state;
    }
    expect(told).toEqual(["warning"]);
    expect(spend(state, 749).change).toMatchObject({ to: "normal", cause: "budget_lifted" });
  });

  test("the largest share of any window and unit counts, and an ended window none", () => {
    const uses = [
      use(10),
      use(9, { unit: "calls", limit: 10, window: "hour:2026-11-22T09", endsAtMs: START_MS + 1 }),
      use(1, { unit: "tokens", limit: 0 }),
    ];
    expect(largestShare(uses.slice(0, 2), START_MS)).toBe(900);
    expect(largestShare(uses.slice(0, 2), START_MS + 1)).toBe(10);
    // Whoever may have nothing and spent something has spent all of it.
    expect(largestShare(uses, START_MS)).toBe(1_000);
    expect(largestShare([use(0, { limit: 0 })], START_MS)).toBe(0);
  });

  test("what is spent here counts at once, in its own unit and window", () => {
    const uses = [use(100), use(1, { unit: "calls", endsAtMs: START_MS })];
    const spent = { usdMicros: 50n, tokens: 7n, calls: 1n };
    expect(withSpent(uses, spent, START_MS).map((one) => one.spent)).toEqual([150, 1]);
  });
});

describe("other nodes", () => {
  test("L6: what they report stands while they report it, and no longer", () => {
    const held = othersReport(newLadder(START_MS), "quarantine", START_MS);
    expect(held.change).toMatchObject({ from: "normal", to: "quarantine", cause: "mesh" });
    expect(stateIn(held.state, 3_600_000).standing).toBe("quarantine");
    const over = othersReport(held.state, "normal", START_MS);
    expect(over.change).toMatchObject({ to: "normal", cause: "mesh_lifted" });
  });

  test("L6: their word never becomes this node's own, or two would hold each other up for ever", () => {
    const held = othersReport(newLadder(START_MS), "block", START_MS).state;
    expect(held).toMatchObject({ standing: "block", level: "normal", scores: [] });
  });
});

describe("a revive", () => {
  test("takes the score away and leaves the agent at warning, for as long as a score halves in", () => {
    const step = revived(stateAfter(["content_high"]), POLICY, START_MS);
    expect(step.state).toMatchObject({ standing: "warning", scores: [] });
    expect(step.change).toMatchObject({ from: "block", to: "warning", cause: "operator" });
    expect(fall(step.state, POLICY, START_MS + 119_999).change).toBeUndefined();
    expect(fall(step.state, POLICY, START_MS + 120_000).change).toMatchObject({ to: "normal" });
  });

  test("takes back a kill that nobody has heard of yet", () => {
    const policy = { ...POLICY, autoKill: new Set(["content_high" as const]) };
    const due = stateAfter(["content_high"], policy);
    expect(due.killFor).toBe("content_high");
    expect(revived(due, policy, START_MS).state.killFor).toBeUndefined();
  });
});

describe("the automatic kill", () => {
  const policy = { ...POLICY, autoKill: new Set(["tool_outside_grant", "refusal"] as const) };

  test("is asked for by a named cause that finds or brings the agent at quarantine", () => {
    expect(stateAfter(["tool_outside_grant"], policy).killFor).toBe("tool_outside_grant");
    expect(stateAfter(["content_medium"], policy).killFor).toBeUndefined();
    expect(stateAfter(["content_medium", "refusal"], policy).killFor).toBe("refusal");
    // Whoever is only watched is not killed.
    expect(stateAfter(times(10, "refusal"), policy).killFor).toBeUndefined();
  });

  test("is off until policy names the cause, and no longer due once it does not", () => {
    expect(stateAfter(["content_high"]).killFor).toBeUndefined();
    const due = stateAfter(["tool_outside_grant"], policy);
    expect(fall(due, policy, START_MS).state.killFor).toBe("tool_outside_grant");
    expect(fall(due, POLICY, START_MS).state.killFor).toBeUndefined();
  });

  test("is due until it was heard", () => {
    const due = stateAfter(["tool_outside_grant"], policy);
    expect(decodeLadder(encodeLadder(due)).killFor).toBe("tool_outside_grant");
    expect(killHeard(due).killFor).toBeUndefined();
  });
});

describe("evidence of the kernel", () => {
  const see = (state: LadderState, count: number, ms = 0) =>
    kernelEvidence(state, count, POLICY, START_MS + ms).state;

  test("is taken for an accident up to its floor, and for an offence above it", () => {
    const three = see(see(newLadder(START_MS), 2), 1);
    expect(three).toMatchObject({ standing: "normal", scores: [] });
    expect(see(three, 1)).toMatchObject({ standing: "quarantine", cause: "kernel_evidence" });
  });

  test("of an earlier window does not add up with that of a later one", () => {
    const state = see(newLadder(START_MS), 3);
    expect(see(state, 3, 60_000).standing).toBe("normal");
  });
});

test("the stored form comes back, and what is no ladder is refused", () => {
  const state = spend(stateAfter(["content_high", "refusal"]), 900).state;
  expect(decodeLadder(encodeLadder(state))).toEqual(state);
  expect(decodeLadder(encodeLadder(newLadder(START_MS)))).toEqual(newLadder(START_MS));
  const killed = { ...state, standing: "kill" } as unknown as LadderState;
  expect(() => decodeLadder(encodeLadder(killed))).toThrow(StoredStateError);
  const odd = { ...state, killFor: "dislike" } as unknown as LadderState;
  expect(() => decodeLadder(encodeLadder(odd))).toThrow(StoredStateError);
  expect(() => decodeLadder(Buffer.from("[]"))).toThrow(StoredStateError);
});

type Happening =
  | { readonly t: "offence"; readonly cause: LadderCause }
  | { readonly t: "spent"; readonly spent: number }
  | { readonly t: "others"; readonly others: Level }
  | { readonly t: "revive" }
  | { readonly t: "time" };

const happening: fc.Arbitrary<Happening> = fc.oneof(
  fc.record({ t: fc.constant("offence" as const), cause: fc.constantFrom(...LADDER_CAUSES) }),
  fc.record({ t: fc.constant("spent" as const), spent: fc.integer({ min: 0, max: 1_200 }) }),
  fc.record({
    t: fc.constant("others" as const),
    others: fc.constantFrom<Level>("normal", "warning", "quarantine", "block"),
  }),
  fc.record({ t: fc.constant("revive" as const) }),
  fc.record({ t: fc.constant("time" as const) }),
);
const history = fc.array(
  // Back as well: a wall clock may be set.
  fc.record({ what: happening, passMs: fc.integer({ min: -30_000, max: 400_000 }) }),
  { maxLength: 40 },
);

function happen(state: LadderState, what: Happening, nowMs: number): LadderStep {
  switch (what.t) {
    case "offence":
      return climb(state, offence(what.cause, state.standing), POLICY, nowMs);
    case "spent":
      return spend(state, what.spent, nowMs);
    case "others":
      return othersReport(state, what.others, nowMs);
    case "revive":
      return revived(state, POLICY, nowMs);
    case "time":
      return fall(state, POLICY, nowMs);
  }
}

type Look = (before: LadderState, step: LadderStep, nowMs: number, what: Happening) => void;

function forEveryHistory(look: Look): void {
  fc.assert(
    fc.property(history, (all) => {
      let nowMs = START_MS;
      let state = newLadder(nowMs);
      for (const { what, passMs } of all) {
        nowMs += passMs;
        const step = happen(state, what, nowMs);
        look(state, step, nowMs, what);
        state = step.state;
      }
    }),
    { numRuns: count, seed },
  );
}

describe("for every history", () => {
  test("L1: time alone climbs nowhere, and a change is told whenever the standing is another", () => {
    forEveryHistory((before, { state, change }, _, what) => {
      if (what.t === "time")
        expect(index(state.standing)).toBeLessThanOrEqual(index(before.standing));
      expect(change === undefined).toBe(state.standing === before.standing);
      if (change) expect([change.from, change.to]).toEqual([before.standing, state.standing]);
    });
  });

  test("L2: a level just entered is not left, and one just left is not entered, without news", () => {
    forEveryHistory((_, { state }, nowMs) => {
      const settled = fall(state, POLICY, nowMs).state;
      expect(fall(settled, POLICY, nowMs).change).toBeUndefined();
      const { uses, others } = settled;
      if (uses.length > 0)
        expect(budgetSpent(settled, uses, POLICY, { nowMs }).change).toBeUndefined();
      expect(othersReport(settled, others, nowMs).change).toBeUndefined();
    });
  });

  test("L2: a level that its score led to is entered and left once by one burst", () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...LADDER_CAUSES), { maxLength: 30 }), (causes) => {
        let state = stateAfter(causes);
        let falls = 0;
        for (let atMs = 0; atMs <= 3 * 3_600_000; atMs += 15_000) {
          const step = fall(state, POLICY, START_MS + atMs);
          if (step.change) {
            expect(index(step.change.to)).toBeLessThan(index(step.change.from));
            falls += 1;
          }
          state = step.state;
        }
        expect(falls).toBeLessThanOrEqual(4);
        expect(state.standing).toBe("normal");
      }),
      { numRuns: Math.ceil(count / 10), seed },
    );
  });

  test("L3: nobody leaves a block that a score led to before its cool-down, but by an operator", () => {
    forEveryHistory((before, { state }, nowMs, what) => {
      if (before.level !== "block" || state.level === "block" || what.t === "revive") return;
      expect(nowMs - before.levelSinceMs).toBeGreaterThanOrEqual(POLICY.blockCoolDownMs);
    });
  });

  test("L4: kill is never a level of it", () => {
    forEveryHistory((_, { state }) => expect(state.standing).not.toBe("kill"));
  });

  test("L5, L6: it stands at the highest of its three levels", () => {
    forEveryHistory((_, { state }) => {
      const own = index(state.level);
      const others = index(state.others);
      const budget = [0, 1, 2, 4][state.rung] as number;
      expect(index(state.standing)).toBe(Math.max(own, others, budget));
    });
  });

  test("what is kept of an agent stays small, and its stored form comes back", () => {
    forEveryHistory((_, { state }) => {
      expect(state.scores.length).toBeLessThanOrEqual(LADDER_CAUSES.length);
      expect(decodeLadder(encodeLadder(state))).toEqual(JSON.parse(JSON.stringify(state)));
    });
  });
});

describe("refusals within a minute", () => {
  const within = (n: number) =>
    fc.array(fc.integer({ min: 0, max: 60_000 }), { minLength: n, maxLength: n });
  const standingAfter = (offsets: readonly number[]) => {
    let state = newLadder(START_MS);
    for (const ms of offsets.toSorted((a, b) => a - b)) {
      state = climb(state, offence("refusal"), POLICY, START_MS + ms).state;
    }
    return state.standing;
  };

  test.each<[number, Level, Level]>([
    [3, "warning", "normal"],
    [10, "throttle", "warning"],
  ])("%d lead to %s however they are spaced, and one fewer never does", (n, reached, below) => {
    fc.assert(
      fc.property(within(n), (offsets) => {
        expect(standingAfter(offsets)).toBe(reached);
        expect(standingAfter(offsets.slice(1))).toBe(below);
      }),
      { numRuns: count, seed },
    );
  });
});

test("a rung is reached at its mark and left clearly below it", () => {
  expect(budgetRung(800, 0, POLICY)).toBe(1);
  expect(budgetRung(751, 1, POLICY)).toBe(1);
  expect(budgetRung(749, 1, POLICY)).toBe(0);
  expect(budgetRung(901, 2, POLICY)).toBe(2);
  expect(budgetRung(899, 2, POLICY)).toBe(1);
  // From block it falls as far as the share allows, with the hysteresis of what lies below.
  expect(budgetRung(999, 3, POLICY)).toBe(2);
  expect(budgetRung(700, 3, POLICY)).toBe(0);
});
