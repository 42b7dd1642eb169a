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
  readonly #scopes = new Map<number, Set<string>>();

  /** A record has taken the place of another of its scope, or the scope's empty place. */
  replace(before: MeshRecord | undefined, record: MeshRecord): void {
    const bucket = bucketOf(record.scope);
    const sum = this.#sums[bucket] as bigint;
    this.#sums[bucket] = sum - (before ? tailOf(before) : 0n) + tailOf(record);
    if (before) return;
    const scopes = this.#scopes.get(bucket) ?? new Set();
    this.#scopes.set(bucket, scopes.add(record.scope));
  }

  /** All sums, 8 bytes big endian each. */
  toBytes(): Uint8Array {
    const bytes = Buffer.alloc(SUMS_BYTES);
    this.#sums.forEach((sum, bucket) => {
      bytes.writeBigUInt64BE(sum, bucket * SUM_BYTES);
    });
    return bytes;
  }

  /**
   * Buckets whose sums are others, ascending.
   *
   * @param bytes What `toBytes` of the other replica gave. `undefined` for anything of another length.
   */
  differing(bytes: Uint8Array): readonly number[] | undefined {
    if (bytes.length !== SUMS_BYTES) return undefined;
    const other = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    const buckets = Array.from({ length: BUCKETS }, (_, bucket) => bucket);
    return buckets.filter(
      (bucket) => other.readBigUInt64BE(bucket * SUM_BYTES) !== this.#sums[bucket],
    );
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
