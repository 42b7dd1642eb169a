import type { Reason } from "../../proto/reasons.ts";
import type { AtOnce } from "../at-once.ts";
import type { Cost, Door, KilledBy } from "../decision/facts.ts";
import type { KeyMemo } from "./key-memo.ts";
import type { ConnectTarget } from "./tunnel/connect-head.ts";

/** The head of a client's request, as it was received and not yet judged. */
export type RequestHead = {
  readonly method: string;
  /** Request target as received; of one in absolute form its path and query. */
  readonly target: string;
  /** Flat name, value, ... as received. */
  readonly rawHeaders: readonly string[];
  /** Remote address without port. */
  readonly peer: string;
};

/** The connection that a request came on whose TLS was ended here: for whom, and opened by whom. */
export type Via = {
  /** Server name of the TLS connection, and what it was opened to. */
  readonly host: string;
  readonly port: number;
  readonly door: Door;
  /** Where a captured connection was going, `address:port`. */
  readonly original: string | undefined;
  readonly agentId: string;
  /** What names the key that it was opened with. */
  readonly keyHandle: string;
  /** That key is a contract's. */
  readonly isContract: boolean;
};

/** What is sent to a client when no upstream answer is: a refusal, or an answer of our own. */
export type Answer = {
  readonly status: number;
  /** Flat name, value, ... */
  readonly headers: readonly string[];
  readonly body: Uint8Array;
};

/** Why an open exchange was ended from our side. */
export type Cut =
  | {
      readonly by: KilledBy;
      /** The kernel has the kill as well: to whoever it captured it lets nothing through but a reset. */
      readonly isGated?: boolean;
    }
  | { readonly by: "reason"; readonly reason: Reason };

/** Whether last words would be dropped on their way, so that a reset is all that can be heard. */
export function isUnheard(cut: Cut | undefined, door: Door): boolean {
  return door === "transparent" && cut !== undefined && cut.by !== "reason" && cut.isGated === true;
}

/**
 * One request of one client and everything that may be said back to it.
 *
 * It is registered before anything is checked, so a kill that lands between registration and check
 * cannot miss it. Exactly one of `answer`, `begin` is called, once; afterwards only `end` or `cut`.
 */
export type Exchange = {
  /** UUIDv7, ours. */
  readonly requestId: string;
  readonly door: Door;
  readonly head: RequestHead;
  /** Absent for a request to the gateway. */
  readonly via?: Via;
  /** Where a request in absolute form goes, which only the forward proxy takes. */
  readonly proxied?: ConnectTarget;
  /** What its connection remembers of the key that was sent on it last. */
  readonly keyMemo?: KeyMemo;
  /** Monotonic time at which the head was complete, nanoseconds. */
  readonly headAtNs: bigint;
  /** Names the agent: from here on a kill of its scopes finds this exchange. */
  claim(agentId: string, contractId: string | undefined): void;
  /**
   * The whole body, or why there is none. Never called for a request refused at its head.
   * Rejects never; a client that goes away is `client_gone`.
   */
  readBody(limits: {
    readonly bytesMax: number;
    readonly timeoutMs: number;
  }): AtOnce<Buffer | Reason>;
  /** Sees what is discarded of a body that nobody reads; to be called before the answer. */
  onUnread(fn: (piece: Uint8Array) => void): void;
  /** The whole answer at once. An unread body is discarded within bounds before the close. */
  answer(answer: Answer): void;
  /** Begins an answer that is relayed. */
  begin(status: number, headers: readonly string[]): void;
  /** False: stop until `onDrain` fires. */
  write(chunk: Uint8Array): boolean;
  onDrain(fn: () => void): void;
  end(): void;
  /** Writes the dialect's last frame, if any, then closes: FIN within 250 ms, RST otherwise. */
  cut(lastFrame: Uint8Array | undefined): void;
  /** Fires once when a kill, stale mesh or drain ends this exchange from outside. */
  onCut(fn: (cut: Cut) => void): void;
  /** Fires once when the client is gone before the end of the answer. */
  onGone(fn: () => void): void;
  /** What is held for it now, for lists of holds; undefined once it is settled. */
  setHeld(held: Cost | undefined): void;
  /** Set when the answer is a stream, for lists of connections. */
  markStreaming(): void;
  /** A stream was asked for in which tools may be called: quarantine ends it. */
  markToolStream(): void;
};
