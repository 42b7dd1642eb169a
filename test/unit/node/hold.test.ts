import { describe, expect, test } from "vitest";
import { isMissing } from "../../../node/decision/facts.ts";
import { hold } from "../../../node/hold.ts";
import { worstCase } from "../../../node/pricing/worst-case.ts";
import type { NoShare } from "../../../node/rate-need.ts";
import { setKilled } from "../../../node/table/scope-cells.ts";
import { setPolicyVersion } from "../../../node/table/table.ts";
import { contentRule, grant, model, policy, price } from "../../support/builders.ts";
import { CELLS, LoopWorld, refusalOf } from "./loop-world.ts";

const NOTHING = { usdMicros: 0n, tokens: 0n, calls: 0n };

const DAY_ENDS = Date.UTC(2026, 10, 23);
const NO = {
  no: 1,
  untilNs: 0n,
  returned: 0,
  need: NOTHING,
  available: NOTHING,
  lendable: NOTHING,
};

/** What a request of `asked` with this output limit holds. */
function worst(maxOutputTokens: number, distrustMilli = 1_100) {
  return worstCase({
    price: price({ distrustMilli }),
    inputBytes: 400,
    messages: 1,
    tools: 0,
    n: 1,
    maxOutputTokens,
  });
}

function clamping(): LoopWorld {
  const granted = grant({ clampFloorTokens: 100 });
  return new LoopWorld({ agents: new Map([[granted.agentId, granted]]) });
}

function strict(): LoopWorld {
  const granted = grant({ auditStrict: true });
  const world = new LoopWorld({ agents: new Map([[granted.agentId, granted]]) });
  const { cost, overrunMicros } = worst(1_000);
  world.lend(cost, overrunMicros);
  return world;
}

