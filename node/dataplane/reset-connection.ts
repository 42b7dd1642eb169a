import type { Socket } from "node:net";
import { TLSSocket } from "node:tls";
import { tlsOver, wireUnder } from "./tls/wire-under.ts";

/**
 * RST: what is still unsent is dropped, and the peer learns it at once.
 *
 * While a FIN is on its way out libuv refuses to reset (EINVAL), and `resetAndDestroy` then leaves
 * the socket open for ever, without a `close` event. Everything has been sent by then, so closing
 * is enough.
 *
 * @see https://docs.libuv.org/en/v1.x/tcp.html#c.uv_tcp_close_reset
 */
export function resetConnection(socket: Socket): void {
  if (socket.destroyed) return;
  const wire = wireUnder(socket);
  // The FIN of a TLS connection that has ended is sent past the socket of its wire.
  const isEnded = [wire, socket, tlsOver(wire)].some(hasEnded);
  // Of a TLS connection that somebody else has made there is no wire to reset.
  if (isEnded || wire.destroyed || wire instanceof TLSSocket) socket.destroy();
  else wire.resetAndDestroy();
  // A wire that is reset takes what it carries with it, but only in a later turn.
  if (wire !== socket) socket.destroy();
}

function hasEnded(socket: Socket | undefined): boolean {
  return socket?.writableEnded === true && socket.writableLength === 0;
}
