/**
 * Entries as they travel from a node to an archive: one after the other, compressed. Records of one log are alike, and
 * a tenth of their bytes is left; every thread on the way copies, signs or checks what is left.
 */

import { constants, zstdCompressSync, zstdDecompressSync } from "node:zlib";
import { errorMessage } from "../ports/error-message.ts";
import { flawed, type Parsed } from "./parsed.ts";
import { type BundleFlaw, decodeEntries, encodeEntries, TILE_WIDTH } from "./tiles.ts";

/** Entries of one package, at most. */
export const PACKED_ENTRIES_MAX = 4 * TILE_WIDTH;
/** Bytes of a package before it is compressed, at most. */
export const UNPACKED_BYTES_MAX = 512 * 1024;
/** Log2 of the memory that a package asks for where it is unpacked; one that asks for more is refused. */
const WINDOW_LOG = 19;
/** The output is put together from pieces of this size, bytes. */
const PIECE_BYTES = 128 * 1024;

const PACKING = {
  chunkSize: PIECE_BYTES,
  params: {
    [constants.ZSTD_c_compressionLevel]: 1,
    [constants.ZSTD_c_windowLog]: WINDOW_LOG,
  },
};
const UNPACKING = {
  chunkSize: PIECE_BYTES,
  maxOutputLength: UNPACKED_BYTES_MAX,
  params: { [constants.ZSTD_d_windowLogMax]: WINDOW_LOG },
};

/**
 * @param entries Together within both limits; none gives none.
 * @throws RangeError One is above the format's own limit.
 */
export function packEntries(entries: readonly Uint8Array[]): Uint8Array {
  if (entries.length === 0) return new Uint8Array(0);
  return zstdCompressSync(encodeEntries(entries), PACKING);
}

/** Reads a package that anybody may have made. The entries share memory. */
export function unpackEntries(
  packed: Uint8Array,
): Parsed<Uint8Array[], BundleFlaw | "package_malformed"> {
  if (packed.length === 0) return { ok: true, value: [] };
  let bytes: Buffer;
  try {
    bytes = zstdDecompressSync(packed, UNPACKING);
  } catch (error) {
    return flawed("package_malformed", errorMessage(error));
  }
  return decodeEntries(bytes, PACKED_ENTRIES_MAX);
}
