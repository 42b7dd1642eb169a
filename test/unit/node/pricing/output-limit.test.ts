import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  affordableOutput,
  clampOutput,
  OUTPUT_TOKENS_DEFAULT,
  outputLimit,
} from "../../../../node/pricing/output-limit.ts";
import { type Request, worstCase } from "../../../../node/pricing/worst-case.ts";
import { anyPrice, ROUND_PRICE } from "./prices.ts";

const model = (maxOutputTokens: number) => ({ maxOutputTokens });
const grant = (maxOutputTokensDefault?: number) => ({ maxOutputTokensDefault });

describe("outputLimit", () => {
  test("a request's own limit stands, whatever it is", () => {
    for (const requested of [1, 500, 1_000_000]) {
      expect(outputLimit({ requested, model: model(1000), grant: grant(10) })).toEqual({
        tokens: requested,
        set: false,
      });
    }
  });

  test.each([
    ["the model's maximum where that is less", 8192, undefined, 8192],
    ["the usual default", 128_000, undefined, OUTPUT_TOKENS_DEFAULT],
    ["the policy's", 128_000, 100_000, 100_000],
    ["the model's maximum, also against the policy", 4096, 100_000, 4096],
  ])("an absent one is filled in: %s", (_title, maximum, standard, tokens) => {
    const limit = outputLimit({
      requested: undefined,
      model: model(maximum),
      grant: grant(standard),
    });
    expect(limit).toEqual({ tokens, set: true });
  });
});

const request: Request = {
  price: ROUND_PRICE,
  inputBytes: 936,
  messages: 0,
  tools: 0,
  n: 1,
  maxOutputTokens: 1000,
};
// 1000 tokens of input at 1.25: 1250 micro-dollars.
const left = (
  usdMicros: bigint,
  rest: { tokens?: bigint; calls?: bigint; over?: bigint } = {},
) => ({
  cost: { usdMicros, tokens: rest.tokens ?? 1_000_000n, calls: rest.calls ?? 1n },
  overrunMicros: rest.over ?? 1_000_000n,
});

describe("affordableOutput", () => {
  test.each([
    [1260n, 1],
    [1259n, undefined],
    [2250n, 100],
    [2259n, 100],
    [99_999n, 1000],
  ])("with %i micro-dollars left an answer may have %s tokens", (usdMicros, tokens) => {
    expect(affordableOutput(request, left(usdMicros))).toBe(tokens);
  });

  test("tokens, calls and the overrun account bound it as well", () => {
    expect(affordableOutput(request, left(99_999n, { tokens: 1010n }))).toBe(10);
    expect(affordableOutput(request, left(99_999n, { calls: 0n }))).toBeUndefined();
    expect(affordableOutput(request, left(99_999n, { over: 225n }))).toBe(100);
  });

  test("what it says fits, and one token more does not", () => {
    const anyRequest = fc.record({
      price: anyPrice,
      inputBytes: fc.nat(2000),
      messages: fc.nat(5),
      tools: fc.nat(5),
      n: fc.integer({ min: 1, max: 4 }),
      maxOutputTokens: fc.integer({ min: 1, max: 5000 }),
    });
    const fits = (any: Request, budget: bigint, over: bigint) => {
      const worst = worstCase(any);
      return worst.cost.usdMicros <= budget && worst.overrunMicros <= over;
    };
    fc.assert(
      fc.property(
        anyRequest,
        fc.bigInt(0n, 5_000_000n),
        fc.bigInt(0n, 500_000n),
        (any, usd, over) => {
          const tokens = affordableOutput(any, left(usd, { over }));
          if (tokens === undefined) {
            expect(fits({ ...any, maxOutputTokens: 1 }, usd, over)).toBe(false);
            return;
          }
          expect(fits({ ...any, maxOutputTokens: tokens }, usd, over)).toBe(true);
          if (tokens < any.maxOutputTokens) {
            expect(fits({ ...any, maxOutputTokens: tokens + 1 }, usd, over)).toBe(false);
          }
        },
      ),
      { numRuns: 1000 },
    );
  });

  test("a model without output is never lowered to an answer", () => {
    expect(affordableOutput({ ...request, maxOutputTokens: 0 }, left(99_999n))).toBeUndefined();
  });
});

describe("clampOutput", () => {
  test("lowers only for those who opted in, and never below their floor", () => {
    const by = (clampFloorTokens: number | undefined) =>
      clampOutput(request, { left: left(2250n), grant: { clampFloorTokens } });
    expect(by(undefined)).toBeUndefined();
    expect(by(100)).toBe(100);
    expect(by(101)).toBeUndefined();
  });
});
