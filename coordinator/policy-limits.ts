import { accountsOf } from "../policy/account-limits.ts";
import type { PolicyDocument } from "../policy/policy-document.ts";
import type { ReadBundle } from "../policy/read-bundle.ts";
import type { Clock } from "../ports/clock.ts";
import { inSlices } from "../ports/in-slices.ts";
import { type AccountLimits, indexAccounts } from "./account-limits.ts";
import { policyInSlices, policyOfBundle } from "./policy-of-bundle.ts";

/** Of documents that were read; a policy is asked about when it comes, and when it is the mesh's. */
const LIMITS = new WeakMap<PolicyDocument, AccountLimits>();

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
  const { document } = mustBeRead(policyOfBundle(bundle));
  const known = LIMITS.get(document);
  if (known !== undefined) return known;
  const steps = accountsOf(document);
  for (;;) {
    const step = steps.next();
    if (step.done) return keep(document, step.value);
  }
}

/** Reads a bundle while others get their turns, and its limits: what follows by `limitsOfPolicy` costs nothing. */
export async function limitsInSlices(
  bundle: Uint8Array,
  clock: Pick<Clock, "monoNs">,
): Promise<void> {
  const read = await policyInSlices(bundle, clock);
  if (!read.ok) return;
  const isWanted = () => !LIMITS.has(read.document);
  const limits = isWanted()
    ? await inSlices(accountsOf(read.document), { clock, isWanted })
    : undefined;
  if (limits !== undefined) await inSlices(indexAccounts(keep(read.document, limits)), { clock });
}

function keep(document: PolicyDocument, limits: AccountLimits): AccountLimits {
  LIMITS.set(document, limits);
  return limits;
}

function mustBeRead(read: ReadBundle): Extract<ReadBundle, { ok: true }> {
  if (read.ok) return read;
  const [first] = read.findings;
  throw new PolicyUnreadable(first ? `${first.path}: ${first.message}` : "not a policy");
}
