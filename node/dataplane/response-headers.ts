import { REASONS, type Reason } from "../../proto/reasons.ts";
import type { Standing } from "../decision/facts.ts";

/** What one bucket has left, for `x-ratelimit-*`. */
export type RateFacts = {
  readonly limit: number;
  readonly remaining: number;
  /** Until the bucket is full again. */
  readonly resetMs: number;
};

/** What is told of a decision in the headers of its answer. */
export type DecisionFacts = {
  /** Ours. */
  readonly requestId: string;
  /** `undefined`: allowed. */
  readonly refusal: { readonly stage: string; readonly reason: Reason } | undefined;
  readonly standing?: Standing;
  /** What the leaf account has left on this node, micro-dollars. */
  readonly budgetRemainingUsdMicros?: bigint;
  /** Output limit that was filled in or lowered, tokens. */
  readonly clampedTokens?: number;
  /** Tools that were left out of the request. */
  readonly toolsOut?: number;
  readonly requestRate?: RateFacts;
  readonly tokenRate?: RateFacts;
  /** When asking again makes sense. Used only where the reason may be retried. */
  readonly retryAfterMs?: number;
  /** Asking again is of no use, whatever the reason says of itself. */
  readonly isFinal?: boolean;
};

const RETRY_AFTER_MS_DEFAULT = 1_000;

/**
 * The headers that every answer of a door carries: flat name, value, ...
 *
 * SDKs retry 408, 409, 429 and 5xx by themselves unless `x-should-retry` says otherwise, and they
 * read `retry-after-ms` before `retry-after`. All values come from closed sets and numbers, so none
 * can carry a line break.
 */
export function decisionHeaders(facts: DecisionFacts): string[] {
  const { refusal } = facts;
  const headers = [
    "x-request-id",
    facts.requestId,
    "x-altrace-decision",
    refusal ? "deny" : "allow",
  ];
  if (refusal) {
    headers.push("x-altrace-stage", refusal.stage, "x-altrace-reason", refusal.reason);
    const mayRetry = REASONS[refusal.reason].retry !== "never" && facts.isFinal !== true;
    addRetry(headers, mayRetry, facts.retryAfterMs);
  }
  if (facts.standing !== undefined) headers.push("x-altrace-standing", facts.standing);
  if (facts.budgetRemainingUsdMicros !== undefined) {
    headers.push("x-altrace-budget-remaining-usd", usdText(facts.budgetRemainingUsdMicros));
  }
  if (facts.clampedTokens !== undefined) {
    headers.push("x-altrace-clamped", String(facts.clampedTokens));
  }
  if (facts.toolsOut !== undefined) headers.push("x-altrace-tools-out", String(facts.toolsOut));
  if (facts.requestRate) addRate(headers, "requests", facts.requestRate);
  if (facts.tokenRate) addRate(headers, "tokens", facts.tokenRate);
  return headers;
}

function addRetry(headers: string[], mayRetry: boolean, retryAfterMs: number | undefined): void {
  if (!mayRetry) {
    headers.push("x-should-retry", "false");
    return;
  }
  const waitMs = Math.max(0, Math.ceil(retryAfterMs ?? RETRY_AFTER_MS_DEFAULT));
  headers.push(
    "x-should-retry",
    "true",
    "retry-after",
    String(Math.ceil(waitMs / 1_000)),
    "retry-after-ms",
    String(waitMs),
  );
}

function addRate(headers: string[], unit: "requests" | "tokens", rate: RateFacts): void {
  headers.push(
    `x-ratelimit-limit-${unit}`,
    String(rate.limit),
    `x-ratelimit-remaining-${unit}`,
    String(rate.remaining),
    `x-ratelimit-reset-${unit}`,
    `${Math.ceil(rate.resetMs)}ms`,
  );
}

/** Micro-dollars as dollars with six digits; exact, because it never is a floating-point number. */
function usdText(micros: bigint): string {
  const sign = micros < 0n ? "-" : "";
  const digits = (micros < 0n ? -micros : micros).toString().padStart(7, "0");
  return `${sign}${digits.slice(0, -6)}.${digits.slice(-6)}`;
}
