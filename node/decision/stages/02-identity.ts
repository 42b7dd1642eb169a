import { type Facts, isMissing } from "../facts.ts";
import { asRefusal, type RowOutcome } from "../verdict.ts";

/** Which agent is this? The credential says; nothing in the request's body can. */
export function checkIdentity(facts: Facts): RowOutcome {
  return isMissing(facts.identity) ? asRefusal(facts.identity) : "pass";
}
