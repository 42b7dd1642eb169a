import { describe, expect, test } from "vitest";
import { NOTHING, newLease } from "../../../../node/actors/account-book.ts";
import { step } from "../../../../node/actors/agent-actor.ts";
import {
  type AgentMessage,
  type AgentState,
  type Effect,
  newAgent,
  type StepEnv,
} from "../../../../node/actors/agent-state.ts";
import {
  ASKS_PER_TOP_UP_MAX,
  CHUNK,
  REFUSAL_BELIEVED_NS,
  TOP_UPS_WAITING_MAX,
} from "../../../../node/actors/top-ups.ts";
import type { Cost } from "../../../../node/decision/facts.ts";
import { policy } from "../../../support/builders.ts";

const usd = (usdMicros: bigint): Cost => ({ ...NOTHING, usdMicros });
const ONLY_USD: Cost = { usdMicros: 0n, tokens: 1n, calls: 1n };
const ALL_UNLIMITED: Cost = { usdMicros: 1n, tokens: 1n, calls: 1n };
const HOUR_NS = 3_600_000_000_000n;

/** An actor with a table that keeps what is lent to it, moved by hand. */
class Stage {
  state: AgentState = newAgent(0);
  nowNs = 1n;
  balance = NOTHING;
  returned = 0;
  /** Effects of the last message. */
  effects: readonly Effect[] = [];
  durable = false;
  #leases = 0;

  say(message: AgentMessage): readonly Effect[] {
    const env: StepEnv = {
      nowMs: 0,
      nowNs: this.nowNs,
      ladder: policy().ladder,
      balance: this.balance,
      returned: this.returned,
    };
    // A2: whoever changed the state that was given would find it frozen.
    freeze(this.state);
    const { state, effects, durable } = step(this.state, message, env);
    this.state = state;
    this.effects = effects;
    this.durable = durable;
    for (const effect of effects) {
      if (effect.t !== "lend") continue;
      expect(durable, "A3: what is lent is stored first").toBe(true);
      this.balance = {
        usdMicros: this.balance.usdMicros + effect.amount.usdMicros,
        tokens: this.balance.tokens + effect.amount.tokens,
        calls: this.balance.calls + effect.amount.calls,
      };
    }
    return effects;
  }

  topUp(id: number, need: Cost, floor?: Cost): readonly Effect[] {
    return this.say({ t: "top_up", id, need, floor });
  }

  lease(amount: Cost, over: { unlimited?: Cost; deadlineNs?: bigint } = {}): readonly Effect[] {
    const { unlimited = ONLY_USD, deadlineNs = HOUR_NS } = over;
    const lease = newLease({ id: `l${++this.#leases}`, epoch: 1, amount, deadlineNs });
    return this.say({ t: "leased", lease, unlimited, answers: true });
  }

  /** The ledger's no, and what it could have lent. */
  refuse(available = NOTHING): readonly Effect[] {
    const answer = { outcome: "exhausted", available, shortfall: undefined } as const;
    return this.say({ t: "not_leased", answer, returned: 0 });
  }

  hold(amount: bigint): void {
    expect(this.balance.usdMicros).toBeGreaterThanOrEqual(amount);
    this.balance = { ...this.balance, usdMicros: this.balance.usdMicros - amount };
  }

  get replies() {
    return this.effects.flatMap((one) => (one.t === "reply" ? [[one.id, one.answer.outcome]] : []));
  }

  get asked() {
    return this.effects.flatMap((one) => (one.t === "ask" ? [one.asking] : []));
  }

  get left(): Cost | undefined {
    return this.effects.find((one) => one.t === "reply")?.answer.left;
  }
}

function freeze(value: unknown): void {
  if (typeof value !== "object" || value === null || Object.isFrozen(value)) return;
  Object.freeze(value);
  for (const member of Object.values(value)) freeze(member);
}

