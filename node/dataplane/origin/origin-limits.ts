/** Bounds on what an origin may make us read beside its answer's body. Over one of them it is `upstream_failed`. */
export const ORIGIN_LIMITS = {
  /** Status line and headers, bytes; of those between as well, which are not the answer yet. */
  headBytesMax: 32 * 1024,
  /** Header lines of one head. */
  headersMax: 256,
  /** Heads with a status below 200 before the one of the answer. */
  interimHeadsMax: 16,
  /** What stands behind the size of one chunk, bytes. */
  chunkExtensionBytesMax: 1_024,
  /** Headers behind the last chunk, bytes; they are dropped. */
  trailerBytesMax: 8 * 1024,
} as const;
