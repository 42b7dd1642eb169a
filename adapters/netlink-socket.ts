import { readSync, writeSync } from "node:fs";

/** Sends one request to the kernel and gives back all that it answers, in the same turn. */
export type NetlinkSocket = { request(bytes: Uint8Array, isComplete: AnswerEnd): Uint8Array };

/** Says of all that was read so far whether the answer is complete. */
export type AnswerEnd = (answer: Uint8Array) => boolean;

const READ_BYTES = 256 * 1024;
/** Far beyond any answer to what is asked here. */
const ANSWER_BYTES_MAX = 64 * 1024 * 1024;

/**
 * A netlink socket by the number under which it was inherited.
 *
 * The kernel serves a request within the write, and its answer lies there before the write returns;
 * so reading never waits, and a socket that must not block says `EAGAIN` when that were not so.
 */
export function netlinkSocket(fd: number): NetlinkSocket {
  const buffer = Buffer.alloc(READ_BYTES);
  let isEmpty = false;
  const empty = (): void => {
    if (!isEmpty) discard(fd, buffer);
    isEmpty = true;
  };
  return {
    request(bytes, isComplete) {
      empty();
      isEmpty = false;
      writeSync(fd, bytes);
      let answer = Buffer.alloc(0);
      while (!isComplete(answer)) {
        const count = readSync(fd, buffer);
        answer = Buffer.concat([answer, buffer.subarray(0, count)]);
        if (answer.length > ANSWER_BYTES_MAX) throw new Error("the kernel's answer has no end");
      }
      // Looking for what is left behind it costs more than the request: a kill must not wait for that.
      setImmediate(() => {
        try {
          empty();
        } catch {
          // The next request meets the same, and has somebody to tell.
        }
      });
      return answer;
    },
  };
}

/** What an earlier request that failed half-way has left must not answer the next one. */
function discard(fd: number, buffer: Buffer): void {
  try {
    for (;;) if (readSync(fd, buffer) === 0) return;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "EAGAIN") return;
    // The kernel says once that something did not fit; the next read goes on behind it.
    if (code !== "ENOBUFS") throw error;
  }
}
