import type { LadderCause, Severity } from "../policy/compiled-policy.ts";
import type { Reason } from "../proto/reasons.ts";
import type { Facts } from "./decision/facts.ts";

const SEVERITY_CAUSE: Record<Severity, LadderCause> = {
  low: "content_low",
  medium: "content_medium",
  high: "content_high",
};

/**
 * What the ladder makes of a refusal; undefined for what says nothing about the agent.
 *
 * Kills, standing, rate, budget and faults never feed the score: an SDK that retries by itself must
 * not keep an agent down. Neither does anything that was refused before the credential was checked.
 */
export function ladderCause(
  reason: Reason,
  facts: Facts,
  ruleId: string | undefined,
): LadderCause | undefined {
  switch (reason) {
    case "model_not_granted":
    case "host_not_granted":
    case "region_not_granted":
    case "class_not_cleared":
    case "class_not_cleared_provider":
      return "refusal";
    case "tool_not_granted":
    case "tool_unreadable":
    case "tool_argument_refused":
    case "tool_call_not_granted":
      return "tool_outside_grant";
    case "content_refused":
    case "content_cut": {
      const rule = facts.policy?.content.find(({ id }) => id === ruleId);
      return SEVERITY_CAUSE[rule?.severity ?? "high"];
    }
    default:
      return undefined;
  }
}
