import type { Socket } from "node:net";
import type { Clock } from "../../../ports/clock.ts";
import type { Reason } from "../../../proto/reasons.ts";
import { type ClientHello, ClientHelloReader } from "../tls/client-hello.ts";

/** From the permission to speak to a whole ClientHello. */
export const HELLO_TIMEOUT_MS = 10_000;

export type HelloRead =
  | { readonly hello: ClientHello /** All that was read, whole. */; readonly bytes: Buffer }
  | { readonly flaw: Reason };

/**
 * Reads the client's first message and leaves the socket paused behind it. Rejects never; a client
 * that goes away is `client_gone`.
 *
 * @param first What was received of it already.
 */
export function readHello(
  socket: Socket,
  { first, clock }: { readonly first: Uint8Array; readonly clock: Clock },
): Promise<HelloRead> {
  return new Promise((resolve) => {
    const reader = new ClientHelloReader();
    const chunks: Uint8Array[] = [];
    let isDone = false;
    const done = (read: HelloRead): void => {
      isDone = true;
      cancel();
      socket.off("data", take);
      socket.off("end", gone);
      socket.off("close", gone);
      socket.pause();
      resolve(read);
    };
    const gone = (): void => done({ flaw: "client_gone" });
    const cancel = clock.after(HELLO_TIMEOUT_MS, () => done({ flaw: "hello_timeout" }));
    const take = (chunk: Uint8Array): void => {
      chunks.push(chunk);
      const reading = reader.push(chunk);
      if (reading === "more") return;
      if ("flaw" in reading) done(reading);
      else done({ hello: reading.hello, bytes: Buffer.concat(chunks) });
    };
    if (socket.destroyed) {
      gone();
      return;
    }
    socket.on("end", gone);
    socket.on("close", gone);
    if (first.length > 0) take(first);
    if (isDone) return;
    socket.on("data", take);
    socket.resume();
  });
}
