import type { Socket } from "node:net";

/** A request, as it is asked of an origin. */
export type OriginCall = {
  readonly method: string;
  /** Path and query. */
  readonly path: string;
  /**
   * Flat name, value, ...; names lower case. Whatever says to whom the request goes, where it ends or what
   * becomes of its connection is not for the caller to say: such a header is a fault, but for a
   * content-length that is the body's.
   */
  readonly headers: readonly string[];
  readonly body: Uint8Array;
  /** The protocol that its connection is asked to speak from then on. */
  readonly upgrade?: string;
};

/** What whoever reads an answer may do about it, until it has ended; from then on nothing comes of it. */
export type CallControl = {
  /** Ends the call and its connection. Nothing more is told of it. */
  abort(): void;
  /** No more is read, until `resume`. */
  pause(): void;
  resume(): void;
};

/**
 * Who asks, and is told what becomes of it.
 *
 * After one of its two refused, and after `onEnd`, `onFault` or `onUpgraded`, nothing more is told. What one of them
 * throws is told by `onFault`, which throws nothing.
 */
export type CallHandler = {
  /** Asked before a connection is opened for the call. False: none is. */
  mayConnect(): boolean;
  /** Asked in the turn in which the call is written, right before. False: nothing of it is written. */
  mayWrite(control: CallControl): boolean;
  /** @param rawHeaders Flat name, value, ... as received. */
  onHead(status: number, rawHeaders: readonly string[]): void;
  /** Bytes of the body, for the handler to keep. They may be some more after a pause: what had been read by then. */
  onBody(bytes: Uint8Array): void;
  onEnd(): void;
  onFault(fault: Error): void;
  /** The origin has agreed to another protocol: the connection is the handler's. */
  onUpgraded?(rawHeaders: readonly string[], socket: Socket): void;
};
