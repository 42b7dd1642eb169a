import fc from "fast-check";
import { expect, test } from "vitest";
import { openMeter } from "../../../../node/pricing/meter.ts";
import { ROUND_PRICE } from "./prices.ts";

const held = { usdMicros: 1000n, tokens: 150n, calls: 1n };
const open = () => openMeter({ price: ROUND_PRICE, held });
const usage = (inputTokens: number, outputTokens: number, cachedInputTokens = 0) => ({
  inputTokens,
  cachedInputTokens,
  cacheWriteTokens: 0,
  outputTokens,
});

test("before anything passed, an answer cost a call and has no usage", () => {
  const meter = open();
  expect(meter.cost()).toEqual({ usdMicros: 0n, tokens: 0n, calls: 1n });
  expect(meter.usage()).toBeUndefined();
  expect(meter.isHoldSpent()).toBe(false);
});

test("reports are merged: the larger of each member stands, in whatever order they come", () => {
  const frames = [usage(50, 1), usage(0, 20), usage(50, 12, 30)];
  for (const order of [frames, frames.toReversed()]) {
    const meter = open();
    for (const frame of order) meter.countUsage(frame);
    expect(meter.usage()).toEqual(usage(50, 20, 30));
  }
});

test("M1: an answer that uses its hold to the last token is not cut", () => {
  const meter = open();
  meter.countUsage(usage(0, 100));
  expect(meter.cost().usdMicros).toBe(1000n);
  expect(meter.isHoldSpent()).toBe(false);
  meter.countUsage(usage(0, 101));
  expect(meter.isHoldSpent()).toBe(true);
});

test("M1: text alone cuts only when no tokeniser could have made fewer tokens of it", () => {
  const meter = open();
  // A hundred tokens were held for. At four bytes each, as prose has, that is 400 bytes.
  meter.countText(400);
  expect(meter.isHoldSpent()).toBe(false);
  meter.countText(1200);
  expect(meter.isHoldSpent()).toBe(false);
  meter.countText(16);
  expect(meter.isHoldSpent()).toBe(true);
});

test("tokens above the hold cut too, however cheap they are", () => {
  const meter = open();
  meter.countUsage(usage(0, 0, 151));
  expect(meter.cost().usdMicros).toBeLessThan(held.usdMicros);
  expect(meter.isHoldSpent()).toBe(true);
});

test("M3: a report wins as soon as it is the larger, and never lowers the estimate", () => {
  const meter = open();
  meter.countText(160);
  meter.countUsage(usage(0, 5));
  expect(meter.cost().tokens).toBe(10n);
  meter.countUsage(usage(0, 40));
  expect(meter.cost().tokens).toBe(40n);
});

test("M2: the estimate never falls", () => {
  const step = fc.oneof(
    fc.record({ bytes: fc.nat(500) }),
    fc.record({ input: fc.nat(500), output: fc.nat(500), cached: fc.nat(500) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 20 }), (steps) => {
      const meter = open();
      let before = meter.cost();
      let wasSpent = false;
      for (const one of steps) {
        if ("bytes" in one) meter.countText(one.bytes);
        else meter.countUsage(usage(one.input, one.output, one.cached));
        const cost = meter.cost();
        expect(cost.usdMicros >= before.usdMicros && cost.tokens >= before.tokens).toBe(true);
        expect(wasSpent && !meter.isHoldSpent()).toBe(false);
        before = cost;
        wasSpent = meter.isHoldSpent();
      }
    }),
  );
});
