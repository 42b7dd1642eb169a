import { chmodSync, chownSync, rmSync } from "node:fs";
import { createConnection, createServer, type Socket } from "node:net";

// Lines of JSON over a unix socket, between two processes of one machine that trust each other as far
// as the socket's file mode says.

const LINE_BYTES_MAX = 4 * 1024 * 1024;
const CONNECTIONS_MAX = 16;

export type LineConnection = {
  send(message: unknown): void;
  close(): void;
};

export type LineHandlers = {
  readonly onMessage: (message: unknown) => void;
  /** The connection has ended, or never came to be. */
  readonly onEnd: () => void;
};

/** Connects; what is sent before it stands is sent as soon as it does. */
export function connectLines(path: string, handlers: LineHandlers): LineConnection {
  const socket = createConnection({ path });
  return attach(socket, handlers);
}

export type LineServer = { close(): Promise<void> };

/**
 * Listens on `path`, which only its owner and the group may open.
 *
 * @param gid The group that may connect; undefined leaves the process's own.
 */
export function serveLines(
  path: string,
  gid: number | undefined,
  onConnection: (connection: LineConnection) => LineHandlers,
): Promise<LineServer> {
  const open = new Set<Socket>();
  const server = createServer((socket) => {
    open.add(socket);
    socket.on("close", () => open.delete(socket));
    const later: { handlers?: LineHandlers } = {};
    const connection = attach(socket, {
      onMessage: (message) => later.handlers?.onMessage(message),
      onEnd: () => later.handlers?.onEnd(),
    });
    later.handlers = onConnection(connection);
  });
  server.maxConnections = CONNECTIONS_MAX;
  rmSync(path, { force: true });
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    // Made without rights for others, so that there is no moment in which anybody may connect.
    const before = process.umask(0o117);
    server.listen(path, () => {
      if (gid !== undefined) chownSync(path, process.getuid?.() ?? 0, gid);
      chmodSync(path, 0o660);
      resolve({
        close: () =>
          new Promise((closed) => {
            server.close(() => closed());
            for (const socket of open) socket.destroy();
          }),
      });
    });
    process.umask(before);
  });
}

function attach(socket: Socket, { onMessage, onEnd }: LineHandlers): LineConnection {
  let rest = "";
  socket.setEncoding("utf8");
  socket.on("data", (chunk: string) => {
    const lines = (rest + chunk).split("\n");
    rest = lines.pop() ?? "";
    if (rest.length > LINE_BYTES_MAX) socket.destroy();
    for (const line of lines) {
      const message = parsed(line);
      // Whoever does not speak this does not belong here.
      if (message === undefined) return void socket.destroy();
      onMessage(message);
    }
  });
  socket.on("error", () => undefined);
  socket.on("close", onEnd);
  return {
    send: (message) => {
      if (!socket.destroyed) socket.write(`${JSON.stringify(message)}\n`);
    },
    close: () => socket.destroy(),
  };
}

function parsed(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}
