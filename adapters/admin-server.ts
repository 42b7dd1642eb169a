import { createServer, type Server, type ServerResponse } from "node:http";

export type AdminServerOptions = {
  readonly host: string;
  /** 0 lets the system choose. */
  readonly port: number;
  /** Prometheus text. */
  readonly metrics: () => Promise<{ readonly contentType: string; readonly text: string }>;
  /** Why the process may not be given work now; empty when it may. */
  readonly notReady: () => readonly string[] | Promise<readonly string[]>;
};

export type AdminServer = { readonly port: number; close(): Promise<void> };

/** `/metrics`, `/healthz` and `/readyz`. Read-only, and on loopback. */
export async function startAdminServer(options: AdminServerOptions): Promise<AdminServer> {
  const server = createServer((request, response) => {
    void serve(request.url ?? "", request.method ?? "", options, response);
  });
  server.headersTimeout = 5_000;
  server.requestTimeout = 5_000;
  server.maxConnections = 64;
  await listen(server, options);
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port was bound");
  return {
    port: address.port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function serve(
  url: string,
  method: string,
  options: AdminServerOptions,
  response: ServerResponse,
): Promise<void> {
  if (method !== "GET" && method !== "HEAD") return answer(response, 405, "only GET\n");
  switch (url) {
    case "/healthz":
      return answer(response, 200, "ok\n");
    case "/readyz": {
      const reasons = await options.notReady();
      const ready = reasons.length === 0;
      return answer(response, ready ? 200 : 503, ready ? "ok\n" : `${reasons.join("\n")}\n`);
    }
    case "/metrics": {
      const { contentType, text } = await options.metrics();
      return answer(response, 200, text, contentType);
    }
    default:
      return answer(response, 404, "/metrics, /healthz or /readyz\n");
  }
}

function answer(
  response: ServerResponse,
  status: number,
  text: string,
  contentType = "text/plain; charset=utf-8",
): void {
  response.writeHead(status, { "content-type": contentType, "cache-control": "no-store" });
  response.end(text);
}

function listen(server: Server, { host, port }: AdminServerOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen({ host, port }, () => {
      server.off("error", reject);
      resolve();
    });
  });
}
