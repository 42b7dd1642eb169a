import { type Facts, isMissing } from "../facts.ts";
import type { RowOutcome } from "../verdict.ts";

/**
 * Has the agent been granted authority?
 *
 * Authority is the policy's grant to the agent. A key that is bound to a signed contract runs under
 * that contract alone; a node that cannot verify contracts refuses it rather than fall back to the
 * wider grant.
 */
export function checkContract(facts: Facts): RowOutcome {
  if (facts.policy === undefined) return { reason: "policy_missing" };
  if (!isMissing(facts.identity) && facts.identity.contractId !== undefined) {
    return { reason: "contract_unsupported" };
  }
  return facts.grant === undefined ? { reason: "no_grant" } : "pass";
}
