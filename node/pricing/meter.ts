// The running cost of one answer while it passes.
//
// M1. The estimate is from below: a stream is cut for money only when it certainly cost its hold.
// M2. It never falls.
// M3. A provider's own count wins over ours as soon as it is the larger.

import type { PriceEntry } from "../../policy/compiled-policy.ts";
import type { Cost } from "../decision/facts.ts";
import { type TokenUsage, usageCost } from "./token-prices.ts";

/**
 * Bytes of text that one token stands for, at most, over a whole answer. Prose has about four a
 * token and code three; long runs of one character have more, and a short answer may be such a run.
 */
const OUTPUT_BYTES_PER_TOKEN_MAX = 16;

/** Tokens that an answer with so much text has cost at least. */
export function certainTokens(textBytes: number): number {
  return Math.floor(textBytes / OUTPUT_BYTES_PER_TOKEN_MAX);
}

export type Meter = {
  /** Text of the answer that has passed, UTF-8 bytes. */
  readonly countText: (bytes: number) => void;
  /** A report of the provider. Reports are merged: the larger of each member stands. */
  readonly countUsage: (usage: TokenUsage) => void;
  /** What the answer has certainly cost by now. */
  readonly cost: () => Cost;
  /** True once that is more than is held: the answer is to be cut. */
  readonly isHoldSpent: () => boolean;
  /** The merged reports; `undefined` when there was none. */
  readonly usage: () => TokenUsage | undefined;
};

/** Starts to meter one answer against what was held for it. */
export function openMeter(of: { readonly price: PriceEntry; readonly held: Cost }): Meter {
  let textBytes = 0;
  let reported: TokenUsage | undefined;

  const cost = (): Cost => {
    const written = certainTokens(textBytes);
    const usage = reported ?? NOTHING;
    const outputTokens = Math.max(usage.outputTokens, written);
    return usageCost({ ...usage, outputTokens }, of.price);
  };
  return {
    countText: (bytes) => {
      textBytes += bytes;
    },
    countUsage: (usage) => {
      reported = mergeUsage(reported ?? NOTHING, usage);
    },
    cost,
    // An answer that uses its whole hold and ends is in order; one that goes beyond it is not.
    isHoldSpent: () => {
      const spent = cost();
      return spent.usdMicros > of.held.usdMicros || spent.tokens > of.held.tokens;
    },
    usage: () => reported,
  };
}

const NOTHING: TokenUsage = {
  inputTokens: 0,
  cachedInputTokens: 0,
  cacheWriteTokens: 0,
  outputTokens: 0,
};

/** Frames repeat and refine one another; what was reported once is not taken back. */
function mergeUsage(one: TokenUsage, other: TokenUsage): TokenUsage {
  return {
    inputTokens: Math.max(one.inputTokens, other.inputTokens),
    cachedInputTokens: Math.max(one.cachedInputTokens, other.cachedInputTokens),
    cacheWriteTokens: Math.max(one.cacheWriteTokens, other.cacheWriteTokens),
    outputTokens: Math.max(one.outputTokens, other.outputTokens),
  };
}
