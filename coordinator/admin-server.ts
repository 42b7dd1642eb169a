import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export type AdminServerOptions = {
  /** 0 lets the system choose. */
  readonly port: number;
  readonly metrics: () => Promise<{ readonly contentType: string; readonly text: string }>;
  /** Why the coordinator cannot serve now; empty when it can. */
  readonly notReady: () => readonly string[];
};

export type AdminServer = { readonly port: number; close(): Promise<void> };

/** One process of monitoring asks now and then; more is not meant to be here. */
const CONNECTIONS_MAX = 32;

/** `/healthz`, `/readyz` and `/metrics`, on the loopback address alone. */
export async function serveAdmin(options: AdminServerOptions): Promise<AdminServer> {
  const server = createServer({ requestTimeout: 5_000 }, (request, response) => {
    void answer(options, request, response);
  });
  server.maxConnections = CONNECTIONS_MAX;
  await listen(server, options.port);
  const { port } = server.address() as AddressInfo;
  return {
    port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function listen(server: Server, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", (cause) => {
      reject(new Error(`cannot listen on 127.0.0.1:${port}`, { cause }));
    });
    server.listen({ host: "127.0.0.1", port, exclusive: true }, resolve);
  });
}

async function answer(
  { metrics, notReady }: AdminServerOptions,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const path = (request.url ?? "").split("?")[0];
  if (request.method !== "GET" && request.method !== "HEAD") return say(response, 405, "GET only");
  if (path === "/healthz") return say(response, 200, "ok");
  if (path === "/readyz") {
    const reasons = notReady();
    return reasons.length === 0 ? say(response, 200, "ok") : say(response, 503, reasons.join("\n"));
  }
  if (path !== "/metrics") return say(response, 404, "/healthz, /readyz or /metrics");
  const { contentType, text } = await metrics();
  response.writeHead(200, { "content-type": contentType }).end(text);
}

function say(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, { "content-type": "text/plain; charset=utf-8" }).end(`${text}\n`);
}
