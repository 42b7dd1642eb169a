import { startTextServer, type TextAnswer, type TextServer } from "./text-server.ts";

export type AdminServerOptions = {
  readonly host: string;
  /** 0 lets the system choose. */
  readonly port: number;
  /** Prometheus text. */
  readonly metrics: () => Promise<{ readonly contentType: string; readonly text: string }>;
  /** Why the process may not be given work now; empty when it may. */
  readonly notReady: () => readonly string[] | Promise<readonly string[]>;
  readonly onBug: (error: unknown) => void;
};

export type AdminServer = TextServer;

/** `/metrics`, `/healthz` and `/readyz`. Read-only, and on loopback. */
export function startAdminServer(options: AdminServerOptions): Promise<AdminServer> {
  const { host, port, notReady, onBug } = options;
  const metrics = whileItLasts(options.metrics);
  return startTextServer({
    host,
    port,
    onBug,
    answer: async ({ method, url }): Promise<TextAnswer> => {
      if (method !== "GET" && method !== "HEAD") return { status: 405, text: "only GET\n" };
      switch (url) {
        case "/healthz":
          return { status: 200, text: "ok\n" };
        case "/readyz": {
          const reasons = await notReady();
          const isReady = reasons.length === 0;
          return {
            status: isReady ? 200 : 503,
            text: isReady ? "ok\n" : `${reasons.join("\n")}\n`,
          };
        }
        case "/metrics":
          return { status: 200, ...(await metrics()) };
        default:
          return { status: 404, text: "/metrics, /healthz or /readyz\n" };
      }
    },
  });
}

/** Who asks while it is being made is given what is made: all of them together cost one. */
function whileItLasts<T>(make: () => Promise<T>): () => Promise<T> {
  let making: Promise<T> | undefined;
  return () => {
    making ??= make().finally(() => {
      making = undefined;
    });
    return making;
  };
}
