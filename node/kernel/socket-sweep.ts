import { addressBytes } from "./address-bytes.ts";
import {
  ackOf,
  FLAG,
  isLast,
  type NetlinkMessage,
  netlinkMessage,
  netlinkMessages,
} from "./netlink-message.ts";

// Finds the TCP sockets of this network whose peer is killed, and has the kernel end each of them, as
// `ss -K` does. It is the last resort: it works also when the proxy that owns the sockets is stuck.
// Source: linux/sock_diag.h and linux/inet_diag.h; needs CONFIG_INET_DIAG_DESTROY.

const BY_FAMILY = 20;
const DESTROY = 21;
const TCP = 6;
const FAMILY = { 4: 2, 6: 10 } as const;
const REQUEST_BYTES = 56;
/** Where the socket's own ports and addresses begin in a request, and in an answer. */
const ID_IN_REQUEST = 8;
const ID_IN_ANSWER = 4;
const ID_BYTES = 48;
const PEER_IN_ID = 20;
/** Where an answer says which timer a socket has; that of TIME_WAIT has also one that shows FIN_WAIT2 as its state. */
const TIMER_IN_ANSWER = 2;
const TIMER_OF_TIME_WAIT = 3;
/** Listeners stay; a socket in TIME_WAIT has no owner left, and there may be very many. */
const STATES = [1, 2, 3, 4, 5, 8, 9, 11].reduce((all, state) => all | (1 << state), 0);

/** Asks for all TCP sockets of a family that have a peer. */
export function socketsRequest(family: 4 | 6): Uint8Array {
  const body = Buffer.alloc(REQUEST_BYTES);
  body[0] = FAMILY[family];
  body[1] = TCP;
  body.writeUInt32LE(STATES, 4);
  return netlinkMessage({ type: BY_FAMILY, flags: FLAG.dump, no: 1, body });
}

/** Whether the list of sockets ends with this piece of it. */
export function isSocketListComplete(piece: Uint8Array): boolean {
  return netlinkMessages(piece).some(isLast);
}

/**
 * The requests that end those of the listed sockets whose peer is one of the addresses.
 *
 * @returns An error's number instead, when the kernel did not list them.
 */
export function destroyRequests(
  answer: Uint8Array,
  addresses: readonly string[],
  family: 4 | 6,
): readonly Uint8Array[] | number {
  const messages = netlinkMessages(answer);
  const failed = messages.map(ackOf).find((code) => code !== undefined && code !== 0);
  if (failed !== undefined) return failed;
  const killed = new Set(addresses.map((address) => hex(addressBytes(address))));
  const length = family === 4 ? 4 : 16;
  return messages
    .filter(({ type, body }) => type === BY_FAMILY && body.length >= ID_IN_ANSWER + ID_BYTES)
    .filter(({ body }) => body[TIMER_IN_ANSWER] !== TIMER_OF_TIME_WAIT)
    .filter((message) => {
      const at = ID_IN_ANSWER + PEER_IN_ID;
      return killed.has(hex(message.body.subarray(at, at + length)));
    })
    .map((message, i) => destroyRequest(message, i + 1));
}

/** Names the socket as the kernel named it, by its cookie too: never one that came after it. */
function destroyRequest({ body: found }: NetlinkMessage, no: number): Uint8Array {
  const body = Buffer.alloc(REQUEST_BYTES);
  body[0] = found[0] as number;
  body[1] = TCP;
  body.writeUInt32LE(0xffff_ffff, 4);
  body.set(found.subarray(ID_IN_ANSWER, ID_IN_ANSWER + ID_BYTES), ID_IN_REQUEST);
  return netlinkMessage({ type: DESTROY, flags: FLAG.ack, no, body });
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}
