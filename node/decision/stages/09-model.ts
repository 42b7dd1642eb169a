import { coversName } from "../../../authority/name-pattern.ts";
import { covers } from "../../../policy/pattern.ts";
import { type Facts, isMissing } from "../facts.ts";
import { asRefusal, byContract, type RowOutcome } from "../verdict.ts";
import { effectiveOf } from "./05-contract.ts";

/**
 * May it use this model? The name is resolved once, by policy, and the resolved name is judged.
 *
 * A session is read and counted by nobody, so policy has to let that be, and no shadow undoes it: what it
 * costs is known from there alone.
 */
export function checkModel(facts: Facts): RowOutcome {
  const { model } = facts;
  if (model === undefined) return "not_applicable";
  if (isMissing(model)) return asRefusal(model);
  const effective = effectiveOf(facts);
  if (effective !== undefined && !coversName(effective.models, model.id)) {
    return byContract("model_not_granted", model.id);
  }
  const granted = facts.grant?.models ?? [];
  if (!covers(granted, model.id)) return { reason: "model_not_granted", detail: model.id };
  return isSession(facts) && model.sessions !== "unread"
    ? { reason: "session_not_granted", detail: model.id, isBinding: true }
    : "pass";
}

function isSession({ request }: Facts): boolean {
  return !isMissing(request) && request.isSession === true;
}
