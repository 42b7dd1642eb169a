import { createHash } from "node:crypto";
import type { MeshRecord } from "./record.ts";

/** Scopes fall into so many buckets, by the first byte of SHA-256 of their name. */
export const BUCKETS = 256;
const SUM_BYTES = 8;
/** Bytes of all sums on the wire. */
export const SUMS_BYTES = BUCKETS * SUM_BYTES;

/**
 * For each bucket of scopes the sum of its records' hashes, so that two replicas find what differs by
 * exchanging 2 KB and the records of a few buckets, whatever else they hold.
 *
 * A sum has the last 8 bytes of what the state's hash sums up whole. It says where to look and never that
 * nothing is missing: only the whole hash says that.
 */
export class BucketSums {
  readonly #sums = new BigUint64Array(BUCKETS);
  /** As they go over the wire, until one of them changes. */
  #bytes: Buffer | undefined;
  readonly #scopes = new Map<number, Set<string>>();

  /** A record of a scope has taken the place of another, or of nothing; or nothing has taken its place. */
  replace(before: MeshRecord | undefined, record: MeshRecord | undefined): void {
    const scope = (record ?? before)?.scope;
    if (scope === undefined) return;
    const bucket = bucketOf(scope);
    const sum = this.#sums[bucket] as bigint;
    this.#sums[bucket] = sum - (before ? tailOf(before) : 0n) + (record ? tailOf(record) : 0n);
    this.#bytes = undefined;
    const scopes = this.#scopes.get(bucket) ?? new Set();
    if (record === undefined) scopes.delete(scope);
    else if (before === undefined) this.#scopes.set(bucket, scopes.add(scope));
  }

  /** All sums, 8 bytes big endian each. Whoever gets them changes nothing of them. */
  toBytes(): Uint8Array {
    if (this.#bytes !== undefined) return this.#bytes;
    const bytes = Buffer.alloc(SUMS_BYTES);
    this.#sums.forEach((sum, bucket) => {
      bytes.writeBigUInt64BE(sum, bucket * SUM_BYTES);
    });
    this.#bytes = bytes;
    return bytes;
  }

  /**
   * Buckets whose sums are others, ascending.
   *
   * @param bytes What `toBytes` of the other replica gave. `undefined` for anything of another length.
   */
  differing(bytes: Uint8Array): readonly number[] | undefined {
    if (bytes.length !== SUMS_BYTES) return undefined;
    // A thousand nodes that come back ask at once: bytes are compared, and no sums are read out of them.
    const own = this.toBytes();
    const buckets: number[] = [];
    for (let bucket = 0; bucket < BUCKETS; bucket += 1) {
      const at = bucket * SUM_BYTES;
      for (let i = at; i < at + SUM_BYTES; i += 1) {
        if (own[i] === bytes[i]) continue;
        buckets.push(bucket);
        break;
      }
    }
    return buckets;
  }

  /** Scopes of these buckets that have a record, in no particular order. */
  scopesIn(buckets: readonly number[]): readonly string[] {
    return buckets.flatMap((bucket) => [...(this.#scopes.get(bucket) ?? [])]);
  }
}

function bucketOf(scope: string): number {
  return createHash("sha256").update(scope).digest()[0] as number;
}

function tailOf({ hash }: MeshRecord): bigint {
  return Buffer.from(hash.buffer, hash.byteOffset, hash.length).readBigUInt64BE(
    hash.length - SUM_BYTES,
  );
}
