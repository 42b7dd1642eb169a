import { expect, test } from "vitest";
import { ladderCause } from "../../../node/ladder-cause.ts";
import type { LadderCause } from "../../../policy/compiled-policy.ts";
import { REASONS, type Reason, stageOf } from "../../../proto/reasons.ts";
import { contentRule, facts, policy } from "../../support/builders.ts";

const rules = [
  contentRule({ id: "low", severity: "low" }),
  contentRule({ id: "medium", severity: "medium" }),
  contentRule({ id: "high", severity: "high" }),
];
const asked = facts({ policy: policy({ content: rules }) });

test.each<[Reason, string | undefined, LadderCause]>([
  ["model_not_granted", undefined, "refusal"],
  ["host_not_granted", undefined, "refusal"],
  ["region_not_granted", undefined, "refusal"],
  ["class_not_cleared", undefined, "refusal"],
  ["class_not_cleared_provider", undefined, "refusal"],
  ["tool_not_granted", undefined, "tool_outside_grant"],
  ["tool_unreadable", undefined, "tool_outside_grant"],
  ["tool_argument_refused", undefined, "tool_outside_grant"],
  ["tool_call_not_granted", undefined, "tool_outside_grant"],
  ["content_refused", "low", "content_low"],
  ["content_refused", "medium", "content_medium"],
  ["content_cut", "high", "content_high"],
  ["content_cut", "a rule that is gone by now", "content_high"],
])("%s by rule %s counts as %s", (reason, rule, cause) => {
  expect(ladderCause(reason, asked, rule)).toBe(cause);
});

const NEVER = new Set([1, 2, 3, 4, 5, 6, 13, 14]);
const silent = (Object.keys(REASONS) as Reason[]).filter((reason) => NEVER.has(stageOf(reason)));

test.each(silent)(
  "%s says nothing about the agent: an SDK that retries must not keep it down",
  (reason) => {
    expect(ladderCause(reason, asked, undefined)).toBeUndefined();
  },
);

test("faults of stages that do count say nothing about the agent either", () => {
  for (const reason of ["scan_timeout", "response_unscannable", "provider_unknown"] as const) {
    expect(ladderCause(reason, asked, undefined)).toBeUndefined();
  }
});