describe("top-ups", () => {
  test("ask the ledger for what is short, and for a chunk", () => {
    const stage = new Stage();
    stage.balance = usd(300n);
    stage.topUp(1, usd(1_000n));
    expect(stage.asked).toMatchObject([
      { kind: "need", need: usd(700n), want: { ...NOTHING, usdMicros: CHUNK.usdMicros } },
    ]);
    expect(stage.replies).toEqual([]);
  });

  test("ask for the whole shortfall where it is more than a chunk", () => {
    const stage = new Stage();
    stage.topUp(1, usd(5_000_000n));
    expect(stage.asked).toMatchObject([{ need: usd(5_000_000n), want: usd(5_000_000n) }]);
  });

  test("T2: one lease answers as many as it can serve together, the others go on waiting", () => {
    const stage = new Stage();
    for (const id of [1, 2, 3]) stage.topUp(id, usd(800_000n));
    stage.lease(usd(1_700_000n));
    expect(stage.replies).toEqual([
      [1, "ok"],
      [2, "ok"],
    ]);
    expect(stage.asked).toMatchObject([{ id: 3, need: usd(700_000n) }]);
    expect(stage.balance).toEqual(usd(1_600_000n));
  });

  test("T3: beyond what was asked for, no more than a chunk is lent", () => {
    const stage = new Stage();
    stage.topUp(1, usd(10n));
    stage.lease(usd(9_000_000n));
    expect(stage.balance).toEqual(usd(CHUNK.usdMicros));
    stage.hold(10n);
    stage.topUp(2, usd(CHUNK.usdMicros));
    stage.hold(CHUNK.usdMicros);
    expect(stage.balance.usdMicros).toBeLessThanOrEqual(CHUNK.usdMicros);
  });

  test("a balance that came back meanwhile answers without lending", () => {
    const stage = new Stage();
    stage.topUp(1, usd(10n));
    stage.lease(usd(10n));
    stage.topUp(2, usd(10n));
    expect(stage.replies).toEqual([[2, "ok"]]);
    expect(stage.effects).toHaveLength(1);
  });

  test("units without a limit are neither asked for nor lent", () => {
    const stage = new Stage();
    stage.topUp(1, { usdMicros: 10n, tokens: 99n, calls: 1n });
    expect(stage.asked).toMatchObject([{ need: { usdMicros: 10n, tokens: 99n, calls: 1n } }]);
    stage.lease(usd(10n));
    expect(stage.replies).toEqual([[1, "ok"]]);
    expect(stage.effects).toContainEqual({ t: "unlimited", units: ONLY_USD });
  });

  test("the right not to count a unit ends with the lease that brought it", () => {
    const stage = new Stage();
    stage.topUp(1, usd(10n));
    stage.lease(NOTHING, { unlimited: ALL_UNLIMITED, deadlineNs: 100n });
    expect(stage.replies).toEqual([[1, "ok"]]);
    stage.nowNs = 100n;
    stage.say({ t: "taken_back", amount: NOTHING, giveBack: false });
    expect(stage.effects).toContainEqual({ t: "unlimited", units: NOTHING });
    stage.topUp(2, usd(10n));
    expect(stage.asked).toHaveLength(1);
  });

  test("after a change of limits nobody is told ok for a unit that may count now", () => {
    const stage = new Stage();
    stage.topUp(1, usd(10n));
    stage.lease(NOTHING, { unlimited: ALL_UNLIMITED });
    stage.say({ t: "limits_changed" });
    expect(stage.effects).toEqual([{ t: "unlimited", units: NOTHING }]);
    stage.topUp(2, usd(10n));
    expect([stage.replies, stage.asked.length]).toEqual([[], 1]);
  });

  test("an answer that was under way when limits changed says nothing about them", () => {
    const stage = new Stage();
    stage.topUp(1, usd(10n));
    stage.say({ t: "limits_changed" });
    stage.lease(NOTHING, { unlimited: ALL_UNLIMITED });
    expect(stage.effects).toContainEqual({ t: "unlimited", units: NOTHING });
    expect([stage.replies, stage.asked.length]).toEqual([[], 1]);
    stage.lease(usd(10n));
    expect(stage.replies).toEqual([[1, "ok"]]);
  });

  test("a lease that ended before it came goes back, and nobody asks on", () => {
    const stage = new Stage();
    stage.topUp(1, usd(10n));
    stage.nowNs = 500n;
    stage.lease(usd(10n), { deadlineNs: 400n });
    expect(stage.replies).toEqual([[1, "unavailable"]]);
    expect(stage.asked).toEqual([]);
    expect(stage.effects).toContainEqual({
      t: "settle",
      settlement: { leaseId: "l1", epoch: 1, spent: NOTHING, final: true },
    });
  });

  test("a lease that is found again is used, and the question that waits stays asked", () => {
    const stage = new Stage();
    stage.topUp(1, usd(10n));
    const lease = newLease({ id: "lost", epoch: 1, amount: usd(4n), deadlineNs: HOUR_NS });
    stage.say({ t: "leased", lease, unlimited: undefined, answers: false });
    expect([stage.replies, stage.asked]).toEqual([[], []]);
    expect(stage.state.asking).toMatchObject({ need: usd(10n) });
    stage.lease(usd(10n));
    expect(stage.replies).toEqual([[1, "ok"]]);
  });

  test("leases that never suffice end in unavailable, not in asking for ever", () => {
    const stage = new Stage();
    stage.topUp(1, usd(1_000n));
    for (let ask = 1; ask < ASKS_PER_TOP_UP_MAX; ask++) {
      stage.lease(NOTHING);
      expect(stage.asked).toHaveLength(1);
    }
    stage.lease(NOTHING);
    expect([stage.replies, stage.asked]).toEqual([[[1, "unavailable"]], []]);
  });

  test("T4: more than can wait are refused at once, and nobody answers means unavailable for all", () => {
    const stage = new Stage();
    for (let id = 0; id < TOP_UPS_WAITING_MAX; id++) stage.topUp(id, usd(10n));
    stage.topUp(9_999, usd(10n));
    expect(stage.replies).toEqual([[9_999, "unavailable"]]);
    stage.say({ t: "not_leased", answer: { outcome: "unavailable" }, returned: 0 });
    expect(stage.replies).toHaveLength(TOP_UPS_WAITING_MAX);
    expect(stage.state.waiting).toEqual([]);
  });
});

