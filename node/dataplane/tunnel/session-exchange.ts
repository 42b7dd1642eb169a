import type { Answer, Exchange, Via } from "../exchange.ts";
import { answerBytes } from "../refusal-answer.ts";
import { CarriedExchange, type CarriedInput, type CarryHost } from "./carried-exchange.ts";

export type SessionInput = CarriedInput & { readonly via: Via | undefined };

const NO_BODY = Buffer.alloc(0);

/**
 * A client's request for a WebSocket, and the connection that it becomes.
 *
 * As a request it meets the whole chain, and is refused over HTTP. Once it is let through it is carried
 * unread, and ends as tunnels do.
 */
export class SessionExchange extends CarriedExchange implements Exchange {
  readonly via?: Via;

  constructor(host: CarryHost, input: SessionInput) {
    super(host, input, { isAsked: true });
    if (input.via !== undefined) this.via = input.via;
  }

  /** @param headers Flat: the handshake's own, and those that every answer of ours carries. */
  establish(headers: readonly string[]): void {
    this.establishBy(101, headers);
  }

  /**
   * Calls back when the client leaves, or speaks before it was let, which no client does that still
   * wants the session. Returns what ends the watch.
   */
  watchClient(onLeft: () => void): () => void {
    const { socket } = this;
    for (const event of ["data", "end"]) socket.once(event, onLeft);
    socket.resume();
    return () => {
      socket.pause();
      for (const event of ["data", "end"]) socket.off(event, onLeft);
    };
  }

  protected override answerBytes(answer: Answer): Uint8Array {
    return answerBytes(answer);
  }

  /** A close frame would have to be put between two frames of the far side, which nobody counts. */
  protected override lastWords(): undefined {
    return undefined;
  }

  /** A handshake has no body; one that had was refused. */
  readBody(): Promise<Buffer> {
    return Promise.resolve(NO_BODY);
  }

  onUnread(): void {}

  cut(): void {
    this.reset();
  }

  onGone(fn: () => void): void {
    this.onClosed(fn);
  }

  markStreaming(): void {}

  markToolStream(): void {}

  begin(): never {
    return unrelayed();
  }

  write(): never {
    return unrelayed();
  }

  onDrain(): never {
    return unrelayed();
  }

  end(): never {
    return unrelayed();
  }
}

function unrelayed(): never {
  throw new Error("invariant broken: a session is carried, and no answer of it is relayed");
}
