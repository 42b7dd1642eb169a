import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type RateAsk, RateShares } from "../../../coordinator/rate-shares.ts";
import { FULL_BUCKETS, RATE_WHOLE, type RateLags } from "../../../mesh/rate-share.ts";

const SETTINGS = { ttlMs: 10_000, renewMs: 2_000, driftMilli: 10, guardMs: 1_000, accountsMax: 4 };
const LASTS_MS = 11_100;
const EMPTY: RateLags = [10_000_000, 0, 0];
const BOT = "agent/pay/bot";

function world(isAlone = false) {
  const shares = new RateShares(SETTINGS);
  let nowMs = 1_000;
  const ask = (node: string, held = 0, more: Partial<RateAsk> = {}) =>
    shares.ask(
      { node, bootId: "b1", account: BOT, held, lags: FULL_BUCKETS, release: false, ...more },
      { nowMs, empty: EMPTY, isAlone },
    );
  const lent = () => [...shares.lent(BOT).values()].reduce((sum, one) => sum + one, 0);
  return {
    shares,
    ask,
    lent,
    pass: (ms: number) => {
      nowMs += ms;
    },
    begin: () => shares.begin(nowMs),
  };
}

describe("shares of a rate", () => {
  test("a node alone has the whole, with full buckets", () => {
    const one = world();
    expect(one.ask("n1")).toEqual({
      share: RATE_WHOLE,
      ttlMs: 10_000,
      addedLags: FULL_BUCKETS,
      retryMs: 0,
    });
  });

  test("R1: a second node gets nothing until the first has said that it refills by half", () => {
    const one = world();
    one.ask("n1");
    const none = one.ask("n2");
    expect(none.share).toBe(0);
    expect(none.retryMs).toBe(2_000);
    one.pass(2_000);
    expect(one.ask("n1", RATE_WHOLE).share).toBe(RATE_WHOLE / 2);
    // Told, and not yet known to be in force.
    expect(one.ask("n2").share).toBe(0);
    expect(one.ask("n1", RATE_WHOLE / 2).share).toBe(RATE_WHOLE / 2);
    expect(one.ask("n2").share).toBe(RATE_WHOLE / 2);
    expect(one.lent()).toBe(RATE_WHOLE);
  });

  test("R1: a node that is silent keeps its share until it cannot be using it by any clock", () => {
    const one = world();
    one.ask("n1");
    one.pass(2_000);
    one.ask("n2");
    one.pass(LASTS_MS - 2_001);
    expect(one.ask("n2").share).toBe(0);
    one.pass(1);
    // R2: what the silent one used nobody knows.
    expect(one.ask("n2")).toMatchObject({ share: RATE_WHOLE, addedLags: EMPTY });
  });

  test("R1: a node that waits and leaves takes nothing from the other for longer than a share lasts", () => {
    const one = world();
    one.ask("n1");
    one.ask("n2");
    expect(one.ask("n1", RATE_WHOLE).share).toBe(RATE_WHOLE / 2);
    one.pass(5_000);
    expect(one.ask("n1", RATE_WHOLE / 2).share).toBe(RATE_WHOLE / 2);
    one.pass(5_000);
    expect(one.ask("n1", RATE_WHOLE / 2).share).toBe(RATE_WHOLE);
  });

  test("R2: what one node has used is missing from what the next one gets, less what came back", () => {
    const one = world();
    one.ask("n1");
    one.pass(2_000);
    const used: RateLags = [8_000_000, 0, 0];
    one.ask("n1", RATE_WHOLE, { release: true, lags: used });
    expect(one.ask("n2").addedLags).toEqual(used);
    one.ask("n2", RATE_WHOLE, { release: true, lags: used });
    one.pass(3_000);
    expect(one.ask("n1").addedLags).toEqual([5_000_000, 0, 0]);
  });

  test("R2: a start of the node that ended may have used all", () => {
    const one = world();
    one.ask("n1");
    one.pass(100);
    expect(one.ask("n1", 0, { bootId: "b2" })).toMatchObject({
      share: RATE_WHOLE,
      addedLags: EMPTY,
    });
  });

  test("an answer that got lost is offered again", () => {
    const one = world();
    one.ask("n1");
    one.pass(5_000);
    // Nobody can have used it: that it was not heard of for long is no use of it either.
    expect(one.ask("n1", 0)).toMatchObject({ share: RATE_WHOLE, addedLags: FULL_BUCKETS });
    expect(one.lent()).toBe(RATE_WHOLE);
  });

  test("R2: a node that forgot what it used is held to what it said", () => {
    const one = world();
    one.ask("n1");
    one.pass(1_000);
    one.ask("n1", RATE_WHOLE, { lags: [9_000_000, 0, 0] });
    one.pass(2_000);
    expect(one.ask("n1", 0).addedLags).toEqual([7_000_000, 0, 0]);
  });

  test("R3: after another lent, nodes keep what they have and nobody gets more until that has ended", () => {
    const one = world();
    one.begin();
    expect(one.ask("n1", RATE_WHOLE / 2).share).toBe(RATE_WHOLE / 2);
    const none = one.ask("n2");
    expect(none).toMatchObject({ share: 0, retryMs: LASTS_MS });
    one.pass(LASTS_MS - 1);
    expect(one.ask("n2").share).toBe(0);
    one.ask("n1", RATE_WHOLE / 2);
    one.pass(1);
    expect(one.ask("n2").share).toBe(RATE_WHOLE / 2);
  });

  test("R3: a mesh of one node does not wait for others", () => {
    const one = world(true);
    one.begin();
    expect(one.ask("n1").share).toBe(RATE_WHOLE);
  });

  test("more accounts than are known at once get nothing, until one is full and idle", () => {
    const one = world();
    for (let no = 0; no < SETTINGS.accountsMax; no++)
      one.ask("n1", 0, { account: `agent/pay/a${no}` });
    expect(one.ask("n1").share).toBe(0);
    one.pass(LASTS_MS + 10_001);
    expect(one.ask("n1").share).toBe(RATE_WHOLE);
  });
});

