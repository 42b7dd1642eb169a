import { compilePolicy } from "../policy/compile.ts";
import type { CompiledPolicy } from "../policy/compiled-policy.ts";
import type { Clock } from "../ports/clock.ts";
import type { Compute } from "../ports/compute.ts";
import { contentScanner } from "./content-scanner.ts";
import { createPolicyScanners, type PolicyScanners } from "./dataplane/content-scanners.ts";
import { createInspector } from "./dataplane/inspect.ts";
import type { BodyInspection } from "./dataplane/inspect-body.ts";
import type { InspectTask } from "./dataplane/inspect-worker.ts";

/** What a thread has made of a bundle of which nobody knows yet whether it comes into force. */
export type RehearsedPolicy = {
  readonly bundle: Uint8Array;
  readonly policy: CompiledPolicy;
  readonly scanners: PolicyScanners;
};

/**
 * Makes of a bundle what a thread makes of the policy in force. The first policy of a process is compiled by code that
 * nothing has compiled, which takes three times as long, and requests wait for it; where this is the one that comes,
 * nothing is left to do.
 *
 * @param bundle One that is not a policy here is rehearsed as far as it is one.
 * @param loop With the pool of a data loop its threads try the rules as well.
 */
export async function rehearsePolicy(
  bundle: Uint8Array,
  loop?: { readonly pool: Compute<InspectTask, BodyInspection>; readonly clock: Clock },
): Promise<RehearsedPolicy | undefined> {
  const compiled = compilePolicy(bundle, { version: 1, scanner: contentScanner });
  if (!compiled.ok) return undefined;
  const { policy } = compiled;
  const scanners = createPolicyScanners();
  if (loop !== undefined) {
    const warmed = createInspector({ ...loop, scanners, onFault: () => undefined }).warm(policy);
    scanners.of(policy);
    await warmed;
  }
  return { bundle, policy, scanners };
}

/** What was rehearsed, as that version of the policy, where it was made of the very same bytes. */
export function rehearsedAs(
  rehearsed: RehearsedPolicy | undefined,
  { version, bundle }: { readonly version: number; readonly bundle: Uint8Array },
): CompiledPolicy | undefined {
  const isSame = rehearsed !== undefined && Buffer.compare(rehearsed.bundle, bundle) === 0;
  return isSame ? { ...rehearsed.policy, version } : undefined;
}
