/** Who is told of a request's body as it comes. */
export type BodyReader = {
  /** In memory of its own, which is the reader's. */
  onPiece(piece: Buffer): void;
  /** Nothing more will come: it is whole, or its sender has given it up. */
  onEnd(): void;
};

/** Bytes on their way to one reader at a time. */
export type ByteSource = {
  /** Tells of what comes from now on; of what is there already in this call. */
  tell(reader: BodyReader): void;
  /** Nobody is told any more, and what comes is left to wait. */
  hush(): void;
};

/** The body of a request. */
export type BodySource = ByteSource & {
  /** Every byte of it was told, or taken. */
  isComplete(): boolean;
  /** It ended because its sender gave it up: what came of it is no whole body. */
  isBroken(): boolean;
  /** A body of so many bytes, where all of it is there and none of it was told. */
  take(bytes: number): Buffer | undefined;
};

/** What is said of an answer with its head. */
export type AnswerForm = {
  /** The connection ends after this answer, where there is one for each answer. */
  readonly closes: boolean;
  /** A header says how long its body is; otherwise its end does. */
  readonly hasLength: boolean;
};

/**
 * What carries one request and its answer: all of an HTTP/1.1 connection, or one stream of an HTTP/2 one.
 *
 * It knows how things are said, and an exchange when. Calls after the wire is gone do nothing.
 */
export type ClientWire = {
  readonly body: BodySource;
  /** Asks for the body that the client has offered. */
  sayContinue(): void;
  /** @param headers Flat; none of them of the connection. The wire's from now on. */
  writeHead(status: number, headers: string[], form: AnswerForm): void;
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