describe("the ledger's no", () => {
  test("T4: says what would have fitted, of what lies here and in the ledger", () => {
    const stage = new Stage();
    stage.balance = usd(50n);
    stage.topUp(1, usd(3_000_000n));
    stage.refuse(usd(400n));
    expect([stage.replies, stage.asked]).toEqual([[[1, "exhausted"]], []]);
    expect(stage.left).toEqual(usd(450n));
    stage.topUp(2, usd(450n));
    expect(stage.asked).toMatchObject([{ kind: "need", need: usd(400n) }]);
  });

  test("T4: is followed by drawing what there is where policy lowers output limits", () => {
    const stage = new Stage();
    stage.topUp(1, usd(3_000_000n), usd(700n));
    stage.refuse(usd(2_000_000n));
    expect(stage.asked).toMatchObject([{ kind: "draw", need: usd(700n), want: usd(3_000_000n) }]);
    stage.lease(usd(2_000_000n));
    expect(stage.left).toEqual(usd(2_000_000n));
    expect(stage.balance).toEqual(usd(2_000_000n));
  });

  test("T4: nothing is drawn where not even the lowest output limit fits", () => {
    const stage = new Stage();
    stage.topUp(1, usd(3_000_000n), usd(700n));
    stage.refuse(usd(699n));
    expect([stage.replies, stage.asked]).toEqual([[[1, "exhausted"]], []]);
    expect(stage.left).toEqual(NOTHING);
  });

  test("T4: the next one draws without asking for what was refused a moment ago", () => {
    const stage = new Stage();
    stage.topUp(1, usd(3_000n));
    stage.refuse(usd(1_000n));
    stage.topUp(2, usd(3_000n), usd(700n));
    expect(stage.asked).toMatchObject([{ kind: "draw", need: usd(700n), want: usd(3_000n) }]);
    stage.refuse(usd(10n));
    expect(stage.replies).toEqual([[2, "exhausted"]]);
  });

  test("counts units without a limit as covered in what it says is left", () => {
    const stage = new Stage();
    stage.topUp(1, usd(10n));
    stage.lease(usd(10n));
    stage.hold(10n);
    stage.topUp(2, { usdMicros: 10n, tokens: 500n, calls: 1n });
    stage.refuse();
    expect(stage.left).toEqual({ usdMicros: 0n, tokens: 500n, calls: 1n });
  });

  test("stands a moment for whoever needs as much, and not for who needs less", () => {
    const stage = new Stage();
    stage.topUp(1, usd(1_000n), usd(300n));
    stage.refuse(usd(400n));
    stage.lease(usd(400n));
    stage.hold(400n);
    // The draw took 400 of what was there, so 600 is what does not fit any more.
    stage.topUp(2, usd(600n));
    expect(stage.replies).toEqual([[2, "exhausted"]]);
    stage.topUp(3, usd(599n));
    expect([stage.replies, stage.asked.length]).toEqual([[], 1]);
  });

  test("is asked for again once it is old", () => {
    const stage = new Stage();
    stage.topUp(1, usd(1n));
    stage.refuse();
    expect(stage.replies).toEqual([[1, "exhausted"]]);
    stage.nowNs += REFUSAL_BELIEVED_NS;
    stage.topUp(2, usd(1n));
    expect(stage.asked).toHaveLength(1);
  });

  test("T1: is not believed once money of this node has come back to the ledger", () => {
    const stage = new Stage();
    stage.topUp(1, usd(10n));
    stage.returned = 1;
    stage.refuse();
    expect([stage.replies, stage.asked.length]).toEqual([[], 1]);
    stage.say({
      t: "not_leased",
      answer: { outcome: "exhausted", available: NOTHING, shortfall: undefined },
      returned: 1,
    });
    expect(stage.replies).toEqual([[1, "exhausted"]]);
    stage.returned = 2;
    stage.topUp(2, usd(10n));
    expect([stage.replies, stage.asked.length]).toEqual([[], 1]);
  });

  test("is not believed when it answers a question of before the limits changed", () => {
    const stage = new Stage();
    stage.topUp(1, usd(10n));
    stage.say({ t: "limits_changed" });
    stage.refuse();
    expect([stage.replies, stage.asked.length]).toEqual([[], 1]);
  });

  test("to one lets the others be asked for", () => {
    const stage = new Stage();
    stage.topUp(1, usd(1_000n));
    stage.topUp(2, usd(5n));
    stage.refuse(usd(4n));
    expect(stage.replies).toEqual([[1, "exhausted"]]);
    expect(stage.asked).toMatchObject([{ kind: "need", need: usd(5n) }]);
    stage.refuse(usd(4n));
    expect(stage.replies).toEqual([[2, "exhausted"]]);
  });

  test("to a large request does not keep a small one from what lies there", () => {
    const stage = new Stage();
    stage.balance = usd(50n);
    stage.topUp(1, usd(1_000n));
    stage.refuse();
    stage.topUp(2, usd(50n));
    expect(stage.replies).toEqual([[2, "ok"]]);
  });

  test("is given at once for amounts that no limit reaches", () => {
    const stage = new Stage();
    stage.topUp(1, usd(2n ** 60n));
    expect(stage.replies).toEqual([[1, "exhausted"]]);
  });
});

