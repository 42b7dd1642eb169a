import type { Reason } from "../../proto/reasons.ts";

/** The request to a provider, as whoever relays its answer may act on it. */
export type UpstreamHandle = {
  /** Whether the provider may have seen the request, and so may bill it. */
  readonly sent: boolean;
  /** Ends it, answered or not. Nothing more is told of it. */
  abort(): void;
  /** Lets the answer go on after `onData` said false. */
  resume(): void;
  /**
   * A bug of ours in what was done with its answer later than in a call of its sink, which is told of it as
   * of any other.
   */
  fault(error: unknown): void;
};

/** Where the answer of a provider goes. After `onEnd` or `onError` nothing more is told. */
export type ResponseSink = {
  /** Called first, before the request is begun. */
  attach(handle: UpstreamHandle): void;
  /** @param rawHeaders Flat name, value, ... as received. */
  onHead(status: number, rawHeaders: readonly string[]): void;
  /** False: no more until `resume`. What has been received by then may still come. */
  onData(chunk: Uint8Array): boolean;
  onEnd(): void;
  /** @param sent As the handle says: false means that nothing of the request has left. */
  onError(reason: Reason, sent: boolean): void;
};
