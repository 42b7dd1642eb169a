/** Bounds on what an answer may make us keep. Over one of them it is `response_unscannable`. */
export const RELAY_LIMITS = {
  /** One event of a stream, bytes as sent. */
  frameBytesMax: 1024 * 1024,
  /** Events of one stream that wait for a possible match to be decided, bytes as sent. */
  heldBytesMax: 2 * 1024 * 1024,
  /** Texts that one stream carries side by side: choices, content blocks, tool calls. */
  channelsMax: 1024,
  /** A provider's error body, bytes; of a longer one nothing is passed on. */
  errorBytesMax: 64 * 1024,
} as const;
