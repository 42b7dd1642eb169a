import type { Socket } from "node:net";

/** When a bare socket's FIN or RST came, as this end of it sees it. */
export class SocketEnd {
  isClosed = false;
  /** Monotonic; 0 while it is open. */
  closedNs = 0n;

  constructor(socket: Socket) {
    const ended = (): void => {
      if (this.isClosed) return;
      this.isClosed = true;
      this.closedNs = process.hrtime.bigint();
    };
    socket.on("end", ended);
    socket.on("error", ended);
    socket.on("close", ended);
  }
}

/** When the last of them closed, monotonic nanoseconds. @param sinceNs What is told where none closed later. */
export function lastClosedNs(
  clients: readonly { readonly end: SocketEnd }[],
  sinceNs = 0n,
): bigint {
  return clients.reduce((last, { end }) => (end.closedNs > last ? end.closedNs : last), sinceNs);
}
