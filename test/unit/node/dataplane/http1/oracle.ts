import { createServer, type IncomingMessage } from "node:http";
import { Duplex } from "node:stream";
import type { Reason } from "../../../../../proto/reasons.ts";
import type { Conversation, Told } from "./conversation.ts";

/** What `node:http` makes of the same, whose parser is llhttp. */
export async function readByNode(pieces: readonly Uint8Array[]): Promise<Conversation> {
  const told: Told[] = [];
  let fault: Reason | undefined;
  const server = createServer({ requireHostHeader: false, shouldUpgradeCallback: () => false });
  server.maxHeadersCount = 0;
  const take = (request: IncomingMessage): void => {
    const { method = "", url: target = "", httpVersion, rawHeaders } = request;
    const one: Told = { method, target, httpVersion, rawHeaders, body: "", isWhole: false };
    told.push(one);
    request.on("data", (chunk: Buffer) => {
      one.body += chunk.toString("latin1");
    });
    request.on("end", () => {
      one.isWhole = true;
    });
    request.on("error", () => undefined);
  };
  for (const event of ["request", "checkContinue", "checkExpectation"]) server.on(event, take);
  server.on("connect", take);
  server.on("clientError", ({ code = "" }: NodeJS.ErrnoException) => {
    if (code !== "HPE_INVALID_EOF_STATE") fault ??= "malformed_http";
  });
  const socket = new Duplex({ read: () => undefined, write: (_chunk, _encoding, done) => done() });
  server.emit("connection", socket);
  for (const piece of pieces) {
    // A piece at a time, as the kernel gives them.
    socket.push(piece);
    await new Promise((resolve) => setImmediate(resolve));
  }
  await new Promise((resolve) => setImmediate(resolve));
  socket.destroy();
  server.close();
  return { told, fault };
}