/** A node as R1 counts on it: what it may refill by until when, on a clock that may be slow. */
type Node = { bootId: number; share: number; untilMs: number; owes: boolean };

test("R1: whatever is lost, late or repeated, nodes never refill by more than the whole", () => {
  const step = fc.record({
    node: fc.integer({ min: 0, max: 2 }),
    does: fc.constantFrom(
      "ask",
      "ask",
      "ask_unheard",
      "answer_lost",
      "release",
      "restart",
      "leader",
    ),
    passMs: fc.constantFrom(1, 200, 2_000, 5_000, 12_000),
  });
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 60 }), (steps) => {
      const one = world();
      let nowMs = 0;
      const nodes: Node[] = [0, 1, 2].map(() => ({ bootId: 1, share: 0, untilMs: 0, owes: false }));
      for (const { node: no, does, passMs } of steps) {
        nowMs += passMs;
        one.pass(passMs);
        const node = nodes[no] as Node;
        const held = nowMs < node.untilMs ? node.share : 0;
        if (does === "leader") one.begin();
        else if (does === "restart")
          Object.assign(node, { bootId: node.bootId + 1, share: 0, untilMs: 0 });
        else if (does !== "ask_unheard") {
          const release = does === "release";
          if (release) Object.assign(node, { share: 0, untilMs: 0 });
          const answer = one.ask(`n${no}`, held, { release, bootId: `b${node.bootId}` });
          if (does === "ask")
            Object.assign(node, { share: answer.share, untilMs: nowMs + answer.ttlMs });
        }
        const refilling = nodes.filter(({ untilMs }) => nowMs < untilMs);
        expect(refilling.reduce((sum, { share }) => sum + share, 0)).toBeLessThanOrEqual(
          RATE_WHOLE,
        );
      }
    }),
    { numRuns: 300 },
  );
});
