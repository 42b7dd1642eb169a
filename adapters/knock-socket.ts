import { readSync, writeSync } from "node:fs";

/** Longer than any knock. */
const BYTES_MAX = 64;

/** Sends a datagram to oneself and reads what came of it on its way; undefined: nothing has come back. */
export type KnockSocket = (datagram: Uint8Array) => Uint8Array | undefined;

/**
 * The socket that the launcher has connected to itself. What is sent by it has come back when the call returns,
 * because the loopback interface delivers in the sender's own turn. It never waits.
 *
 * @param fd Of a UDP socket that is not blocking.
 */
export function knockSocket(fd: number): KnockSocket {
  const heard = Buffer.alloc(BYTES_MAX);
  return (datagram) => {
    try {
      writeSync(fd, datagram);
      // Only what was left unread by a process before this one lies before the answer.
      for (;;) {
        const count = readSync(fd, heard);
        const last = heard.subarray(0, count);
        if (last.subarray(1).equals(datagram.subarray(1))) return last;
      }
    } catch {
      // Nothing to be read, or refused: the rules have not taken it as far as can be said.
      return undefined;
    }
  };
}
