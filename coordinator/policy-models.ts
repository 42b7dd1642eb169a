import { policyOfBundle } from "./policy-of-bundle.ts";

/** Ids of the models that a policy bundle names, `provider/model` each; none of what is no policy. */
export function modelsOfPolicy(bundle: Uint8Array): ReadonlySet<string> {
  const read = policyOfBundle(bundle);
  return new Set(read.ok ? read.document.models.keys() : []);
}
