import { classClears } from "../../../authority/data-class.ts";
import type { ClassificationPolicy, CompiledPolicy } from "../../../policy/compiled-policy.ts";
import { type Facts, isMissing, type ScanFacts } from "../facts.ts";
import { byContract, type RowOutcome } from "../verdict.ts";
import { effectiveOf } from "./05-contract.ts";

/** Is this data cleared for this agent and this destination? */
export function checkClassification(facts: Facts): RowOutcome {
  const { policy, grant, model } = facts;
  if (policy === undefined || grant === undefined) return { reason: "no_grant" };
  if (model === undefined || isMissing(model)) return "not_applicable";
  const { level, labels } = classOf(policy, isMissing(facts.scan) ? undefined : facts.scan);
  const detail = policy.classification.levels[level] ?? String(level);
  const cleared = effectiveOf(facts)?.dataClass;
  if (cleared !== undefined) {
    const scheme = schemeOf(policy.classification);
    // Whoever granted it under other levels is told which these are.
    const words = cleared.scheme === scheme ? detail : `${detail} of ${scheme}`;
    const isCleared = classClears(cleared, { scheme, level, compartments: labels });
    if (!isCleared) return byContract("class_not_cleared", words);
  }
  if (level > grant.clearance) return { reason: "class_not_cleared", detail };
  if (level > model.provider.clearance) return { reason: "class_not_cleared_provider", detail };
  return "pass";
}

/**
 * The name of policy's classification in contracts: its levels, lowest first. Under other levels, or
 * the same in another order, a contract's level would mean something else, so it clears nothing.
 */
export function schemeOf({ levels }: ClassificationPolicy): string {
  const known = SCHEMES.get(levels);
  if (known !== undefined) return known;
  const scheme = levels.join(".");
  SCHEMES.set(levels, scheme);
  return scheme;
}

/** Levels are those of a policy, and never change. */
const SCHEMES = new WeakMap<ClassificationPolicy["levels"], string>();

const NO_LABELS: readonly string[] = [];

/**
 * The class of the data: the join of what its detectors say, and at least the default; its labels are
 * the compartments it lies in.
 *
 * What was not scanned whole counts as the highest class and every label, for nothing is known of
 * the rest.
 */
function classOf(
  policy: CompiledPolicy,
  scan: ScanFacts | undefined,
): { readonly level: number; readonly labels: readonly string[] } {
  const { classification, content } = policy;
  if (scan === undefined || !scan.complete) {
    return { level: classification.levels.length - 1, labels: [...classification.labels.keys()] };
  }
  if (scan.hits.length === 0) return { level: classification.defaultLevel, labels: NO_LABELS };
  let level = classification.defaultLevel;
  const labels = new Set<string>();
  for (const hit of scan.hits) {
    const label = content.find((rule) => rule.id === hit.ruleId)?.label;
    if (label === undefined) continue;
    labels.add(label);
    level = Math.max(level, classification.labels.get(label) ?? level);
  }
  return { level, labels: [...labels] };
}
