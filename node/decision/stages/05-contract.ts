import { type Facts, isMissing } from "../facts.ts";
import { asRefusal, type RowOutcome } from "../verdict.ts";

/**
 * Is its authority genuine, in date, and does each link only narrow?
 *
 * A key that was born with a contract runs under that contract, met with the policy of its holder;
 * any other key under policy alone. A key that only names a contract proves nothing of it, and is
 * refused rather than served under the wider grant. Revocation is a kill, and told by its stage.
 * A request to delegate is held here against what the delegator has.
 */
export function checkContract(facts: Facts): RowOutcome {
  const { identity, contract } = facts;
  if (isMissing(identity)) return asRefusal(identity);
  if (facts.policy === undefined) return { reason: "policy_missing" };
  if (contract !== undefined && isMissing(contract)) return asRefusal(contract);
  if (identity.contractId !== contract?.ids.at(-1)) return { reason: "contract_unsupported" };
  if (contract !== undefined && facts.nowMs >= contract.effective.validity.expires * 1000) {
    return { reason: "contract_expired" };
  }
  if (facts.grant === undefined) return { reason: "no_grant" };
  return isMissing(facts.delegation) ? asRefusal(facts.delegation) : "pass";
}

/** What the contract grants beside policy; undefined where policy alone decides. */
export function effectiveOf({ contract }: Pick<Facts, "contract">) {
  return contract === undefined || isMissing(contract) ? undefined : contract.effective;
}
