/** RFC 6962 section 2.1 word for word: the reading that the tests hold the real tree against. */

import { createHash } from "node:crypto";

export function naiveRoot(entries: readonly Uint8Array[]): Buffer {
  const hash = createHash("sha256");
  if (entries.length === 0) return hash.digest();
  if (entries.length === 1)
    return hash
      .update("\u0000")
      .update(entries[0] as Uint8Array)
      .digest();
  const k = split(entries.length);
  return hash
    .update("\u0001")
    .update(naiveRoot(entries.slice(0, k)))
    .update(naiveRoot(entries.slice(k)))
    .digest();
}

/** PATH(m, D[n]). */
export function naivePath(m: number, entries: readonly Uint8Array[]): Buffer[] {
  const n = entries.length;
  if (n === 1) return [];
  const k = split(n);
  return m < k
    ? [...naivePath(m, entries.slice(0, k)), naiveRoot(entries.slice(k))]
    : [...naivePath(m - k, entries.slice(k)), naiveRoot(entries.slice(0, k))];
}

/** PROOF(m, D[n]) = SUBPROOF(m, D[n], true). */
export function naiveProof(m: number, entries: readonly Uint8Array[], whole = true): Buffer[] {
  const n = entries.length;
  if (m === n) return whole ? [] : [naiveRoot(entries)];
  const k = split(n);
  return m <= k
    ? [...naiveProof(m, entries.slice(0, k), whole), naiveRoot(entries.slice(k))]
    : [...naiveProof(m - k, entries.slice(k), false), naiveRoot(entries.slice(0, k))];
}

function split(n: number): number {
  return 2 ** Math.floor(Math.log2(n - 1));
}

export function numberedEntries(count: number): Buffer[] {
  return Array.from({ length: count }, (_, i) => Buffer.from(`entry ${i}`));
}
