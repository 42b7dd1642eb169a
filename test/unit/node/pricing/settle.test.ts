import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Outcome, settle } from "../../../../node/pricing/settle.ts";
import { usageCost } from "../../../../node/pricing/token-prices.ts";
import { anyPrice, ROUND_PRICE } from "./prices.ts";

const held = { cost: { usdMicros: 1000n, tokens: 150n, calls: 1n }, overrunMicros: 100n };
const usage = (outputTokens: number) => ({
  inputTokens: 0,
  cachedInputTokens: 0,
  cacheWriteTokens: 0,
  outputTokens,
});
const nothingOver = { overrunSpentMicros: 0n, distrustMilli: undefined };

test("S2: a count below the text that passed is not believed", () => {
  const price = { ...ROUND_PRICE };
  const hold = { cost: { usdMicros: 10_000n, tokens: 10_000n, calls: 1n }, overrunMicros: 0n };
  const told = settle(hold, { kind: "complete", textBytes: 0, usage: usage(1) }, price);
  const seen = settle(hold, { kind: "complete", textBytes: 1_600, usage: usage(1) }, price);
  const honest = settle(hold, { kind: "complete", textBytes: 1_600, usage: usage(100) }, price);
  expect(seen.spent.tokens).toBe(told.spent.tokens + 99n);
  expect(seen).toEqual(honest);
});

describe("settle", () => {
  test("S1: what was never sent costs nothing", () => {
    expect(settle(held, { kind: "not_sent" }, ROUND_PRICE)).toEqual({
      spent: { usdMicros: 0n, tokens: 0n, calls: 0n },
      ...nothingOver,
    });
  });

  test("S1: what the provider rejected costs the call and its fixed charge", () => {
    const price = { ...ROUND_PRICE, fixedMicros: 5 };
    expect(settle(held, { kind: "rejected" }, price)).toEqual({
      spent: { usdMicros: 5n, tokens: 0n, calls: 1n },
      ...nothingOver,
    });
  });

  test("S2: a complete answer costs what the provider counted", () => {
    expect(settle(held, { kind: "complete", textBytes: 0, usage: usage(40) }, ROUND_PRICE)).toEqual(
      {
        spent: { usdMicros: 400n, tokens: 40n, calls: 1n },
        ...nothingOver,
      },
    );
  });

  test.each<[string, Outcome]>([
    ["complete and not counted", { kind: "complete", textBytes: 0, usage: undefined }],
    ["incomplete and not counted", { kind: "incomplete", textBytes: 0, usage: undefined }],
    ["incomplete, with a count so far", { kind: "incomplete", textBytes: 0, usage: usage(40) }],
  ])("S3: an answer that is %s costs the hold in full", (_title, outcome) => {
    expect(settle(held, outcome, ROUND_PRICE)).toEqual({ spent: held.cost, ...nothingOver });
  });

  test("S3: an incomplete answer that already cost more than its hold costs that", () => {
    const settled = settle(
      held,
      { kind: "incomplete", textBytes: 0, usage: usage(105) },
      ROUND_PRICE,
    );
    expect(settled.spent).toEqual({ usdMicros: 1000n, tokens: 150n, calls: 1n });
    expect(settled.overrunSpentMicros).toBe(50n);
  });

  test("a bill above its hold and within the price's distrust raises nothing", () => {
    const settled = settle(
      held,
      { kind: "complete", textBytes: 0, usage: usage(110) },
      ROUND_PRICE,
    );
    expect(settled).toEqual({
      spent: { usdMicros: 1000n, tokens: 110n, calls: 1n },
      overrunSpentMicros: 100n,
      distrustMilli: undefined,
    });
  });

  test("a bill beyond that says what the distrust has to become", () => {
    const settled = settle(
      held,
      { kind: "complete", textBytes: 0, usage: usage(1000) },
      ROUND_PRICE,
    );
    expect(settled.overrunSpentMicros).toBe(9000n);
    expect(settled.distrustMilli).toBe(10_000);
    // A ratio of 1.1001 would no longer be covered by 1.1.
    const hold = { ...held, cost: { ...held.cost, usdMicros: 100_000n } };
    const price = { ...ROUND_PRICE, outputMicrosPerMtok: 110_010_000_000 };
    expect(
      settle(hold, { kind: "complete", textBytes: 0, usage: usage(1) }, price).distrustMilli,
    ).toBe(1101);
  });

  test("a count far above any bound is no bill: the hold is charged, and overrun is left alone", () => {
    const absurd = {
      kind: "complete",
      textBytes: 0,
      usage: usage(Number.MAX_SAFE_INTEGER),
    } as const;
    expect(settle(held, absurd, ROUND_PRICE)).toEqual({
      spent: held.cost,
      overrunSpentMicros: 0n,
      distrustMilli: undefined,
    });
  });

  test("S4: account and overrun together pay the bill, the account never above its hold", () => {
    const anyUsage = fc.record({
      inputTokens: fc.nat(5000),
      cachedInputTokens: fc.nat(5000),
      cacheWriteTokens: fc.nat(5000),
      outputTokens: fc.nat(5000),
    });
    fc.assert(
      fc.property(
        anyPrice,
        anyUsage,
        fc.bigInt(1n, 2_000_000n),
        // A count of more than a hundred times this would not be believed.
        fc.bigInt(200n, 20_000n),
        fc.boolean(),
        (price, counted, usdMicros, tokens, isComplete) => {
          const hold = { cost: { usdMicros, tokens, calls: 1n }, overrunMicros: 0n };
          const kind = isComplete ? "complete" : "incomplete";
          const settled = settle(hold, { kind, textBytes: 0, usage: counted }, price);
          const bill = usageCost(counted, price).usdMicros;
          const due = isComplete || bill > usdMicros ? bill : usdMicros;
          expect(settled.spent.usdMicros + settled.overrunSpentMicros).toBe(due);
          expect(settled.spent.usdMicros <= usdMicros).toBe(true);
          const milli = BigInt(settled.distrustMilli ?? price.distrustMilli);
          // With the distrust it asks for, the hold would have covered the bill.
          expect(due * 1000n <= usdMicros * milli).toBe(true);
        },
      ),
      { numRuns: 1000 },
    );
  });
});
