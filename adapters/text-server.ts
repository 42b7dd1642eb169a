import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { http } from "../ports/http-module.ts";

/** What is answered; without `contentType` it is plain text. */
export type TextAnswer = {
  readonly status: number;
  readonly text: string;
  readonly contentType?: string;
  /** The connection ends with this answer. */
  readonly isLast?: boolean;
};

export type TextServerOptions = {
  readonly host: string;
  /** 0 lets the system choose. */
  readonly port: number;
  /** Undefined: whoever asked has gone while it was read. */
  readonly answer: (request: IncomingMessage) => Promise<TextAnswer | undefined>;
  /** `answer` has thrown; whoever asked was told 500. */
  readonly onBug: (error: unknown) => void;
};

export type TextServer = { readonly port: number; close(): Promise<void> };

/** Connections at once. The oldest one gives way to a new one: idle ones cannot keep others out. */
export const CONNECTIONS_MAX = 64;
/** Until a request is whole, ms; how often that is looked at. */
const REQUEST_MS = 5_000;
const LOOK_EVERY_MS = 1_000;

/**
 * A small HTTP server for questions whose answers are short texts.
 *
 * A connection has one request at a time. Those that come in one piece are handed over in one turn, thousands of
 * them, and what they ask for would hold up everything else that the thread does: such a connection is cut.
 */
export async function startTextServer(options: TextServerOptions): Promise<TextServer> {
  const busy = new WeakSet<Socket>();
  const server = http.createServer({ connectionsCheckingInterval: LOOK_EVERY_MS });
  server.on("request", (request: IncomingMessage, response: ServerResponse) => {
    const { socket } = request;
    if (socket.destroyed) return;
    if (busy.has(socket)) {
      socket.destroy();
      return;
    }
    busy.add(socket);
    response.once("close", () => busy.delete(socket));
    void serve(request, response, options);
  });
  server.headersTimeout = REQUEST_MS;
  server.requestTimeout = REQUEST_MS;
  boundConnections(server);
  await listen(server, options);
  return {
    port: (server.address() as AddressInfo).port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function serve(
  request: IncomingMessage,
  response: ServerResponse,
  { answer, onBug }: TextServerOptions,
): Promise<void> {
  try {
    const answered = await answer(request);
    if (answered === undefined) response.destroy();
    else write(response, answered);
  } catch (error) {
    onBug(error);
    write(response, { status: 500, text: "it could not be answered\n" });
  }
}

function write(response: ServerResponse, answer: TextAnswer): void {
  const { status, text, contentType = "text/plain; charset=utf-8", isLast = false } = answer;
  response.writeHead(status, {
    "content-type": contentType,
    "cache-control": "no-store",
    ...(isLast ? { connection: "close" } : {}),
  });
  response.end(text);
}

function boundConnections(server: Server): void {
  const open = new Set<Socket>();
  server.on("connection", (socket: Socket) => {
    const [oldest] = open;
    if (open.size >= CONNECTIONS_MAX) oldest?.destroy();
    open.add(socket);
    socket.once("close", () => open.delete(socket));
  });
}

function listen(server: Server, { host, port }: TextServerOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen({ host, port }, () => {
      server.off("error", reject);
      resolve();
    });
  });
}
