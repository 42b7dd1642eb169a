// Entries of a store as they lie on the disk: a value, and behind it a checksum over its key and itself.
//
// LMDB has none of its own: one bit that flips in its file would be another limit, another balance or
// another key, and nobody would be told.

import { crc32c } from "../audit/crc32c.ts";

export const CHECKSUM_BYTES = 4;

/** The value with its checksum, in bytes of their own. */
export function withChecksum(key: Uint8Array, value: Uint8Array): Buffer {
  const stored = Buffer.allocUnsafe(value.length + CHECKSUM_BYTES);
  stored.set(value);
  stored.writeUInt32BE(checksumOf(key, value), value.length);
  return stored;
}

/** The value; `undefined` where it is not what was written under that key. */
export function checkedValue(key: Uint8Array, stored: Buffer): Buffer | undefined {
  const length = stored.length - CHECKSUM_BYTES;
  if (length < 0) return undefined;
  const value = stored.subarray(0, length);
  return stored.readUInt32BE(length) === checksumOf(key, value) ? value : undefined;
}

/** Of both apart, so that nothing has to be put together for it. */
function checksumOf(key: Uint8Array, value: Uint8Array): number {
  const ofKey = crc32c(key);
  return (((ofKey << 1) | (ofKey >>> 31)) ^ crc32c(value)) >>> 0;
}
