import type { Socket } from "node:net";

const MAPPED_IPV4 = "::ffff:";

/** An IPv4 client of a socket that serves both families is named by its IPv4 address. */
export function peerOf(socket: Socket): string {
  const address = socket.remoteAddress ?? "unknown";
  return address.startsWith(MAPPED_IPV4) ? address.slice(MAPPED_IPV4.length) : address;
}
