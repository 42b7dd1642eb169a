import type { Reason } from "../../proto/reasons.ts";
import type { Answer, Exchange } from "./exchange.ts";
import { passedOn } from "./hop-headers.ts";
import type { ResponseSink, UpstreamHandle } from "./upstream-leg.ts";

/** How an answer over plain HTTP ended; told once. */
export type PlainOutcome = {
  /** Undefined: it was relayed whole. */
  readonly reason: Reason | undefined;
  /** Bytes of the answer's body. */
  readonly bytesDown: number;
  /** Whether the far side may have seen the request. */
  readonly sent: boolean;
};

export type PlainRelayInput = {
  readonly exchange: Exchange;
  /** Flat name, value, ...: what every answer of ours carries. */
  readonly headers: readonly string[];
  /** A look at the scope cells, taken at every chunk: why the answer has to end, if it has to. */
  readonly closedNow: () => Reason | undefined;
  /** The answer in place of one that has not begun. */
  readonly refusal: (reason: Reason) => Answer;
  readonly onOutcome: (outcome: PlainOutcome) => void;
};

export type PlainSink = ResponseSink & {
  /** Ends the answer from our side. */
  close(reason: Reason): void;
};

/**
 * Relays an answer unread, as it comes: the sink of `forward` for plain HTTP.
 *
 * An answer that breaks off is broken off at the client too, so that it is not taken for a whole one.
 */
export function relayPlain(input: PlainRelayInput): PlainSink {
  return new PlainRelay(input);
}

class PlainRelay implements PlainSink {
  readonly #input: PlainRelayInput;
  #upstream: UpstreamHandle | undefined;
  #bytesDown = 0;
  #begun = false;
  #over = false;

  constructor(input: PlainRelayInput) {
    this.#input = input;
    const { exchange } = input;
    exchange.onDrain(() => this.#upstream?.resume());
    // The kernel may have ended its connection before word of the kill came here.
    exchange.onGone(() => this.#end(this.#input.closedNow() ?? "client_gone"));
    exchange.onCut((cut) => this.#object(cut.by === "reason" ? cut.reason : `killed_${cut.by}`));
  }

  attach(upstream: UpstreamHandle): void {
    this.#upstream = upstream;
    if (this.#over) upstream.abort();
  }

  onHead(status: number, rawHeaders: readonly string[]): void {
    this.#objectToKill();
    if (this.#over) return;
    const { exchange, headers } = this.#input;
    const ours = new Set(headers.filter((_, index) => index % 2 === 0));
    this.#begun = true;
    exchange.begin(status, [...headers, ...passedOn(rawHeaders, ours)]);
  }

  onData(chunk: Uint8Array): boolean {
    this.#objectToKill();
    if (this.#over) return true;
    this.#bytesDown += chunk.length;
    return this.#input.exchange.write(chunk);
  }

  onEnd(): void {
    if (this.#over) return;
    this.#input.exchange.end();
    this.#end(undefined);
  }

  onError(reason: Reason): void {
    this.#object(reason);
  }

  close(reason: Reason): void {
    this.#object(reason);
  }

  /** A kill that the cells show already, before word of it comes. */
  #objectToKill(): void {
    const closed = this.#input.closedNow();
    if (closed !== undefined) this.#object(closed);
  }

  #object(reason: Reason): void {
    if (this.#over) return;
    const { exchange, refusal } = this.#input;
    if (this.#begun) exchange.cut(undefined);
    else exchange.answer(refusal(reason));
    this.#end(reason);
  }

  #end(reason: Reason | undefined): void {
    if (this.#over) return;
    this.#over = true;
    if (reason !== undefined) this.#upstream?.abort();
    const sent = this.#upstream?.sent ?? false;
    this.#input.onOutcome({ reason, bytesDown: this.#bytesDown, sent });
  }
}
