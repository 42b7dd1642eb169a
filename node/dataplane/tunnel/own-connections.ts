import { subscribe, unsubscribe } from "node:diagnostics_channel";
import type { Socket } from "node:net";

const CHANNEL = "net.client.socket";

/**
 * The TCP connections that this thread has opened and that stand, whichever part of it opened them.
 *
 * Where the rules do not tell the proxy from its agent, what the proxy dials is captured as well, and
 * would be dialled again without end. Such a connection is known by having the same two ends as one of
 * these. It is noted before its first byte is written, so it is known by the time that a door has read one.
 *
 * Each thread knows its own alone. What one has dialled and another takes goes round again, until it
 * comes to a thread that knows it.
 */
export class OwnConnections implements Disposable {
  readonly #open = new Set<string>();
  readonly #opened = (message: unknown): void => {
    const { socket } = message as { readonly socket: Socket };
    // Before all others that wait for this: one of them writes, and TLS is the first to.
    socket.prependOnceListener("connect", () => this.#note(socket));
  };

  constructor() {
    subscribe(CHANNEL, this.#opened);
  }

  /** Whether the accepted connection is one of them, seen from its other end. */
  isOther({ localAddress, localPort, remoteAddress, remotePort }: Socket): boolean {
    return this.#open.has(ends(remoteAddress, remotePort, localAddress, localPort));
  }

  [Symbol.dispose](): void {
    unsubscribe(CHANNEL, this.#opened);
    this.#open.clear();
  }

  #note(socket: Socket): void {
    const { localAddress, localPort, remoteAddress, remotePort } = socket;
    // A unix socket has no port, and is captured by nobody.
    if (localPort === undefined) return;
    const key = ends(localAddress, localPort, remoteAddress, remotePort);
    this.#open.add(key);
    socket.once("close", () => this.#open.delete(key));
  }
}

function ends(
  from: string | undefined,
  fromPort: number | undefined,
  to: string | undefined,
  toPort: number | undefined,
): string {
  return `${from} ${fromPort} ${to} ${toPort}`;
}
