import { coversName } from "../../../authority/name-pattern.ts";
import { covers } from "../../../policy/pattern.ts";
import { type Facts, isMissing } from "../facts.ts";
import { asRefusal, byContract, type RowOutcome } from "../verdict.ts";
import { effectiveOf } from "./05-contract.ts";

/** May it use this model? The name is resolved once, by policy, and the resolved name is judged. */
export function checkModel(facts: Facts): RowOutcome {
  const { model } = facts;
  if (model === undefined) return "not_applicable";
  if (isMissing(model)) return asRefusal(model);
  const effective = effectiveOf(facts);
  if (effective !== undefined && !coversName(effective.models, model.id)) {
    return byContract("model_not_granted", model.id);
  }
  const granted = facts.grant?.models ?? [];
  return covers(granted, model.id) ? "pass" : { reason: "model_not_granted", detail: model.id };
}