describe("what requests spend", () => {
  test("beyond everything lent is a debt, stored before anything else", () => {
    const stage = new Stage();
    stage.topUp(1, usd(10n));
    stage.lease(usd(10n));
    stage.say({ t: "settled", spent: usd(10n), uncovered: NOTHING, requestId: "r1" });
    expect(stage.durable).toBe(false);
    stage.say({ t: "settled", spent: usd(5n), uncovered: usd(5n), requestId: "r1" });
    expect(stage.durable).toBe(true);
    expect(stage.state.book.debt).toEqual(usd(5n));
  });

  test("brings money of an ended lease back out of the table", () => {
    const stage = new Stage();
    stage.topUp(1, usd(10n));
    stage.lease(usd(10n), { deadlineNs: 100n });
    stage.nowNs = 100n;
    stage.say({ t: "settled", spent: usd(4n), uncovered: NOTHING, requestId: "r1" });
    expect(stage.effects).toEqual([{ t: "take_back" }]);
    stage.say({ t: "taken_back", amount: usd(6n), giveBack: false });
    expect(stage.effects).toEqual([
      { t: "settle", settlement: { leaseId: "l1", epoch: 1, spent: usd(4n), final: true } },
      { t: "unlimited", units: NOTHING },
    ]);
  });

  test("B5: an ended lease keeps what requests hold, and the rest goes back at once", () => {
    const stage = new Stage();
    stage.topUp(1, usd(10n));
    stage.lease(usd(2_000_000n), { deadlineNs: 100n });
    stage.hold(10n);
    stage.nowNs = 100n;
    const rest = usd(stage.balance.usdMicros);
    stage.balance = NOTHING;
    stage.say({ t: "taken_back", amount: rest, giveBack: false });
    const kept = { leaseId: "l1", epoch: 1, spent: NOTHING, keep: usd(10n), final: false };
    expect(stage.effects[0]).toEqual({ t: "settle", settlement: kept });
    expect(stage.durable).toBe(true);
    stage.say({ t: "settled", spent: usd(4n), uncovered: NOTHING, requestId: "r1" });
    stage.say({ t: "taken_back", amount: usd(6n), giveBack: false });
    expect(stage.effects).toEqual([
      { t: "settle", settlement: { leaseId: "l1", epoch: 1, spent: usd(4n), final: true } },
    ]);
  });

  test("told after the row was freed still closes the lease exactly", () => {
    const stage = new Stage();
    stage.topUp(1, usd(10n));
    stage.lease(usd(10n));
    stage.say({ t: "taken_back", amount: usd(3n), giveBack: true });
    const kept = { leaseId: "l1", epoch: 1, spent: NOTHING, keep: usd(7n), final: false };
    expect(stage.effects).toEqual([{ t: "settle", settlement: kept }]);
    stage.say({ t: "settled", spent: usd(7n), uncovered: NOTHING, requestId: "r1" });
    stage.say({ t: "taken_back", amount: NOTHING, giveBack: true });
    expect(stage.effects).toEqual([
      { t: "settle", settlement: { leaseId: "l1", epoch: 1, spent: usd(7n), final: true } },
    ]);
  });

  test("is reported while the lease goes on, when asked for and when there is news", () => {
    const stage = new Stage();
    stage.topUp(1, usd(10n));
    stage.lease(usd(10n));
    stage.say({ t: "settled", spent: usd(4n), uncovered: NOTHING, requestId: "r1" });
    expect(stage.say({ t: "tick", report: false })).toEqual([]);
    expect(stage.say({ t: "tick", report: true })).toHaveLength(1);
    expect(stage.say({ t: "tick", report: true })).toEqual([]);
    expect(stage.durable).toBe(false);
  });
});

const REFUSED = {
  t: "event",
  allowed: false,
  offence: { cause: "refusal", judgedAt: "normal", requestId: "r1" },
} as const;

test("a score that reaches a level is stored and told", () => {
  const stage = new Stage();
  for (let i = 0; i < 2; i++) {
    expect(stage.say(REFUSED)).toEqual([]);
    expect(stage.durable).toBe(false);
  }
  stage.say(REFUSED);
  expect(stage.durable).toBe(true);
  expect(stage.effects).toEqual([
    {
      t: "standing",
      change: { from: "normal", to: "warning", cause: "refusal", requestId: "r1" },
    },
  ]);
  expect(stage.state.refused).toBe(3);
});

test("a decision that stands for others counts with them", () => {
  const stage = new Stage();
  stage.say({ t: "event", allowed: true, offence: undefined, more: 9 });
  stage.say({ t: "event", allowed: true, offence: undefined });
  stage.say({ t: "event", allowed: false, offence: undefined, more: 2 });
  expect([stage.state.allowed, stage.state.refused]).toEqual([11, 3]);
});
