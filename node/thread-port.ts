import type { Transferable } from "node:worker_threads";

/**
 * One end of a way between two threads of a node, as far as the node uses it: a `MessagePort` is one,
 * and so is a `Worker`. Messages come whole, once, and in the order of their calls, until an end is
 * gone.
 */
export type ThreadPort = {
  postMessage(message: unknown, transfer?: readonly Transferable[]): void;
  on<Message>(event: "message" | "close", fn: (message: Message) => void): unknown;
};

/** One that its holder may close; the other end then hears `close`. */
export type ClosablePort = ThreadPort & { close(): void };
