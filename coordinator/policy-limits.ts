import { accountLimits, accountParents } from "../policy/account-limits.ts";
import type { AccountEntry, AccountLimits, WindowLimit } from "./account-limits.ts";
import { policyOfBundle } from "./policy-of-bundle.ts";

/** A bundle that is no policy. */
export class PolicyUnreadable extends Error {
  constructor(message: string) {
    super(message);
    this.name = "PolicyUnreadable";
  }
}

/**
 * What a policy bundle lets be spent.
 *
 * @throws PolicyUnreadable With the first thing that is wrong.
 */
export function limitsOfPolicy(bundle: Uint8Array): AccountLimits {
  const read = policyOfBundle(bundle);
  if (!read.ok) {
    const [first] = read.findings;
    throw new PolicyUnreadable(first ? `${first.path}: ${first.message}` : "not a policy");
  }
  const limits = new Map<string, WindowLimit[]>();
  for (const { account, unit, window, limit } of accountLimits(read.document)) {
    const known = limits.get(account) ?? [];
    known.push({ unit, window, limit });
    limits.set(account, known);
  }
  const entries: AccountEntry[] = [];
  for (const [account, parent] of accountParents(read.document)) {
    entries.push({ account, parent, limits: limits.get(account) ?? [] });
  }
  return entries;
}
