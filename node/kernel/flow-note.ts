import { addressBytes } from "./address-bytes.ts";

/** The two ends of a connection that was taken in. */
export type FlowEnds = {
  readonly localAddress?: string | undefined;
  readonly localPort?: number | undefined;
  readonly remoteAddress?: string | undefined;
  readonly remotePort?: number | undefined;
};

const NOTE_BYTES = 40;
const FAMILY = { 4: 2, 16: 10 } as const;

/**
 * Names a connection by its ends to the gate's helper: family, three zeros, own and peer's port, own and peer's
 * address, in the network's order.
 *
 * @returns Undefined: it has ended, and has no ends any more; or they are of one link alone, where nobody is captured.
 * @see node/kernel/gate-helper/told-sockets.c, struct told
 */
export function flowNote(of: FlowEnds): Uint8Array | undefined {
  const { localAddress, localPort = 0, remoteAddress, remotePort = 0 } = of;
  if (!isKnown(localAddress) || !isKnown(remoteAddress)) return undefined;
  const [own, peer] = [addressBytes(localAddress), addressBytes(remoteAddress)];
  const note = Buffer.alloc(NOTE_BYTES);
  note[0] = FAMILY[peer.length as 4 | 16];
  note.writeUInt16BE(localPort, 4);
  note.writeUInt16BE(remotePort, 6);
  note.set(own, 8);
  note.set(peer, 24);
  return note;
}

function isKnown(address: string | undefined): address is string {
  return address !== undefined && !address.includes("%");
}
