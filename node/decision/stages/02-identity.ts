import { stageOf } from "../../../proto/reasons.ts";
import { type Facts, isMissing } from "../facts.ts";
import { asRefusal, type RowOutcome } from "../verdict.ts";

/** Number of the row that tells what is wrong with a contract. */
const CONTRACT_STAGE = 5;

/**
 * Which agent is this? The credential says; nothing in the request's body can.
 *
 * A key that was born with a contract says it through that contract: where that does not count, the
 * stage of contracts tells why.
 */
export function checkIdentity(facts: Facts): RowOutcome {
  if (!isMissing(facts.identity)) return "pass";
  return stageOf(facts.identity.missing) === CONTRACT_STAGE
    ? "not_applicable"
    : asRefusal(facts.identity);
}
