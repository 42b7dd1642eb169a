/** Every bound of the client's side of a door: name, unit, default. */
export type GatewayLimits = {
  /** Request line and headers together; `head_too_large` above it. */
  readonly headBytesMax: number;
  /** Header lines of one request; `head_too_large` above it. */
  readonly headersMax: number;
  /** From the connection, or the first byte of a later request, to the end of the head. */
  readonly headTimeoutMs: number;
  /** How often slow heads are looked for: a head may be this much later than its timeout. */
  readonly headSweepMs: number;
  /** How long a connection may be silent between two requests. */
  readonly keepAliveTimeoutMs: number;
  /** A connection without a request for this long may be closed to make room for another. */
  readonly idleEvictableMs: number;
  /** Of what a client sends before it is asked for, a body or its next request, so much is kept; more is not read. */
  readonly waitingBytesMax: number;
  /** What stands behind the size of one chunk of a body; `malformed_http` above it. */
  readonly chunkExtensionBytesMax: number;
  /** The same of all chunks of one body together. */
  readonly chunkExtensionsBytesMax: number;
  /** Headers behind the last chunk, which are dropped; `malformed_http` above it. */
  readonly trailerBytesMax: number;
  /** Connections that the kernel may hold before they are accepted. */
  readonly backlog: number;
  /** The same of captured ones, which wait there for the next node while one is replaced. */
  readonly captureBacklog: number;
  /** Request bytes that are read and thrown away after a refusal. */
  readonly lingerBytesMax: number;
  /** How long they are read. */
  readonly lingerTimeoutMs: number;
  /** Connections of one agent, or of all unknown ones together, that may linger at once. */
  readonly lingerPerAgentMax: number;
  /** Connections of this loop that may linger at once. */
  readonly lingerMax: number;
  /** A client that takes nothing of an answer for this long is gone. */
  readonly stalledReaderMs: number;
  /** A client that has not taken all of an answer for this long after it was said is gone too. */
  readonly slowReaderMs: number;
  /** Sockets that are refused for want of room and not yet closed; more are closed unanswered. */
  readonly turnedAwayMax: number;
};

export const GATEWAY_LIMITS: GatewayLimits = {
  headBytesMax: 16 * 1024,
  headersMax: 128,
  headTimeoutMs: 10_000,
  headSweepMs: 500,
  keepAliveTimeoutMs: 65_000,
  idleEvictableMs: 1_000,
  waitingBytesMax: 64 * 1024,
  chunkExtensionBytesMax: 1_024,
  chunkExtensionsBytesMax: 16 * 1024,
  trailerBytesMax: 8 * 1024,
  backlog: 1_024,
  captureBacklog: 4_096,
  lingerBytesMax: 16 * 1024 * 1024,
  lingerTimeoutMs: 1_000,
  lingerPerAgentMax: 128,
  lingerMax: 512,
  stalledReaderMs: 60_000,
  slowReaderMs: 600_000,
  turnedAwayMax: 64,
};
