import { describe, expect, test } from "vitest";
import { answerBytes, refusalAnswer } from "../../../../node/dataplane/refusal-answer.ts";
import { decisionHeaders } from "../../../../node/dataplane/response-headers.ts";
import { REASONS, type Reason } from "../../../../proto/reasons.ts";

const asObject = (flat: readonly string[]) =>
  Object.fromEntries(
    Array.from({ length: flat.length / 2 }, (_, i) => [flat[2 * i], flat[2 * i + 1]]),
  );

describe("headers of a decision", () => {
  test("an allowed request is told what it has left", () => {
    const headers = decisionHeaders({
      requestId: "id",
      refusal: undefined,
      standing: "warning",
      budgetRemainingUsdMicros: 12_345_678n,
      clampedTokens: 100,
      requestRate: { limit: 60, remaining: 59, resetMs: 999.5 },
      tokenRate: { limit: 1_000, remaining: 0, resetMs: 0 },
    });
    expect(asObject(headers)).toEqual({
      "x-request-id": "id",
      "x-altrace-decision": "allow",
      "x-altrace-standing": "warning",
      "x-altrace-budget-remaining-usd": "12.345678",
      "x-altrace-clamped": "100",
      "x-ratelimit-limit-requests": "60",
      "x-ratelimit-remaining-requests": "59",
      "x-ratelimit-reset-requests": "1000ms",
      "x-ratelimit-limit-tokens": "1000",
      "x-ratelimit-remaining-tokens": "0",
      "x-ratelimit-reset-tokens": "0ms",
    });
  });

  test("a refusal that is final says so to SDKs that would retry its status", () => {
    const refusal = { stage: "budget", reason: "budget_exhausted" as const };
    expect(asObject(decisionHeaders({ requestId: "id", refusal, retryAfterMs: 5 }))).toEqual({
      "x-request-id": "id",
      "x-altrace-decision": "deny",
      "x-altrace-stage": "budget",
      "x-altrace-reason": "budget_exhausted",
      "x-should-retry": "false",
    });
  });

  test.each<[number | undefined, string, string]>([
    [undefined, "1", "1000"],
    [0, "0", "0"],
    [1, "1", "1"],
    [1_000, "1", "1000"],
    [1_000.2, "2", "1001"],
    [-5, "0", "0"],
  ])("a refusal for %s ms says %s s and %s ms", (retryAfterMs, seconds, ms) => {
    const refusal = { stage: "rate", reason: "rate_requests" as const };
    const base = { requestId: "id", refusal };
    const headers = decisionHeaders(retryAfterMs === undefined ? base : { ...base, retryAfterMs });
    expect(asObject(headers)).toMatchObject({
      "x-should-retry": "true",
      "retry-after": seconds,
      "retry-after-ms": ms,
    });
  });

  test.each<[bigint, string]>([
    [0n, "0.000000"],
    [1n, "0.000001"],
    [999_999n, "0.999999"],
    [-1_500_000n, "-1.500000"],
    [2n ** 63n - 1n, "9223372036854.775807"],
  ])("%s micro-dollars are %s dollars", (micros, text) => {
    const headers = decisionHeaders({
      requestId: "id",
      refusal: undefined,
      budgetRemainingUsdMicros: micros,
    });
    expect(asObject(headers)["x-altrace-budget-remaining-usd"]).toBe(text);
  });
});

test("every reason can be answered on a bare socket, in one well-formed message", () => {
  for (const reason of Object.keys(REASONS) as Reason[]) {
    const answer = refusalAnswer({ requestId: "id", reason, detail: "x" });
    const [head, body] = answerBytes(answer).toString("latin1").split("\r\n\r\n") as [
      string,
      string,
    ];
    expect(head).toMatch(new RegExp(`^HTTP/1\\.1 ${REASONS[reason].status} [A-Z]`));
    expect(head).toContain(`content-length: ${body.length}\r\nconnection: close`);
    expect(JSON.parse(body)).toMatchObject({ error: { code: reason }, request_id: "id" });
  }
});
