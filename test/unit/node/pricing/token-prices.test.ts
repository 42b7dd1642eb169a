import { expect, test } from "vitest";
import { usageCost } from "../../../../node/pricing/token-prices.ts";
import { ROUND_PRICE } from "./prices.ts";

test("each kind of token has its own price, and all of them are tokens", () => {
  const usage = {
    inputTokens: 100,
    cachedInputTokens: 1000,
    cacheWriteTokens: 200,
    outputTokens: 50,
  };
  expect(usageCost(usage, ROUND_PRICE)).toEqual({
    usdMicros: 100n + 100n + 250n + 500n,
    tokens: 1350n,
    calls: 1n,
  });
});

test("fractions are added up before they are rounded up", () => {
  const price = { ...ROUND_PRICE, inputMicrosPerMtok: 400_000, outputMicrosPerMtok: 400_000 };
  const usage = { inputTokens: 1, cachedInputTokens: 0, cacheWriteTokens: 0, outputTokens: 1 };
  expect(usageCost(usage, price).usdMicros).toBe(1n);
  expect(usageCost({ ...usage, inputTokens: 2 }, price).usdMicros).toBe(2n);
});

test("cached and written input count towards long context", () => {
  const longContext = {
    aboveInputTokens: 299,
    inputMicrosPerMtok: 2_000_000,
    cachedInputMicrosPerMtok: 2_000_000,
    cacheWriteMicrosPerMtok: 2_000_000,
    outputMicrosPerMtok: 20_000_000,
  };
  const usage = {
    inputTokens: 100,
    cachedInputTokens: 100,
    cacheWriteTokens: 100,
    outputTokens: 1,
  };
  expect(usageCost(usage, { ...ROUND_PRICE, longContext }).usdMicros).toBe(620n);
  const less = { ...usage, cachedInputTokens: 99 };
  // 100 + 9.9 + 125 + 10, at the ordinary prices.
  expect(usageCost(less, { ...ROUND_PRICE, longContext }).usdMicros).toBe(245n);
});
