import type { Readable } from "node:stream";

/**
 * What carries one request and its answer: all of an HTTP/1.1 connection, or one stream of an HTTP/2 one.
 *
 * It knows how things are said, and an exchange when. Calls after the wire is gone do nothing.
 */
export type ClientWire = {
  /** The request's body as it comes. */
  readonly source: Readable;
  /** Every byte of the body has been received. */
  isBodyComplete(): boolean;
  /** A body of so many bytes waits in `source` whole, and no byte of it was read. */
  holdsBody(bytes: number): boolean;
  /** The body ended because its sender gave it up: what came of it is no whole body. */
  isBodyBroken(): boolean;
  /** Asks for the body that the client has offered. */
  sayContinue(): void;
  /**
   * @param headers Flat; none of them of the connection. The wire's from now on.
   * @param closes The connection ends after this answer, where there is one for each answer.
   */
  writeHead(status: number, headers: string[], closes: boolean): void;
  /** Sends the head before there is anything behind it. */
  flushHead(): void;
  /** False: stop until `onDrain` fires. */
  write(chunk: Uint8Array): boolean;
  onDrain(fn: () => void): void;
  end(body?: Uint8Array): void;
  /** Says a whole answer while the request's body is still coming. */
  endUnread(body: Uint8Array): void;
  /** The rest of that body has `ended`, or a bound was met: then no more of it is taken. */
  unreadOver(outcome: "ended" | "bounded"): void;
  /** All of the answer was handed over. */
  isFinished(): boolean;
  /** Bytes that the client has not taken yet. */
  unsentBytes(): number;
  /** Bytes that it has taken, to see whether it takes any. */
  takenBytes(): number;
  /**
   * Ends an answer that may not go on.
   *
   * @param lastFrame Makes it a whole answer; without it the client's reader sees that it is none.
   */
  cut(lastFrame: Uint8Array | undefined): void;
  /** The answer was said, and nothing more is expected of the client. */
  closeSoon(): void;
  /** At once, whatever is unsent. */
  reset(): void;
};
