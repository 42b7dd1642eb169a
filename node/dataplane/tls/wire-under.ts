import type { Socket } from "node:net";

const WIRES = new WeakMap<Socket, Socket>();
const TLS = new WeakMap<Socket, Socket>();

/** Notes the connection that carries a TLS one: only that can be reset. */
export function carriesTls(wire: Socket, tls: Socket): void {
  WIRES.set(tls, wire);
  TLS.set(wire, tls);
}

/** The TLS connection of ours that a connection carries, if it carries one. */
export function tlsOver(wire: Socket): Socket | undefined {
  return TLS.get(wire);
}

/** The connection under a TLS one; the socket itself where there is no TLS of ours. */
export function wireUnder(socket: Socket): Socket {
  return WIRES.get(socket) ?? socket;
}
