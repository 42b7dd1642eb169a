import type { Transferable } from "node:worker_threads";
import type { ClosablePort, ThreadPort } from "./thread-port.ts";

/** Messages in one that crosses; what is more follows in the next. */
export const MESSAGES_GATHERED_MAX = 256;

/** One message between threads that stands for several, in their order. */
type Gathered = { readonly t: "gathered"; readonly messages: readonly unknown[] };

/**
 * Sends what is posted in one turn of the event loop as one message, at the turn's end. Each message
 * that crosses wakes the other thread, and costs both some ten microseconds beside its content: with
 * a thousand agents that begin in a second, more than what it says.
 *
 * Both ends of a way must be wrapped. Order is kept. Nothing waits for longer than the turn in which it
 * was posted, and what is `urgent`, or hands over a port, takes along what waits and goes at once.
 */
export function gatheredPort<P extends ThreadPort | ClosablePort>(
  port: P,
  urgent: (message: never) => boolean = () => false,
): P extends ClosablePort ? ClosablePort : ThreadPort {
  return new GatheredPort(port, urgent as (message: unknown) => boolean);
}

class GatheredPort implements ClosablePort {
  readonly #port: ThreadPort & { close?(): void };
  readonly #urgent: (message: unknown) => boolean;
  #waiting: unknown[] = [];
  #isPlanned = false;

  constructor(port: ThreadPort, urgent: (message: unknown) => boolean) {
    this.#port = port;
    this.#urgent = urgent;
  }

  postMessage(message: unknown, transfer: readonly Transferable[] = []): void {
    if (transfer.length > 0) {
      this.#flush();
      this.#port.postMessage(message, transfer);
      return;
    }
    this.#waiting.push(message);
    if (this.#waiting.length >= MESSAGES_GATHERED_MAX || this.#urgent(message)) this.#flush();
    else this.#plan();
  }

  on<Message>(event: "message" | "close", fn: (message: Message) => void): unknown {
    if (event === "close") return this.#port.on(event, fn);
    return this.#port.on(event, (message: Gathered | Message) => {
      if (!isGathered(message)) fn(message);
      else for (const one of message.messages) fn(one as Message);
    });
  }

  close(): void {
    this.#flush();
    this.#port.close?.();
  }

  #plan(): void {
    if (this.#isPlanned) return;
    this.#isPlanned = true;
    setImmediate(() => {
      this.#isPlanned = false;
      this.#flush();
    });
  }

  #flush(): void {
    const messages = this.#waiting;
    if (messages.length === 0) return;
    this.#waiting = [];
    const [only] = messages;
    const gathered: Gathered = { t: "gathered", messages };
    this.#port.postMessage(messages.length === 1 ? only : gathered);
  }
}

function isGathered(message: unknown): message is Gathered {
  return (message as Partial<Gathered> | undefined)?.t === "gathered";
}
