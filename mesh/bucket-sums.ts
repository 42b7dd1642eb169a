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
  /** As they go over the wire: of a thousand nodes that come back each has had a change or two, and asks. */
  readonly #sums = Buffer.alloc(SUMS_BYTES);
  readonly #scopes = new Map<number, Set<string>>();

  /** A record of a scope has taken the place of another, or of nothing; or nothing has taken its place. */
  replace(before: MeshRecord | undefined, record: MeshRecord | undefined): void {
    const scope = (record ?? before)?.scope;
    if (scope === undefined) return;
    const bucket = bucketOf(scope);
    const at = bucket * SUM_BYTES;
    const less = this.#sums.readBigUInt64BE(at) - (before ? tailOf(before) : 0n);
    this.#sums.writeBigUInt64BE(BigInt.asUintN(64, less + (record ? tailOf(record) : 0n)), at);
    const scopes = this.#scopes.get(bucket) ?? new Set();
    if (record === undefined) scopes.delete(scope);
    else if (before === undefined) this.#scopes.set(bucket, scopes.add(scope));
  }

  /** All sums as they are now, 8 bytes big endian each. */
  toBytes(): Uint8Array {
    return Buffer.from(this.#sums);
  }

  /**
   * Buckets whose sums are others, ascending.
   *
   * @param bytes What `toBytes` of the other replica gave. `undefined` for anything of another length.
   */
  differing(bytes: Uint8Array): readonly number[] | undefined {
    if (bytes.length !== SUMS_BYTES) return undefined;
    // A thousand nodes that come back ask at once: bytes are compared, and no sums are read out of them.
    const own = this.#sums;
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
