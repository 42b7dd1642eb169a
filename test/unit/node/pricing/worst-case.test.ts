import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { usageCost } from "../../../../node/pricing/token-prices.ts";
import {
  inputTokensBound,
  overrunOf,
  type Request,
  worstCase,
} from "../../../../node/pricing/worst-case.ts";
import { anyPrice, ROUND_PRICE } from "./prices.ts";

const request: Request = {
  price: ROUND_PRICE,
  inputBytes: 1000,
  messages: 2,
  tools: 1,
  n: 1,
  maxOutputTokens: 100,
};

const anyRequest: fc.Arbitrary<Request> = fc.record({
  price: anyPrice,
  inputBytes: fc.nat(10_000),
  messages: fc.nat(50),
  tools: fc.nat(50),
  n: fc.integer({ min: 1, max: 8 }),
  maxOutputTokens: fc.nat(20_000),
});

describe("worstCase", () => {
  test("is the input bound, the output limit and the constants, at their prices", () => {
    // 1000 bytes + 2 * 8 + 32 + 64 = 1112 tokens at 1.25, and 100 at 10 micro-dollars.
    expect(worstCase(request)).toEqual({
      cost: { usdMicros: 1390n + 1000n, tokens: 1212n, calls: 1n },
      overrunMicros: 239n,
    });
  });

  test("W3: each answer has the whole output limit, and the input is charged once", () => {
    expect(worstCase({ ...request, n: 3 }).cost).toEqual({
      usdMicros: 1390n + 3000n,
      tokens: 1412n,
      calls: 1n,
    });
  });

  test("W5: part of a micro-dollar is a whole one", () => {
    const price = { ...ROUND_PRICE, cacheWriteMicrosPerMtok: 1, inputMicrosPerMtok: 1 };
    const free = { ...price, cachedInputMicrosPerMtok: 0 };
    expect(worstCase({ ...request, price: free, maxOutputTokens: 0 }).cost.usdMicros).toBe(1n);
  });

  test("the fixed charge of a call is in it", () => {
    const price = { ...ROUND_PRICE, fixedMicros: 7 };
    expect(worstCase({ ...request, price }).cost.usdMicros).toBe(2397n);
  });

  test("the dearer prices of long context count from the first token above", () => {
    const longContext = {
      aboveInputTokens: 1112,
      inputMicrosPerMtok: 2_000_000,
      cachedInputMicrosPerMtok: 200_000,
      cacheWriteMicrosPerMtok: 2_500_000,
      outputMicrosPerMtok: 15_000_000,
    };
    const price = { ...ROUND_PRICE, longContext };
    expect(worstCase({ ...request, price }).cost.usdMicros).toBe(2390n);
    const longer = { ...request, price, inputBytes: 1001 };
    // 1113 * 2.5 = 2782.5, and 100 * 15.
    expect(worstCase(longer).cost.usdMicros).toBe(2783n + 1500n);
  });

  test("sums beyond a double's integers are exact", () => {
    const price = { ...ROUND_PRICE, outputMicrosPerMtok: 999_999_999 };
    const huge = { ...request, price, n: 128, maxOutputTokens: 10_000_000 };
    expect(worstCase(huge).cost.usdMicros).toBe(
      (1112n * 1_250_000n + 1_280_000_000n * 999_999_999n + 999_999n) / 1_000_000n,
    );
  });

  test("W1, W2: no usage within the bounds costs more, however the input is split", () => {
    // Doubles would be drawn by their exponent: nearly all of them nearly 0.
    const share = fc.integer({ min: 0, max: 1_000 }).map((thousandths) => thousandths / 1_000);
    fc.assert(
      fc.property(
        anyRequest,
        share,
        share,
        share,
        share,
        (any, used, cached, written, answered) => {
          const inputTokens = Math.floor(Number(inputTokensBound(any)) * used);
          const cachedTokens = Math.floor(inputTokens * cached);
          const writtenTokens = Math.floor((inputTokens - cachedTokens) * written);
          const usage = {
            inputTokens: inputTokens - cachedTokens - writtenTokens,
            cachedInputTokens: cachedTokens,
            cacheWriteTokens: writtenTokens,
            outputTokens: Math.floor(any.n * any.maxOutputTokens * answered),
          };
          const cost = usageCost(usage, any.price);
          const worst = worstCase(any).cost;
          expect(cost.usdMicros <= worst.usdMicros).toBe(true);
          expect(cost.tokens <= worst.tokens).toBe(true);
          expect(cost.calls <= worst.calls).toBe(true);
        },
      ),
      { numRuns: 2000 },
    );
  });

  test("W4: a request that is more of anything is never bounded by less", () => {
    const member = fc.constantFrom(
      "inputBytes" as const,
      "messages" as const,
      "tools" as const,
      "n" as const,
      "maxOutputTokens" as const,
    );
    fc.assert(
      fc.property(anyRequest, member, fc.nat(5000), (any, name, more) => {
        const less = worstCase(any);
        const grown = worstCase({ ...any, [name]: any[name] + more });
        expect(grown.cost.usdMicros >= less.cost.usdMicros).toBe(true);
        expect(grown.cost.tokens >= less.cost.tokens).toBe(true);
        expect(grown.overrunMicros >= less.overrunMicros).toBe(true);
      }),
      { numRuns: 2000 },
    );
  });
});

describe("overrunOf", () => {
  test.each([
    [1000n, 1100, 100n],
    [1n, 1100, 1n],
    [0n, 1100, 0n],
    [1000n, 10_000, 9000n],
    [1001n, 1001, 2n],
  ])("a hold of %i at %i thousandths takes %i", (held, milli, overrun) => {
    expect(overrunOf(held, milli)).toBe(overrun);
  });
});
