import { createHash } from "node:crypto";
import { type ReadBundle, readBundle, readBundleInSlices } from "../policy/read-bundle.ts";
import type { Clock } from "../ports/clock.ts";
import { inSlices } from "../ports/in-slices.ts";

/** The policy in force, the one to come, and one that somebody else may still be asking about. */
const KEPT_MAX = 3;

/** By the SHA-256 of the bundle, newest last: the same policy comes in several messages. */
const READ = new Map<string, ReadBundle>();
/** The hash of what is read over and over need not be taken again. */
const HASHES = new WeakMap<Uint8Array, string>();

/**
 * Reads a policy bundle, once for all parts of the coordinator that need something of it.
 *
 * A policy of 100,000 agents takes a second of the one thread that answers nodes, and there are
 * requests of agents that wait for those answers. Whoever can wait reads it by `policyInSlices` first.
 */
export function policyOfBundle(bundle: Uint8Array): ReadBundle {
  const hash = hashOf(bundle);
  return READ.get(hash) ?? keep(hash, readBundle(bundle));
}

/** The same, while others get their turns: what follows by `policyOfBundle` costs nothing. */
export async function policyInSlices(
  bundle: Uint8Array,
  clock: Pick<Clock, "monoNs">,
): Promise<ReadBundle> {
  const hash = hashOf(bundle);
  // Somebody else may have read it meanwhile.
  const isWanted = () => !READ.has(hash);
  const read = isWanted()
    ? await inSlices(readBundleInSlices(bundle), { clock, isWanted })
    : undefined;
  return READ.get(hash) ?? keep(hash, read as ReadBundle);
}

function keep(hash: string, read: ReadBundle): ReadBundle {
  READ.set(hash, read);
  for (const oldest of READ.keys()) {
    if (READ.size <= KEPT_MAX) break;
    READ.delete(oldest);
  }
  return read;
}

/** Spares the hashing of bytes that were hashed when they were put together. */
export function noteHash(bundle: Uint8Array, sha256Hex: string): void {
  HASHES.set(bundle, sha256Hex);
}

function hashOf(bundle: Uint8Array): string {
  const known = HASHES.get(bundle);
  if (known !== undefined) return known;
  const hash = createHash("sha256").update(bundle).digest("hex");
  HASHES.set(bundle, hash);
  return hash;
}
