import { setImmediate as nextTurn } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import type { Cost } from "../../../node/decision/facts.ts";
import { ASK_AGAIN_MS, LedgerWay } from "../../../node/ledger-way.ts";
import type { TopUpAnswer } from "../../../node/thread-messages.ts";
import { twinClock } from "../../../ports/twin-clock.ts";

/** A ledger that answers as it is told, in turn; the last word stands. */
function world(...words: TopUpAnswer["outcome"][]) {
  const clock = twinClock();
  const rate = Promise.withResolvers<undefined>();
  let asked = 0;
  let ratesAsked = 0;
  const borrow = async (need: Cost): Promise<TopUpAnswer> => {
    expect(need.usdMicros).toBeGreaterThan(0n);
    const outcome = words[Math.min(asked, words.length - 1)] as TopUpAnswer["outcome"];
    asked += 1;
    return { outcome };
  };
  const askRate = () => {
    ratesAsked += 1;
    return rate.promise;
  };
  const way = new LedgerWay(clock, borrow, askRate);
  return {
    ...{ way, clock },
    asked: () => [asked, ratesAsked],
    rateIsAnswered: () => rate.resolve(undefined),
  };
}

describe("the way to the ledger", () => {
  test("is not known before there is a policy to borrow under", async () => {
    const { way, clock, asked } = world("ok");
    clock.advance(10 * ASK_AGAIN_MS);
    await nextTurn();
    expect(way.isOpen).toBe(false);
    expect(asked()).toEqual([0, 0]);
  });

  test("is asked for until somebody answers, and no more then", async () => {
    const { way, clock, asked, rateIsAnswered } = world("unavailable", "unavailable", "ok");
    rateIsAnswered();
    way.find();
    await nextTurn();
    expect(way.isOpen).toBe(false);
    for (const isOpen of [false, true, true]) {
      clock.advance(ASK_AGAIN_MS);
      await nextTurn();
      expect(way.isOpen).toBe(isOpen);
    }
    expect(asked()).toEqual([3, 3]);
  });

  test("is open where the ledger says no, which no time would change", async () => {
    const { way, clock, asked, rateIsAnswered } = world("exhausted");
    rateIsAnswered();
    way.find();
    way.find();
    await nextTurn();
    expect(way.isOpen).toBe(true);
    // Each policy has it looked for; what was found is not looked for again.
    way.find();
    clock.advance(ASK_AGAIN_MS);
    await nextTurn();
    expect(asked()).toEqual([1, 1]);
  });

  test("is open once a question about a rate came back as well", async () => {
    const { way, rateIsAnswered } = world("ok");
    way.find();
    await nextTurn();
    expect(way.isOpen).toBe(false);
    rateIsAnswered();
    await nextTurn();
    expect(way.isOpen).toBe(true);
  });

  test("is looked for no more once the node ends", async () => {
    const { way, clock, asked, rateIsAnswered } = world("unavailable");
    rateIsAnswered();
    way.find();
    await nextTurn();
    way.stop();
    clock.advance(10 * ASK_AGAIN_MS);
    await nextTurn();
    expect(asked()).toEqual([1, 1]);
  });
});
