import type { LongContextPrice, PriceEntry } from "../../policy/compiled-policy.ts";
import type { Cost } from "../decision/facts.ts";

/** Tokens of one answer, as a provider reports them. Each is counted in one member only. */
export type TokenUsage = {
  /** Input that was neither read from a cache nor written to one. */
  readonly inputTokens: number;
  readonly cachedInputTokens: number;
  readonly cacheWriteTokens: number;
  /** Reasoning included. */
  readonly outputTokens: number;
};

/** The four prices that hold for a request of so much input. */
export type TokenPrices = Omit<LongContextPrice, "aboveInputTokens">;

const TOKENS_PER_MTOK = 1_000_000n;

/** What tokens cost in a request with `inputTokens` of input in all. */
export function pricesFor(price: PriceEntry, inputTokens: bigint): TokenPrices {
  const { longContext } = price;
  const isLong = longContext !== undefined && inputTokens > BigInt(longContext.aboveInputTokens);
  return isLong ? longContext : price;
}

/**
 * What an answer cost, by the provider's own count.
 *
 * Fractions of a micro-dollar are rounded up, once for the whole answer.
 */
export function usageCost(usage: TokenUsage, price: PriceEntry): Cost {
  const input = BigInt(usage.inputTokens);
  const cached = BigInt(usage.cachedInputTokens);
  const written = BigInt(usage.cacheWriteTokens);
  const output = BigInt(usage.outputTokens);
  const prices = pricesFor(price, input + cached + written);
  const picos =
    input * BigInt(prices.inputMicrosPerMtok) +
    cached * BigInt(prices.cachedInputMicrosPerMtok) +
    written * BigInt(prices.cacheWriteMicrosPerMtok) +
    output * BigInt(prices.outputMicrosPerMtok);
  return {
    usdMicros: BigInt(price.fixedMicros) + microsOf(picos),
    tokens: input + cached + written + output,
    calls: 1n,
  };
}

/** Tokens times a price per million of them, as micro-dollars, rounded up. */
export function microsOf(picos: bigint): bigint {
  return (picos + TOKENS_PER_MTOK - 1n) / TOKENS_PER_MTOK;
}
