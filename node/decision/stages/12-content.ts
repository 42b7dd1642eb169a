import { type Facts, isMissing, isTunnel } from "../facts.ts";
import { asRefusal, type RowOutcome } from "../verdict.ts";

/** Does the content break a rule? Rules that only label or warn do not refuse; a tunnel is not read. */
export function checkContent(facts: Facts): RowOutcome {
  const { scan, policy } = facts;
  if (isTunnel(facts)) return "not_applicable";
  if (isMissing(scan)) return asRefusal(scan);
  for (const hit of scan.hits) {
    const rule = policy?.content.find(({ id }) => id === hit.ruleId);
    if (rule === undefined) return { reason: "content_refused", rule: hit.ruleId };
    if (rule.action === "refuse" && rule.direction !== "response") {
      return { reason: "content_refused", rule: rule.id };
    }
  }
  return "pass";
}