describe("hold", () => {
  test("a request that the row can pay for goes ahead without asking", async () => {
    const world = new LoopWorld();
    const { cost, overrunMicros } = worst(1_000);
    world.lend(cost, overrunMicros);
    const held = await hold(world.asked(), world.loop);
    expect("permit" in held && held.permit.request.requestId).toBe(held.facts.requestId);
    expect(world.topUps).toEqual([]);
    expect(world.left).toEqual({ ...NOTHING, overrunMicros: 0n });
    expect(world.decisions).toMatchObject([
      { dec: "allow", hold: { usd_u: Number(cost.usdMicros) } },
    ]);
  });

  test("a short row is topped up, and the decision starts again", async () => {
    const world = new LoopWorld();
    world.onTopUp = ({ need, overrunMicros }) => {
      world.lend(need, overrunMicros);
      return { outcome: "ok" };
    };
    const held = await hold(world.asked(), world.loop);
    expect("permit" in held).toBe(true);
    expect(world.topUps).toMatchObject([{ need: worst(1_000).cost, agentId: "research/worker-1" }]);
    expect(world.decisions).toHaveLength(1);
  });

  test("an agent that is killed while it waits for money gets neither", async () => {
    const world = new LoopWorld();
    world.onTopUp = ({ need, overrunMicros }) => {
      world.lend(need, overrunMicros);
      setKilled(world.table, CELLS.agent, true);
      return { outcome: "ok" };
    };
    expect(refusalOf(await hold(world.asked(), world.loop))).toBe("killed_agent");
    expect(world.left).toMatchObject(worst(1_000).cost);
  });

  test("what was lent and taken by others is asked for again, and is never a final no", async () => {
    const world = new LoopWorld();
    let tries = 0;
    world.onTopUp = ({ need, overrunMicros }) => {
      tries += 1;
      if (tries === 3) world.lend(need, overrunMicros);
      return { outcome: "ok" };
    };
    expect("permit" in (await hold(world.asked(), world.loop))).toBe(true);
    expect(tries).toBe(3);
  });

  test("whoever is always too late hears that the budget was unavailable, in bounded time", async () => {
    const world = new LoopWorld();
    world.onTopUp = () => {
      world.clock.advance(100);
      return { outcome: "ok" };
    };
    const held = await hold(world.asked(), world.loop);
    expect(refusalOf(held)).toBe("budget_unavailable");
    expect(world.topUps).toHaveLength(3);
    world.topUps.length = 0;
    world.onTopUp = () => ({ outcome: "ok" });
    expect(refusalOf(await hold(world.asked(), world.loop))).toBe("budget_unavailable");
    expect(world.topUps.length).toBeLessThanOrEqual(8);
    expect(world.left).toEqual({ ...NOTHING, overrunMicros: 0n });
  });

  test("whoever is killed during the last of its waits for money hears of that, not of the money", async () => {
    const world = new LoopWorld();
    world.onTopUp = () => ({ outcome: "ok" });
    expect(refusalOf(await hold(world.asked(), world.loop))).toBe("budget_unavailable");
    const waits = world.topUps.splice(0).length;
    world.onTopUp = () => {
      if (world.topUps.length === waits) setKilled(world.table, CELLS.agent, true);
      return { outcome: "ok" };
    };
    expect(refusalOf(await hold(world.asked(), world.loop))).toBe("killed_agent");
    expect(world.topUps).toHaveLength(waits);
  });

  test.each([
    ["exhausted", "budget_exhausted"],
    ["overrun_exhausted", "overrun_exhausted"],
    ["unavailable", "budget_unavailable"],
    ["row_gone", "budget_unavailable"],
  ] as const)("%s refuses with %s", async (outcome, reason) => {
    const world = new LoopWorld();
    world.onTopUp = () => ({ outcome });
    const held = await hold(world.asked(), world.loop);
    expect(refusalOf(held)).toBe(reason);
    expect("refused" in held && held.refused).toMatchObject({
      recorded: false,
      stages: "PPPPPPPPPSPPPD",
      refusal: { stage: 14 },
    });
    expect(world.records).toEqual([]);
  });

  test("a refusal for money says what would have fitted", async () => {
    const world = new LoopWorld();
    const left = worst(300).cost;
    world.lend({}, 1_000n);
    const shortfall = { account: "team/research", window: "day:2026-11-22", endsAtMs: DAY_ENDS };
    world.onTopUp = () => ({ outcome: "exhausted", left, refusal: { ...NO, shortfall } });
    const held = await hold(world.asked(), world.loop);
    expect("refused" in held && held.refused.refusal?.detail).toBe(
      "asked for 0.002102 USD and 1407 tokens, 0.000702 USD and 707 tokens would have fitted; " +
        "at most 300 output tokens fit; " +
        "the limit is that of team/research by the day, until 2026-11-23T00:00:00.000Z",
    );
    world.onTopUp = () => ({ outcome: "exhausted", left: NOTHING });
    const none = await hold(world.asked(), world.loop);
    expect("refused" in none && none.refused.refusal?.detail).toMatch(
      /^asked for .*, 0.00 USD and 0 tokens and 0 calls would .*; not even one output token fits$/,
    );
  });

  test("a team that opted in has the output limit lowered to what fits", async () => {
    const world = clamping();
    world.lend({}, 1_000n);
    world.onTopUp = ({ floor }) => {
      expect(floor).toEqual(worst(100).cost);
      world.lend(worst(300).cost);
      return { outcome: "exhausted", left: worst(300).cost };
    };
    const held = await hold(world.asked(), world.loop);
    if (!("permit" in held)) throw new Error(refusalOf(held));
    const body = JSON.parse(Buffer.from(held.permit.request.body).toString());
    expect(body.max_completion_tokens).toBe(300);
    expect(world.decisions).toMatchObject([
      { dec: "allow", clamped: 300, hold: { usd_u: Number(worst(300).cost.usdMicros) } },
    ]);
  });

  test("a limit that was filled in is lowered in the same way", async () => {
    const world = clamping();
    world.lend({}, 10_000n);
    world.onTopUp = () => {
      world.lend(worst(300).cost);
      return { outcome: "exhausted", left: worst(300).cost };
    };
    const asked = world.asked();
    if (asked.read) asked.read = { ...asked.read, maxOutputTokens: undefined };
    const held = await hold(asked, world.loop);
    expect("permit" in held && world.decisions[0]?.clamped).toBe(300);
  });

  test("no limit is lowered below the team's floor, nor twice", async () => {
    const world = clamping();
    world.lend({}, 1_000n);
    world.onTopUp = () => ({ outcome: "exhausted", left: worst(99).cost });
    const below = await hold(world.asked(), world.loop);
    expect("refused" in below && below.refused.refusal).toMatchObject({
      reason: "budget_exhausted",
      detail: expect.stringMatching(/; at most 99 output tokens fit$/),
    });
    // Told that 300 fit, and each time others are quicker.
    const floors: unknown[] = [];
    world.onTopUp = ({ floor }) => {
      floors.push(floor);
      return { outcome: "exhausted", left: worst(300 - floors.length).cost };
    };
    expect(refusalOf(await hold(world.asked(), world.loop))).toBe("budget_exhausted");
    expect(floors).toEqual([worst(100).cost, undefined]);
  });

  test("an agent is too fast only where its rate is in use: nobody's answer says nothing about it", async () => {
    const rate = { metric: "requests", amount: 60, windowMs: 60_000, burst: 10 } as const;
    const granted = grant({ rate: [rate] });
    const world = new LoopWorld({ agents: new Map([[granted.agentId, granted]]) });
    const answerTo = async (none: NoShare) => {
      world.onNeedRate = () => none;
      const held = await hold(world.asked(), world.loop);
      return "refused" in held ? held.refused.refusal : undefined;
    };
    const unsaid = { reason: "rate_unavailable", stage: 13, retryAfterMs: 1_000 };
    expect(await answerTo("unanswered")).toEqual(unsaid);
    const inUse = { reason: "rate_requests", retryAfterMs: 700 };
    expect(await answerTo({ retryMs: 700 })).toMatchObject(inUse);
  });

  test("distrust that bills have taught this node is held in the overrun account", async () => {
    const world = new LoopWorld();
    world.distrust.set("openai/gpt-5-mini", 2_000);
    const { cost, overrunMicros } = worst(1_000, 2_000);
    expect(overrunMicros).toBe(cost.usdMicros);
    world.lend(cost, overrunMicros);
    expect("permit" in (await hold(world.asked(), world.loop))).toBe(true);
    expect(world.left.overrunMicros).toBe(0n);
    // Less than the price entry's own is no news.
    world.distrust.set("openai/gpt-5-mini", 1_001);
    world.lend(worst(1_000).cost, worst(1_000).overrunMicros);
    expect("permit" in (await hold(world.asked(), world.loop))).toBe(true);
    expect(world.left.overrunMicros).toBe(0n);
  });

  test("a policy that moves twice refuses, and every request has one decision on record at most", async () => {
    const world = new LoopWorld();
    world.lend(worst(1_000).cost, worst(1_000).overrunMicros);
    const loop = world.loop;
    let version = 1;
    // Each look at the policy finds the one that was in force, and then another is.
    const moving = {
      ...loop,
      policyOf: () => {
        const found = policy({ version });
        version += 1;
        setPolicyVersion(world.table, version);
        return found;
      },
    };
    const held = await hold(world.asked(), moving);
    expect(refusalOf(held)).toBe("policy_changed");
    expect(world.records).toEqual([]);
    expect(world.left).toMatchObject(worst(1_000).cost);
  });

  test("a stage in shadow cannot make up a model: what has nowhere to go is refused", async () => {
    const world = new LoopWorld({ shadowStages: new Set([9]) });
    const asked = world.asked();
    if (asked.read) asked.read = { ...asked.read, model: "no-such-model" };
    const held = await hold(asked, world.loop);
    expect(refusalOf(held)).toBe("model_unknown");
    expect(world.records).toEqual([]);
  });

  test("a body that was never read is not answered as if it had been a list of models", async () => {
    const world = new LoopWorld();
    const { read: _read, body: _body, ...unread } = world.asked();
    expect(refusalOf(await hold(unread, world.loop))).toBe("policy_missing");
  });

  test("the list of models is recorded and costs nothing", async () => {
    const world = new LoopWorld();
    const { read: _read, body: _body, ...asked } = world.asked();
    if (isMissing(asked.found)) throw new Error("no route");
    const route = asked.found.dialect.routes.find(({ kind }) => kind === "models");
    if (route === undefined) throw new Error("no route");
    const held = await hold({ ...asked, found: { ...asked.found, route } }, world.loop);
    expect("local" in held).toBe(true);
    expect(world.decisions).toMatchObject([{ dec: "allow" }]);
    expect(world.decisions[0]?.hold).toBeUndefined();
  });

  test("a request that the chain refuses asks for nothing and holds nothing", async () => {
    const world = new LoopWorld({ content: [contentRule()] });
    const asked = world.asked({
      scan: { hits: [{ ruleId: "no-secrets", end: 3 }], scannedBytes: 400, complete: true },
    });
    expect(refusalOf(await hold(asked, world.loop))).toBe("content_refused");
    expect(world.topUps).toEqual([]);
    expect(model().price).toBeDefined();
  });

  test("under strict audit it goes ahead once its record is on the disk", async () => {
    const world = strict();
    world.syncedNs = 0n;
    const waiting = hold(world.asked(), world.loop);
    let isHeld = false;
    void Promise.resolve(waiting).then(() => {
      isHeld = true;
    });
    world.clock.advance(1);
    await new Promise(setImmediate);
    expect([isHeld, world.decisions.length]).toEqual([false, 1]);
    world.syncedNs = world.clock.monoNs();
    world.clock.advance(1);
    expect("permit" in (await waiting)).toBe(true);
    expect(world.settlements).toEqual([]);
  });

  test("under strict audit a record that still waits is on no disk", async () => {
    const world = strict();
    const before = world.left;
    world.onHandOver = () => {
      throw new Error("disk full");
    };
    expect(refusalOf(await hold(world.asked(), world.loop))).toBe("audit_unavailable");
    expect(world.left).toEqual(before);
  });

  test("under strict audit it is refused when its record does not get there", async () => {
    const world = strict();
    world.syncedNs = 0n;
    const before = world.left;
    const waiting = hold(world.asked(), world.loop);
    world.canAllow = false;
    world.clock.advance(1);
    await new Promise(setImmediate);
    const held = await waiting;
    expect(refusalOf(held)).toBe("audit_unavailable");
    expect(world.left).toEqual(before);
    expect(world.settlements).toMatchObject([{ rc: "audit_unavailable", settled: { usd_u: 0 } }]);
    expect(world.decisions).toHaveLength(1);
  });
});
