import type { SubtreeHash } from "./merkle.ts";

/** Hashes that are remembered, at most: some 4 MB. */
export const SUBTREES_REMEMBERED_MAX = 16_384;

/**
 * Remembers hashes of full subtrees of one log, which stay what they are while the log grows: proofs
 * that are made one after the other have most of theirs in common.
 *
 * @returns Reads through what is remembered of that log.
 */
export function rememberedSubtrees(): (subtree: SubtreeHash) => SubtreeHash {
  const known = new Map<string, Uint8Array>();
  return (subtree) => (level, index) => {
    const name = `${level}/${index}`;
    const remembered = known.get(name);
    if (remembered !== undefined) return remembered;
    // Of its own: what was read may lie in 64 KiB that it would keep.
    const hash = new Uint8Array(subtree(level, index));
    if (known.size >= SUBTREES_REMEMBERED_MAX) known.clear();
    known.set(name, hash);
    return hash;
  };
}
