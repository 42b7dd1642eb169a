import { createServer } from "node:net";

/**
 * Whether a TCP port could be listened on now. Binds it for a moment, without sharing, and lets go.
 *
 * @returns `free`, `taken`, or the system's word for why it may not be bound.
 */
export function probePort(host: string, port: number): Promise<"free" | "taken" | string> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", ({ code = "unknown" }: NodeJS.ErrnoException) =>
      resolve(code === "EADDRINUSE" ? "taken" : code),
    );
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve("free")));
  });
}
