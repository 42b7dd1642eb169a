/**
 * Entries as they travel from a node to an archive: one after the other, compressed. Records of one log are alike, and
 * a tenth of their bytes is left; every thread on the way copies, signs or checks what is left.
 */

import { constants, zstdCompressSync, zstdDecompressSync } from "node:zlib";
import { errorMessage } from "../ports/error-message.ts";
import { flawed, type Parsed } from "./parsed.ts";
import { type BundleFlaw, decodeEntries, TILE_WIDTH } from "./tiles.ts";

/** Entries of one package, at most. */
export const PACKED_ENTRIES_MAX = 4 * TILE_WIDTH;
/** Bytes of a package before it is compressed, at most. */
export const UNPACKED_BYTES_MAX = 512 * 1024;
/** Log2 of the memory that a package asks for where it is unpacked; one that asks for more is refused. */
const WINDOW_LOG = 19;
/** Room for all of a package that is small enough to be sent: what takes more is put together from pieces. */
const PACKED_BYTES = 64 * 1024;
/** What is unpacked is so much larger, at most, or it is put together from pieces. */
const LIKELY_RATIO = 16;

const PACKING = {
  chunkSize: PACKED_BYTES,
  params: {
    [constants.ZSTD_c_compressionLevel]: 1,
    [constants.ZSTD_c_windowLog]: WINDOW_LOG,
  },
};
const UNPACKING = {
  maxOutputLength: UNPACKED_BYTES_MAX,
  params: { [constants.ZSTD_d_windowLogMax]: WINDOW_LOG },
};

/**
 * @param encoded Entries as a bundle has them, within both limits; none gives none.
 */
export function packEntries(encoded: Uint8Array): Uint8Array {
  return encoded.length === 0 ? encoded : zstdCompressSync(encoded, PACKING);
}

/** Reads a package that anybody may have made. The entries share memory. */
export function unpackEntries(
  packed: Uint8Array,
): Parsed<Uint8Array[], BundleFlaw | "package_malformed"> {
  if (packed.length === 0) return { ok: true, value: [] };
  let bytes: Buffer;
  try {
    const chunkSize = Math.min(LIKELY_RATIO * packed.length, UNPACKED_BYTES_MAX);
    bytes = zstdDecompressSync(packed, { ...UNPACKING, chunkSize });
  } catch (error) {
    return flawed("package_malformed", errorMessage(error));
  }
  return decodeEntries(bytes, PACKED_ENTRIES_MAX);
}
