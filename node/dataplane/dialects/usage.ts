import type { JsonValue, Usage } from "./dialect.ts";

/**
 * Joins two reports on one answer: the larger of each member.
 *
 * Members do not overlap: input is counted as plain, as cached or as written to a cache, once.
 */
export function mergeUsage(one: Usage | undefined, other: Usage | undefined): Usage | undefined {
  if (one === undefined || other === undefined) return one ?? other;
  return {
    inputTokens: Math.max(one.inputTokens, other.inputTokens),
    cachedInputTokens: Math.max(one.cachedInputTokens, other.cachedInputTokens),
    cacheWriteTokens: Math.max(one.cacheWriteTokens, other.cacheWriteTokens),
    outputTokens: Math.max(one.outputTokens, other.outputTokens),
  };
}

/** A count as a provider reports it; 0 when it reports none; undefined when it is not a count. */
export function tokenCount(value: JsonValue | undefined): number | undefined {
  if (value === undefined || value === null) return 0;
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0 ? value : undefined;
}
