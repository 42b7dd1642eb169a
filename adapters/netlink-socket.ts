import { readSync, writeSync } from "node:fs";

/** Sends one request to the kernel and gives back all that it answers, in the same turn. */
export type NetlinkSocket = { request(bytes: Uint8Array, isComplete: AnswerEnd): Uint8Array };

/** Says of what was read last whether it ends the answer. The kernel tells no message in two pieces. */
export type AnswerEnd = (piece: Uint8Array) => boolean;

/** How the kernel is told and heard. */
export type NetlinkCalls = {
  readonly write: (fd: number, bytes: Uint8Array) => number;
  readonly read: (fd: number, into: Uint8Array) => number;
};

const READ_BYTES = 256 * 1024;
/** Far beyond any answer to what is asked here. */
const ANSWER_BYTES_MAX = 64 * 1024 * 1024;

/**
 * A netlink socket by the number under which it was inherited.
 *
 * The kernel serves a request within the write, and its answer lies there before the write returns;
 * so reading never waits, and a socket that must not block says `EAGAIN` when that were not so.
 */
export function netlinkSocket(fd: number, calls: NetlinkCalls = SYSTEM): NetlinkSocket {
  const buffer = Buffer.alloc(READ_BYTES);
  let isEmpty = false;
  const empty = (): void => {
    if (!isEmpty) discard(() => calls.read(fd, buffer));
    isEmpty = true;
  };
  return {
    request(bytes, isComplete) {
      empty();
      isEmpty = false;
      calls.write(fd, bytes);
      // Of many sockets the kernel tells in hundreds of pieces: each is copied and looked at once.
      const pieces: Buffer[] = [];
      let read = 0;
      for (let isWhole = false; !isWhole; ) {
        const piece = Buffer.from(buffer.subarray(0, calls.read(fd, buffer)));
        pieces.push(piece);
        read += piece.length;
        if (read > ANSWER_BYTES_MAX) throw new Error("the kernel's answer has no end");
        isWhole = isComplete(piece);
      }
      // Looking for what is left behind it costs more than the request: a kill must not wait for that.
      setImmediate(() => {
        try {
          empty();
        } catch {
          // The next request meets the same, and has somebody to tell.
        }
      });
      return pieces.length === 1 ? (pieces[0] as Buffer) : Buffer.concat(pieces);
    },
  };
}

const SYSTEM: NetlinkCalls = { write: writeSync, read: readSync };

/** What an earlier request that failed half-way has left must not answer the next one. */
function discard(read: () => number): void {
  try {
    for (;;) if (read() === 0) return;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "EAGAIN") return;
    // The kernel says once that something did not fit; the next read goes on behind it.
    if (code !== "ENOBUFS") throw error;
  }
}
