import { compilePolicy } from "../policy/compile.ts";
import type { CompiledPolicy } from "../policy/compiled-policy.ts";
import type { Clock } from "../ports/clock.ts";
import type { Compute } from "../ports/compute.ts";
import { contentScanner } from "./content-scanner.ts";
import { compileContentNow, createPolicyScanners } from "./dataplane/content-scanners.ts";
import { createInspector } from "./dataplane/inspect.ts";
import type { BodyInspection } from "./dataplane/inspect-body.ts";
import type { InspectTask } from "./dataplane/inspect-worker.ts";

/**
 * Makes of a bundle what a data loop makes of the policy in force, and drops it. The first policy of a process is
 * compiled by code that nothing has compiled, which takes three times as long, and requests wait for it.
 *
 * @param bundle One that is not a policy here is rehearsed as far as it is one.
 * @param loop With the pool of a data loop its threads try the rules as well.
 */
export async function rehearsePolicy(
  bundle: Uint8Array,
  loop?: { readonly pool: Compute<InspectTask, BodyInspection>; readonly clock: Clock },
): Promise<CompiledPolicy | undefined> {
  const compiled = compilePolicy(bundle, { version: 1, scanner: contentScanner });
  if (!compiled.ok) return undefined;
  const { policy } = compiled;
  if (loop === undefined) return policy;
  const scanners = createPolicyScanners();
  const warmed = createInspector({ ...loop, scanners, onFault: () => undefined }).warm(policy);
  compileContentNow(policy.content);
  await warmed;
  return policy;
}
