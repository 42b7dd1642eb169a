import { brotliCompressSync, constants, gzipSync, zstdCompressSync } from "node:zlib";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ENCODINGS, type Encoding } from "../../../../node/dataplane/content-encoding.ts";
import { decodeBody } from "../../../../node/dataplane/decode-body.ts";
import { DECODE_LIMITS } from "../../../../node/dataplane/decode-limits.ts";
import { proofCount } from "../../../support/proof.ts";

const COMPRESS: Readonly<Record<Encoding, (bytes: Uint8Array) => Buffer>> = {
  gzip: (bytes) => gzipSync(bytes),
  br: (bytes) => brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: 5 } }),
  zstd: (bytes) => zstdCompressSync(bytes),
};
const BYTES_MAX = 2 * 1024 * 1024;
const WORDS = Buffer.from(JSON.stringify({ content: "a few words and é" }));

const decoded = (encoding: Encoding, bytes: Uint8Array, bytesMax = BYTES_MAX) =>
  decodeBody(bytes, { encoding, bytesMax });
/** So much that nothing but its beginning can be looked at. */
const nothingBut = (bytes: number) => Buffer.alloc(bytes, 0x20);

describe.each(ENCODINGS)("%s", (encoding) => {
  const compress = COMPRESS[encoding];

  test("says what was compressed", () => {
    expect(decoded(encoding, compress(WORDS))).toEqual(WORDS);
  });

  test("that grows beyond its ratio is refused, and what lies below it is not", () => {
    const bomb = compress(nothingBut(BYTES_MAX));
    expect(bomb.length * DECODE_LIMITS.ratioMax).toBeLessThan(BYTES_MAX);
    expect(decoded(encoding, bomb)).toMatchObject({ missing: "decompression_ratio" });
    const repeated = nothingBut(DECODE_LIMITS.freeBytes);
    expect(decoded(encoding, compress(repeated))).toEqual(repeated);
    const oneMore = compress(nothingBut(DECODE_LIMITS.freeBytes + 1));
    expect(decoded(encoding, oneMore)).toMatchObject({ missing: "decompression_ratio" });
  });

  test("is as large as policy lets a body be, and no larger", () => {
    const body = Buffer.from(Array.from({ length: 4_096 }, (_, i) => (i * 7919) % 251));
    expect(decoded(encoding, compress(body), 4_096)).toEqual(body);
    expect(decoded(encoding, compress(body), 4_095)).toEqual({ missing: "body_too_large" });
  });

  test("is refused at every length but its own", () => {
    const whole = compress(WORDS);
    for (let length = 0; length < whole.length; length++) {
      const part = decoded(encoding, whole.subarray(0, length));
      expect(part, `${length} of ${whole.length}`).toMatchObject({ missing: "malformed_encoding" });
    }
    for (const more of ["\0", "{}", "garbage"]) {
      const longer = decoded(encoding, Buffer.concat([whole, Buffer.from(more)]));
      expect(longer).toMatchObject({ missing: "malformed_encoding" });
    }
  });

  test("of any bytes is refused, or is within its bounds", () => {
    const { count, seed } = proofCount(`decode ${encoding}`, { small: 60, full: 20_000 });
    const seeds = fc.oneof(
      fc.uint8Array({ maxLength: 200 }),
      fc.uint8Array({ maxLength: 400 }).map((bytes) => new Uint8Array(compress(bytes))),
    );
    const edits = fc.array(fc.tuple(fc.nat(400), fc.nat(255)), { maxLength: 4 });
    fc.assert(
      fc.property(seeds, edits, (bytes, changes) => {
        const changed = Uint8Array.from(bytes);
        for (const [at, to] of changes) if (at < changed.length) changed[at] = to;
        const result = decoded(encoding, changed, 1_024);
        if (!("missing" in result)) expect(result.length).toBeLessThanOrEqual(1_024);
      }),
      { numRuns: count, seed },
    );
  });
});

test("zstd that wants more memory than its window is refused", () => {
  const windowLog = Math.log2(DECODE_LIMITS.zstdWindowBytesMax) + 1;
  const params = { [constants.ZSTD_c_windowLog]: windowLog };
  const far = zstdCompressSync(nothingBut(2 * DECODE_LIMITS.zstdWindowBytesMax), { params });
  expect(decoded("zstd", far)).toMatchObject({ missing: "malformed_encoding" });
});
