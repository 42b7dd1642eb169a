// The Merkle tree of RFC 6962: hashes, roots, proofs and their verification.
//
// M1. Leaves and nodes are hashed under different prefixes, so neither can be passed off as the
// other.
// M2. A tree that is not full splits at the largest power of two below its size.
// M3. A proof has exactly one length for its index and sizes; any other is refused.
//
// Indexes and sizes are safe integers. They are halved by division, not by shifts, which would cut
// them to 32 bits.

import { hash as digest } from "node:crypto";

/** Bytes of a hash. */
export const HASH_BYTES = 32;
/** Hashes of the longest proof that any tree of up to 2^53 leaves needs. */
export const PROOF_HASHES_MAX = 63;

const LEAF_PREFIX = 0x00;
const NODE_PREFIX = 0x01;

/** Root of the tree without leaves. */
export function emptyRoot(): Buffer {
  return sha256(new Uint8Array(0));
}

export function leafHash(entry: Uint8Array): Buffer {
  const bytes =
    entry.length < LEAF_INPUT.length
      ? LEAF_INPUT.subarray(0, 1 + entry.length)
      : Buffer.allocUnsafe(1 + entry.length);
  bytes[0] = LEAF_PREFIX;
  bytes.set(entry, 1);
  return sha256(bytes);
}

export function nodeHash(left: Uint8Array, right: Uint8Array): Buffer {
  NODE_INPUT.set(left, 1);
  NODE_INPUT.set(right, 1 + HASH_BYTES);
  return sha256(NODE_INPUT);
}

/**
 * Hash of an entry that lies in a buffer behind one byte that is free to be written.
 *
 * @param from Where that byte is; it holds the leaf's prefix afterwards.
 * @param into Takes the hash at its beginning.
 */
export function leafHashInPlace(bytes: Uint8Array, { from, to }: LeafRange, into: Buffer): void {
  bytes[from] = LEAF_PREFIX;
  sha256Into(into, 0, bytes.subarray(from, to));
}

/**
 * Root of a full subtree over hashes that lie one after the other behind one free byte. The buffer is
 * used up.
 *
 * @param count Hashes, a power of two.
 * @returns A view of the buffer.
 */
export function fullRootInPlace(bytes: Buffer, count: number): Uint8Array {
  for (let width = count; width > 1; width /= 2) {
    for (let pair = 0; pair < width / 2; pair++) {
      // The byte before a pair belongs to the pair before it, which is hashed already.
      const from = 2 * pair * HASH_BYTES;
      bytes[from] = NODE_PREFIX;
      const input = bytes.subarray(from, from + 1 + 2 * HASH_BYTES);
      sha256Into(bytes, 1 + pair * HASH_BYTES, input);
    }
  }
  return bytes.subarray(1, 1 + HASH_BYTES);
}

const NODE_INPUT = Buffer.alloc(1 + 2 * HASH_BYTES, NODE_PREFIX);
/** Room for nearly every leaf behind its prefix: memory of its own for each would have to be collected again. */
const LEAF_INPUT = Buffer.allocUnsafeSlow(4 * 1024);

/**
 * A hash as a text is copied out of the library for a third of what a buffer of its own costs; with its length
 * given, the library does not look at the algorithm's name each time.
 */
const AS_TEXT = { outputEncoding: "latin1", outputLength: HASH_BYTES } as const;

function sha256(bytes: Uint8Array): Buffer {
  return Buffer.from(digest("sha256", bytes, AS_TEXT), "latin1");
}

function sha256Into(into: Buffer, at: number, bytes: Uint8Array): void {
  into.write(digest("sha256", bytes, AS_TEXT), at, "latin1");
}

/** Leaves `from`..`to` (excluded); as a node of the tree it covers them and no other. */
export type LeafRange = { readonly from: number; readonly to: number };

/** Hash of the full subtree over leaves `index * 2^level` to `(index + 1) * 2^level` (excluded). */
export type SubtreeHash = (level: number, index: number) => Uint8Array;

