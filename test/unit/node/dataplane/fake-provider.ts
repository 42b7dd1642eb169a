import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import { text } from "node:stream/consumers";

/** A request as the provider received it. */
export type Received = {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingMessage["headers"];
  readonly rawHeaders: readonly string[];
  readonly body: string;
};

export type FakeProvider = {
  readonly origin: string;
  readonly received: Received[];
  /** Connections that are open now. */
  readonly sockets: ReadonlySet<Socket>;
  readonly connections: () => number;
  close(): Promise<void>;
};

/** A provider that does as a test says. */
export async function startFakeProvider(
  reply: (response: ServerResponse, request: Received) => void,
  tls?: { readonly key: string; readonly cert: string },
): Promise<FakeProvider> {
  const received: Received[] = [];
  const sockets = new Set<Socket>();
  let connections = 0;
  const listener = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const { method = "", url = "", headers, rawHeaders } = request;
    const one = { method, url, headers, rawHeaders, body: await text(request).catch(() => "") };
    received.push(one);
    reply(response, one);
  };
  const server = tls === undefined ? createServer(listener) : createTlsServer(tls, listener);
  server.on(tls === undefined ? "connection" : "secureConnection", (socket: Socket) => {
    connections += 1;
    sockets.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => sockets.delete(socket));
  });
  server.on("tlsClientError", () => {});
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return {
    origin: `${tls === undefined ? "http" : "https"}://127.0.0.1:${port}`,
    received,
    sockets,
    connections: () => connections,
    close: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}
