import type { Socket } from "node:net";
import { isNamed } from "../../node/dataplane/head-rules.ts";
import { Http1Connection } from "../../node/dataplane/http1/http1-connection.ts";

const REQUEST_ID = "x-request-id";

/**
 * Tells of every request with an id of its client's: `h` in the turn in which the node's reader has its head, `w` once the
 * first bytes of its answer were handed to the socket, which of a refusal are all of it.
 *
 * @param tell Given the id and the monotonic time, nanoseconds.
 * @returns Takes the probe out again.
 */
export function probeRequests(
  tell: (what: "h" | "w", id: string, atNs: bigint) => void,
): () => void {
  const { prototype } = Http1Connection;
  const { onHead } = prototype;
  prototype.onHead = function onHeadAndTell(head) {
    const id = requestIdOf(head.rawHeaders);
    if (id !== undefined) {
      tell("h", id, process.hrtime.bigint());
      onFirstWrite(this.socket, () => tell("w", id, process.hrtime.bigint()));
    }
    onHead.call(this, head);
  };
  return () => {
    prototype.onHead = onHead;
  };
}

function requestIdOf(rawHeaders: readonly string[]): string | undefined {
  const at = rawHeaders.findIndex((name, i) => i % 2 === 0 && isNamed(name, REQUEST_ID));
  return at < 0 ? undefined : rawHeaders[at + 1];
}

function onFirstWrite(socket: Socket, fn: () => void): void {
  const restore = (): void => {
    socket.write = write;
    socket.end = end;
  };
  const { write, end } = socket;
  socket.write = function writeAndTell(this: Socket, ...args: unknown[]): boolean {
    restore();
    const hasRoom = (write as (...args: unknown[]) => boolean).apply(this, args);
    fn();
    return hasRoom;
  } as Socket["write"];
  socket.end = function endAndTell(this: Socket, ...args: unknown[]): Socket {
    restore();
    (end as (...args: unknown[]) => Socket).apply(this, args);
    fn();
    return this;
  } as Socket["end"];
}
