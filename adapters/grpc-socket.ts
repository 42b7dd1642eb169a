import { chmodSync, lstatSync, mkdirSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { dirname } from "node:path";
import { checkSocketPath, removeStaleSocket } from "./instance-lock.ts";

/** An address that must not be used, or is in use. */
export class SocketFault extends Error {
  constructor(message: string, options?: { cause: unknown }) {
    super(message, options);
    this.name = "SocketFault";
  }
}

/**
 * Listens on a unix socket that only this user can reach: directory 0700, socket 0600.
 *
 * A socket file that nobody answers on was left by a crash and is unlinked. One that answers, and
 * anything that is not a socket, is left alone.
 *
 * @throws SocketFault The path cannot be bound, or its directory is open to others.
 * @throws InstanceFault The path is too long, or another process answers on it.
 */
export async function listenOnUnixSocket(
  path: string,
  connectionsMax: number,
  onConnection: (socket: Socket) => void,
): Promise<Server> {
  checkSocketPath(path);
  ownFolder(dirname(path));
  await removeStaleSocket(path);
  const server = createServer(onConnection);
  server.maxConnections = connectionsMax;
  const listening = untilListening(server, path);
  server.listen(path);
  await listening;
  // Until then the folder alone keeps others out. A mask would do it at once, and is that of all threads: a folder that
  // the log's thread made meanwhile could be entered by nobody.
  try {
    chmodSync(path, 0o600);
  } catch (error) {
    server.close();
    throw error;
  }
  return server;
}

/**
 * Listens on a TCP address. Port 0 lets the system choose.
 *
 * @throws SocketFault The address is taken or not of this machine.
 */
export async function listenOnTcp(
  address: { readonly host: string; readonly port: number },
  connectionsMax: number,
  onConnection: (socket: Socket) => void,
): Promise<Server> {
  const server = createServer(onConnection);
  server.maxConnections = connectionsMax;
  const listening = untilListening(server, `${address.host}:${address.port}`);
  server.listen({ ...address, exclusive: true });
  await listening;
  return server;
}

function untilListening(server: Server, name: string): Promise<void> {
  return new Promise<void>((resolve, reject) => {
    server.once("error", (cause) => {
      reject(new SocketFault(`cannot listen on ${name}`, { cause }));
    });
    server.once("listening", resolve);
  });
}

/** Makes the folder, or checks that it is this user's alone. @throws SocketFault */
export function ownFolder(directory: string): void {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const stat = lstatSync(directory);
  const own = process.getuid === undefined || stat.uid === process.getuid();
  if (!stat.isDirectory() || !own || (stat.mode & 0o077) !== 0) {
    throw new SocketFault(`${directory} must be a directory of this user with mode 0700`);
  }
}
