import { describe, expect, test } from "vitest";
import { createPolicyScanners } from "../../../node/dataplane/content-scanners.ts";
import type { ResponseSink } from "../../../node/dataplane/upstream-leg.ts";
import { hold } from "../../../node/hold.ts";
import { HOLD_GRACE_MS, OpenHolds } from "../../../node/open-holds.ts";
import { relayAndSettle } from "../../../node/relay-and-settle.ts";
import { twinClock } from "../../../ports/twin-clock.ts";
import { LoopWorld } from "./loop-world.ts";

const NEW = {
  requestId: "r1",
  agentId: "t/a",
  model: "openai/gpt-5-mini",
  amount: { usdMicros: 7n, tokens: 3n, calls: 1n },
  overrunMicros: 1n,
  lastsMs: 60_000,
};

describe("open holds", () => {
  test("O1: are listed with their owner, age and end, until they are settled", () => {
    const clock = twinClock();
    const holds = new OpenHolds(clock);
    const end = holds.open({ ...NEW, onOverdue: () => undefined });
    clock.advance(2_500);
    const { lastsMs, ...owner } = NEW;
    expect(holds.list()).toEqual([
      { ...owner, ageMs: 2_500, leftMs: lastsMs + HOLD_GRACE_MS - 2_500 },
    ]);
    expect(end()).toBe(true);
    expect(holds.list()).toEqual([]);
  });

  test("O2: are settled by the sweep after their deadline, and then no more by their request", () => {
    const clock = twinClock();
    const holds = new OpenHolds(clock);
    let settled = 0;
    const end = holds.open({ ...NEW, onOverdue: () => settled++ });
    clock.advance(NEW.lastsMs + HOLD_GRACE_MS - 1);
    expect(settled).toBe(0);
    for (let s = 0; s < 3; s++) clock.advance(1_000);
    expect(settled).toBe(1);
    expect([holds.count, end()]).toEqual([0, false]);
  });

  test("a request that never ends costs its account its hold, and no more than that", async () => {
    const world = new LoopWorld();
    world.lend({ usdMicros: 10_000n, tokens: 10_000n, calls: 10n }, 10_000n);
    const before = world.left;
    const asked = world.asked({ maxOutputTokens: 2_000 });
    const held = await hold(asked, world.loop);
    if (!("permit" in held)) throw new Error("not allowed");
    let sink: ResponseSink | undefined;
    const stuck = {
      forward: (_: unknown, answer: ResponseSink) => {
        held.permit.consume();
        sink = answer;
      },
    };
    const loop = {
      ...world.loop,
      forwarder: stuck,
      scanners: createPolicyScanners(),
    } as unknown as typeof world.loop;
    const over = relayAndSettle(asked, held, loop);
    const [listed] = loop.holds.list();
    expect(listed).toMatchObject({
      requestId: asked.exchange.requestId,
      agentId: "research/worker-1",
    });
    const totalMs = held.facts.policy?.limits.totalTimeoutMs ?? 0;
    for (let ms = 0; ms <= totalMs + HOLD_GRACE_MS + 1_000; ms += 1_000) world.clock.advance(1_000);
    expect(loop.holds.list()).toEqual([]);
    expect(world.told).toContain("hold overdue");
    const { usdMicros, tokens, calls } = held.reserved.taken;
    expect(world.left).toMatchObject({
      usdMicros: before.usdMicros - usdMicros,
      tokens: before.tokens - tokens,
      calls: before.calls - calls,
    });
    expect(world.settled).toHaveLength(1);
    // It ends after all: it was settled in its place.
    sink?.onError("upstream_timeout", true);
    await over;
    expect(world.settled).toHaveLength(1);
    expect(world.settlements).toHaveLength(1);
  });
});
