/** Bounds on what a compressed body may become. */
export const DECODE_LIMITS = {
  /** Times its own size; text of people and programs becomes some 3 to 20 times as much. */
  ratioMax: 100,
  /** Bytes up to which the ratio does not count: a short body may be nothing but repetition. */
  freeBytes: 64 * 1024,
  /** Memory for what was said before, bytes. @see https://www.rfc-editor.org/rfc/rfc9659 */
  zstdWindowBytesMax: 8 * 1024 * 1024,
  /** What is decompressed of an answer before anything else may run, bytes. */
  stepBytes: 16 * 1024,
} as const;
