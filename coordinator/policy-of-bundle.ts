import { type ReadBundle, readBundle } from "../policy/read-bundle.ts";

/** By the bundle's bytes as they lie in merged state, and for as long as they lie there. */
const READ = new WeakMap<Uint8Array, ReadBundle>();

/**
 * Reads a policy bundle, once for all parts of the coordinator that need something of it.
 *
 * A policy of 20,000 agents takes some 200 ms of the one thread that answers nodes, and there are
 * requests of agents that wait for those answers.
 */
export function policyOfBundle(bundle: Uint8Array): ReadBundle {
  const known = READ.get(bundle);
  if (known !== undefined) return known;
  const read = readBundle(bundle);
  READ.set(bundle, read);
  return read;
}
