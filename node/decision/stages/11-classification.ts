import type { CompiledPolicy } from "../../../policy/compiled-policy.ts";
import { type Facts, isMissing, type ScanFacts } from "../facts.ts";
import type { RowOutcome } from "../verdict.ts";

/** Is this data cleared for this agent and this destination? */
export function checkClassification(facts: Facts): RowOutcome {
  const { policy, grant, model } = facts;
  if (policy === undefined || grant === undefined) return { reason: "no_grant" };
  if (model === undefined || isMissing(model)) return "not_applicable";
  const level = levelOf(policy, isMissing(facts.scan) ? undefined : facts.scan);
  const detail = policy.classification.levels[level] ?? String(level);
  if (level > grant.clearance) return { reason: "class_not_cleared", detail };
  if (level > model.provider.clearance) return { reason: "class_not_cleared_provider", detail };
  return "pass";
}

/**
 * The class of the data: the join of what its detectors say, and at least the default.
 *
 * What was not scanned whole counts as the highest class, for nothing is known of the rest.
 */
function levelOf(policy: CompiledPolicy, scan: ScanFacts | undefined): number {
  const { classification, content } = policy;
  if (scan === undefined || !scan.complete) return classification.levels.length - 1;
  let level = classification.defaultLevel;
  for (const hit of scan.hits) {
    const label = content.find((rule) => rule.id === hit.ruleId)?.label;
    const labelled = label === undefined ? undefined : classification.labels.get(label);
    if (labelled !== undefined && labelled > level) level = labelled;
  }
  return level;
}
