/** One message as a listener gets it. */
export type BusMessage = {
  readonly subject: string;
  readonly bytes: Uint8Array;
  /** Sequence in its stream. Present if and only if the message is committed. */
  readonly seq?: number;
  /** Answers an `ask`; absent when nobody waits. At most one answer is delivered. */
  readonly respond?: (bytes: Uint8Array) => void;
};

export type AppendOptions = {
  /** The same id within ten minutes is stored once; the answer is the first one's sequence. */
  readonly msgId: string;
  /** Sequence of the last message on this subject, 0 for none; otherwise nothing is stored. */
  readonly expectSeq: number;
};

/** What the outside did. `unknown`: an append may or may not have been stored; ask again, same msgId. */
export type BusFaultCode = "no_responders" | "timeout" | "closed" | "too_large" | "unknown";

export class BusFault extends Error {
  readonly code: BusFaultCode;
  constructor(code: BusFaultCode, message: string, options?: { cause: unknown }) {
    super(`${code}: ${message}`, options);
    this.name = "BusFault";
    this.code = code;
  }
}

/**
 * The mesh's transport: core publish-subscribe, request-reply, and a log that keeps the last message
 * of each subject.
 *
 * Nothing here is trusted for authenticity, order or delivery. Patterns use `*` for one token and a
 * final `>` for one or more. Payloads are at most 1,000,000 bytes (`too_large`).
 */
export type Bus = {
  /** Best effort, at most once. Never throws for a lost connection. */
  send(subject: string, bytes: Uint8Array): void;
  /** Calls `fn` for each message, in the order of arrival. Returns the way to stop. */
  listen(pattern: string, fn: (message: BusMessage) => void): () => void;
  /** Asks whoever listens and resolves with the first answer. Rejects with BusFault. */
  ask(subject: string, bytes: Uint8Array, timeoutMs: number): Promise<Uint8Array>;
  /**
   * Stores a message as its subject's last and has a committed copy delivered to `alt.bc.` listeners.
   * `conflict`: the subject's last sequence is not `expectSeq`; nothing was stored. Rejects with BusFault.
   */
  append(
    subject: string,
    bytes: Uint8Array,
    options: AppendOptions,
  ): Promise<{ readonly seq: number } | "conflict">;
  /**
   * Current messages of a stream with sequence >= `fromSeq`, in sequence order, at most `count`.
   * An empty answer is not proof that there are none: a lagging replica may have given it.
   */
  read(stream: string, fromSeq: number, count: number): Promise<readonly BusMessage[]>;
  /**
   * The stream's last message on one subject; `undefined` when there is none.
   *
   * @param from By default the stream's leader. `any`: whichever server has a copy, so that many who ask share them.
   *   It may lag: nothing, or what was there before, is no proof. For what can be checked by its bytes alone.
   */
  last(stream: string, subject: string, from?: "any"): Promise<BusMessage | undefined>;
  /** Calls `fn` after each (re)connection: whatever was sent in between is lost to listeners. */
  onUp(fn: () => void): void;
  /** Whether a connection stands now. */
  isUp(): boolean;
  close(): Promise<void>;
};
