import { expect, test } from "vitest";
import { priceOf } from "../../../../node/pricing/price-of.ts";
import { usageCost } from "../../../../node/pricing/token-prices.ts";
import { worstCase } from "../../../../node/pricing/worst-case.ts";
import { price } from "../../../support/builders.ts";

const DEAR = price({ fixedMicros: 700, tokensFixed: 64, tokensPerMessage: 8, tokensPerTool: 32 });

test("a request that is billed by its tokens has its model's price", () => {
  expect(priceOf({}, DEAR)).toBe(DEAR);
});

test("one that is not holds what every call costs, and is settled to just that", () => {
  const own = priceOf({ unbilled: true }, DEAR);
  const request = { price: own, inputBytes: 0, messages: 9, tools: 3, n: 1, maxOutputTokens: 0 };
  const held = worstCase(request).cost;
  expect(held).toEqual({ usdMicros: 700n, tokens: 0n, calls: 1n });
  const counted = { inputTokens: 0, cachedInputTokens: 0, cacheWriteTokens: 0, outputTokens: 0 };
  expect(usageCost(counted, DEAR)).toEqual(held);
});
