import {
  brotliDecompressSync,
  constants,
  gunzipSync,
  type InputType,
  zstdDecompressSync,
} from "node:zlib";
import type { Missing } from "../decision/facts.ts";
import type { Encoding } from "./content-encoding.ts";
import { DECODE_LIMITS } from "./decode-limits.ts";

/** How a body was sent, and how much it may be. */
export type EncodedBody = {
  readonly encoding: Encoding;
  /** The policy's bound on a body, which holds for what it says and not only for how it was sent. */
  readonly bytesMax: number;
};

/**
 * What a compressed body says. Busy for as long as that takes, so for the inspect pool alone.
 *
 * Memory is bounded before anything is decompressed: by the policy's bound on bodies, and by a ratio, so
 * that a few bytes never cost the time of many. What follows the end of the compressed data is refused:
 * another reader might have read on.
 *
 * @returns `body_too_large`, `decompression_ratio` or `malformed_encoding` where there is no such thing.
 */
export function decodeBody(bytes: Uint8Array, of: EncodedBody): Uint8Array | Missing {
  const { ratioMax, freeBytes } = DECODE_LIMITS;
  const byRatio = Math.max(freeBytes, bytes.length * ratioMax);
  const isRatio = byRatio < of.bytesMax;
  const maxOutputLength = Math.min(byRatio, of.bytesMax);
  try {
    const { buffer, engine } = DECODERS[of.encoding](bytes, { maxOutputLength, info: true });
    return engine.bytesWritten === bytes.length ? buffer : TRAILING;
  } catch (error) {
    if (!isTooLarge(error)) return { missing: "malformed_encoding", detail: of.encoding };
    return isRatio
      ? { missing: "decompression_ratio", detail: `at most ${ratioMax} times its size` }
      : { missing: "body_too_large" };
  }
}

const TRAILING: Missing = { missing: "malformed_encoding", detail: "more follows its end" };

type Options = { readonly maxOutputLength: number; readonly info: true };
/** With `info` all of them return this, which their types leave out. */
type Decoded = { readonly buffer: Buffer; readonly engine: { readonly bytesWritten: number } };
type Decoder = (bytes: Uint8Array, options: Options) => Decoded;

const DECODERS: Readonly<Record<Encoding, Decoder>> = {
  gzip: told(gunzipSync),
  br: told(brotliDecompressSync),
  zstd: told((bytes: InputType, options: Options) =>
    zstdDecompressSync(bytes, {
      ...options,
      params: { [constants.ZSTD_d_windowLogMax]: Math.log2(DECODE_LIMITS.zstdWindowBytesMax) },
    }),
  ),
};

function told(decode: (bytes: InputType, options: Options) => unknown): Decoder {
  return decode as Decoder;
}

function isTooLarge(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === "ERR_BUFFER_TOO_LARGE";
}
