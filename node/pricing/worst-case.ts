import type { PriceEntry } from "../../policy/compiled-policy.ts";
import type { Cost } from "../decision/facts.ts";
import { microsOf, pricesFor } from "./token-prices.ts";

/** What is known of a request before it is sent. All integers, none negative. */
export type Request = {
  readonly price: PriceEntry;
  /** UTF-8 bytes of the body as it goes upstream. */
  readonly inputBytes: number;
  readonly messages: number;
  readonly tools: number;
  /** How many answers are asked for. */
  readonly n: number;
  /** The output limit of each answer, tokens. */
  readonly maxOutputTokens: number;
};

export type WorstCase = {
  readonly cost: Cost;
  /** What a bill may come to above `cost.usdMicros`, held in the overrun account. */
  readonly overrunMicros: bigint;
};

/**
 * The most that a request can cost, so that it can be held before the request is sent.
 *
 * W1. Every token of a byte-level tokeniser stands for at least one byte, so the body's bytes bound
 *     its tokens; what providers add beside the text is in the price entry (docs/token-bound.md).
 * W2. Any of the input may be charged as written to a cache, so the dearest input price counts.
 * W3. Each of the `n` answers has the whole output limit; the input is charged once.
 * W4. Not less for more: no member of the request can grow and lower the bound.
 * W5. Rounded up.
 */
export function worstCase(request: Request): WorstCase {
  const { price } = request;
  const input = inputTokensBound(request);
  const output = BigInt(request.n) * BigInt(request.maxOutputTokens);
  const prices = pricesFor(price, input);
  const picos = input * dearestInput(prices) + output * BigInt(prices.outputMicrosPerMtok);
  const usdMicros = BigInt(price.fixedMicros) + microsOf(picos);
  return {
    cost: { usdMicros, tokens: input + output, calls: 1n },
    overrunMicros: overrunOf(usdMicros, price.distrustMilli),
  };
}

/** The share of the overrun account that a hold takes: its part above 1 of the price's distrust. */
export function overrunOf(usdMicros: bigint, distrustMilli: number): bigint {
  return (usdMicros * BigInt(distrustMilli - 1000) + 999n) / 1000n;
}

/** Tokens that the input can be charged as, at most. */
export function inputTokensBound(request: Omit<Request, "n" | "maxOutputTokens">): bigint {
  const { price } = request;
  return (
    BigInt(request.inputBytes) +
    BigInt(request.messages) * BigInt(price.tokensPerMessage) +
    BigInt(request.tools) * BigInt(price.tokensPerTool) +
    BigInt(price.tokensFixed)
  );
}

function dearestInput(prices: ReturnType<typeof pricesFor>): bigint {
  return BigInt(
    Math.max(
      prices.inputMicrosPerMtok,
      prices.cachedInputMicrosPerMtok,
      prices.cacheWriteMicrosPerMtok,
    ),
  );
}