/**
 * The right edge of a growing tree: hashes of its full subtrees, largest first, one for each bit
 * that is set in the size. It is all that appending and the root need.
 */
export class RightEdge {
  #size = 0;
  readonly #peaks: Uint8Array[] = [];

  get size(): number {
    return this.#size;
  }

  /** Adds one leaf by its hash (`leafHash` of the entry). */
  append(hash: Uint8Array): void {
    let peak = hash;
    // Each bit of the old size that carries joins two subtrees of one height.
    for (let carry = this.#size; carry % 2 === 1; carry = Math.floor(carry / 2)) {
      peak = nodeHash(this.#peaks.pop() as Uint8Array, peak);
    }
    this.#peaks.push(peak);
    this.#size++;
  }

  root(): Buffer {
    return rootOfPeaks(this.#peaks);
  }
}

/** Root of a tree whose full subtrees are `peaks`, largest first. */
export function rootOfPeaks(peaks: readonly Uint8Array[]): Buffer {
  if (peaks.length === 0) return emptyRoot();
  return Buffer.from(peaks.reduceRight((right, left) => nodeHash(left, right)));
}

/** Root of the first `size` leaves. */
export function rootAt(size: number, subtree: SubtreeHash): Buffer {
  return size === 0 ? emptyRoot() : Buffer.from(rangeHash({ from: 0, to: size }, subtree));
}

/**
 * The audit path of leaf `index` in the tree of `size` leaves, from the leaf's sibling upward.
 *
 * @throws RangeError There is no such leaf.
 * @see https://www.rfc-editor.org/rfc/rfc6962#section-2.1.1
 */
export function inclusionProof(index: number, size: number, subtree: SubtreeHash): Uint8Array[] {
  assertOrdered(0, index, size - 1);
  const path: LeafRange[] = [];
  let node: LeafRange = { from: 0, to: size };
  while (node.to - node.from > 1) {
    const middle = node.from + splitOf(node.to - node.from);
    const left = { from: node.from, to: middle };
    const right = { from: middle, to: node.to };
    const goesLeft = index < middle;
    path.push(goesLeft ? right : left);
    node = goesLeft ? left : right;
  }
  return path.reverse().map((range) => rangeHash(range, subtree));
}

/**
 * The proof that the tree of `oldSize` leaves is a prefix of the tree of `newSize` leaves.
 *
 * @throws RangeError Unless 0 <= `oldSize` <= `newSize`.
 * @see https://www.rfc-editor.org/rfc/rfc6962#section-2.1.2
 */
export function consistencyProof(
  oldSize: number,
  newSize: number,
  subtree: SubtreeHash,
): Uint8Array[] {
  assertOrdered(0, oldSize, newSize);
  if (oldSize === 0 || oldSize === newSize) return [];
  const path: LeafRange[] = [];
  let node: LeafRange = { from: 0, to: newSize };
  while (node.to !== oldSize) {
    const middle = node.from + splitOf(node.to - node.from);
    const left = { from: node.from, to: middle };
    const right = { from: middle, to: node.to };
    const goesLeft = oldSize <= middle;
    path.push(goesLeft ? right : left);
    node = goesLeft ? left : right;
  }
  // A verifier has the old root already; what it lacks is the node where the old tree ends, unless
  // that is the whole old tree.
  if (node.from !== 0) path.push(node);
  return path.reverse().map((range) => rangeHash(range, subtree));
}

export type InclusionClaim = {
  readonly index: number;
  readonly size: number;
  readonly leaf: Uint8Array;
  readonly proof: readonly Uint8Array[];
  readonly root: Uint8Array;
};

/** True iff `proof` shows that the leaf hash `leaf` stands at `index` in the tree of `root`. */
export function verifyInclusion({ index, size, leaf, proof, root }: InclusionClaim): boolean {
  if (!isOrdered(0, index, size - 1) || !areHashes([leaf, root, ...proof])) return false;
  let node = index;
  let last = size - 1;
  let hash = leaf;
  for (const sibling of proof) {
    if (last === 0) return false;
    if (node % 2 === 1 || node === last) {
      hash = nodeHash(sibling, hash);
      // The right edge has no sibling on levels where it is a left child: these are skipped.
      while (node % 2 === 0 && node !== 0) [node, last] = [half(node), half(last)];
    } else {
      hash = nodeHash(hash, sibling);
    }
    [node, last] = [half(node), half(last)];
  }
  return last === 0 && sameHash(hash, root);
}

export type ConsistencyClaim = {
  readonly oldSize: number;
  readonly oldRoot: Uint8Array;
  readonly newSize: number;
  readonly newRoot: Uint8Array;
  readonly proof: readonly Uint8Array[];
};

/** True iff `proof` shows that the tree of `newRoot` starts with the tree of `oldRoot`. */
export function verifyConsistency(claim: ConsistencyClaim): boolean {
  const { oldSize, oldRoot, newSize, newRoot, proof } = claim;
  if (!isOrdered(0, oldSize, newSize) || !areHashes([oldRoot, newRoot, ...proof])) return false;
  // Every tree starts with the empty one; only its root is left to check.
  if (oldSize === 0) {
    return proof.length === 0 && sameHash(oldRoot, emptyRoot()) && isRootOf(newSize, newRoot);
  }
  if (oldSize === newSize) return proof.length === 0 && sameHash(oldRoot, newRoot);
  let node = oldSize - 1;
  let last = newSize - 1;
  while (node % 2 === 1) [node, last] = [half(node), half(last)];
  // If the old tree is one full subtree, its root is where both climbs start.
  const steps = node === 0 ? [oldRoot, ...proof] : proof;
  const first = steps[0];
  if (first === undefined) return false;
  let oldHash = first;
  let newHash = first;
  for (const step of steps.slice(1)) {
    if (last === 0) return false;
    if (node % 2 === 1 || node === last) {
      oldHash = nodeHash(step, oldHash);
      newHash = nodeHash(step, newHash);
      while (node % 2 === 0 && node !== 0) [node, last] = [half(node), half(last)];
    } else {
      newHash = nodeHash(newHash, step);
    }
    [node, last] = [half(node), half(last)];
  }
  return last === 0 && sameHash(oldHash, oldRoot) && sameHash(newHash, newRoot);
}

/** True when both are the same hash. */
export function sameHash(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && Buffer.compare(a, b) === 0;
}

/** Hash of a node of the tree, put together from full subtrees. */
function rangeHash({ from, to }: LeafRange, subtree: SubtreeHash): Uint8Array {
  const size = to - from;
  const level = Math.log2(size);
  if (Number.isInteger(level)) return subtree(level, from / size);
  const middle = from + splitOf(size);
  return nodeHash(
    rangeHash({ from, to: middle }, subtree),
    rangeHash({ from: middle, to }, subtree),
  );
}

/** The largest power of two below `size`, which is at least 2. */
function splitOf(size: number): number {
  let power = 1;
  while (power * 2 < size) power *= 2;
  return power;
}

function half(value: number): number {
  return Math.floor(value / 2);
}

/** An empty tree has one root only; a root of other sizes cannot be told by looking at it. */
function isRootOf(size: number, root: Uint8Array): boolean {
  return size > 0 || sameHash(root, emptyRoot());
}

/** Whether a proof that came from outside may be one: hashes, and no more than the largest tree needs. */
export function isProof(hashes: readonly Uint8Array[]): boolean {
  return hashes.length <= PROOF_HASHES_MAX && areHashes(hashes);
}

function areHashes(hashes: readonly Uint8Array[]): boolean {
  return hashes.every((hash) => hash.length === HASH_BYTES);
}

function isOrdered(...values: readonly number[]): boolean {
  return values.every((value, i) => {
    return Number.isSafeInteger(value) && (i === 0 || (values[i - 1] as number) <= value);
  });
}

function assertOrdered(...values: readonly number[]): void {
  if (!isOrdered(...values)) throw new RangeError(`not in order: ${values.join(" <= ")}`);
}
