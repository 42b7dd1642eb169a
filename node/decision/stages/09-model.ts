import { covers } from "../../../policy/pattern.ts";
import { type Facts, isMissing } from "../facts.ts";
import { asRefusal, type RowOutcome } from "../verdict.ts";

/** May it use this model? The name is resolved once, by policy, and the resolved name is judged. */
export function checkModel(facts: Facts): RowOutcome {
  const { model } = facts;
  if (model === undefined) return "not_applicable";
  if (isMissing(model)) return asRefusal(model);
  const granted = facts.grant?.models ?? [];
  return covers(granted, model.id) ? "pass" : { reason: "model_not_granted", detail: model.id };
}
