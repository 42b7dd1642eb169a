import { rmSync, statSync } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

/**
 * The kernel takes 107 bytes of a socket's path; what is above this is refused before it could be
 * cut short to the path of another home.
 */
export const SOCKET_PATH_BYTES_MAX = 100;
/** How long whoever listens on a socket file or lock may take to accept or to name itself. */
const ANSWER_TIMEOUT_MS = 500;

export type InstanceFaultCode =
  /** Another process runs on this HOME. */
  | "home_in_use"
  /** Another process of ours serves this port, or is about to. */
  | "port_locked"
  /** A program that does not share the port listens on it, or it may not be bound. */
  | "port_in_use"
  /** Somebody answers on this socket file. */
  | "socket_in_use"
  /** The path of a unix socket is over `SOCKET_PATH_BYTES_MAX`: choose a shorter HOME. */
  | "socket_path_too_long";

/** Why this process may not start. */
export class InstanceFault extends Error {
  readonly code: InstanceFaultCode;
  constructor(code: InstanceFaultCode, message: string, options?: { cause: unknown }) {
    super(`${code}: ${message}`, options);
    this.name = "InstanceFault";
    this.code = code;
  }
}

export type InstanceLock = {
  /** Lets another process start. Only for a process that goes on without its HOME and ports. */
  release(): Promise<void>;
};

export type InstanceInput = {
  /** An existing folder. */
  readonly home: string;
  /** Unix sockets that will be listened on. What a dead process left there is removed. */
  readonly socketPaths: readonly string[];
  /** Ports that will be listened on, each with the address; 0 is any free port and is not held. */
  readonly ports: readonly { readonly host: string; readonly port: number }[];
};

/**
 * Makes sure that no other process serves this HOME or these ports, for as long as this one lives.
 *
 * Nothing else would: two processes of one user share a `reusePort` port in silence, each getting
 * half of the connections, and LMDB lets two of them open one HOME. The locks are sockets in
 * Linux's abstract namespace, which leave with the process however it ends. HOME is named by device
 * and inode, so that two paths to one folder are one lock. Processes in different network
 * namespaces do not see each other's locks.
 *
 * Rejects with InstanceFault; then nothing is held.
 */
export async function holdInstance(input: InstanceInput): Promise<InstanceLock> {
  for (const path of input.socketPaths) checkSocketPath(path);
  const held: Server[] = [];
  const release = async (): Promise<void> => {
    await Promise.all(held.map(closeServer));
  };
  try {
    const { dev, ino } = statSync(input.home);
    held.push(await holdName(`home/${dev}:${ino}`, "home_in_use", input.home));
    for (const { host, port } of input.ports) {
      if (port === 0) continue;
      held.push(await holdName(`port/${port}`, "port_locked", `port ${port}`));
      await probePort(host, port);
    }
    for (const path of input.socketPaths) await removeStaleSocket(path);
  } catch (error) {
    await release();
    throw error;
  }
  return { release };
}

/** Throws InstanceFault `socket_path_too_long`. */
export function checkSocketPath(path: string): void {
  const bytes = Buffer.byteLength(path);
  if (bytes <= SOCKET_PATH_BYTES_MAX) return;
  throw new InstanceFault(
    "socket_path_too_long",
    `${path} is ${bytes} bytes, of which ${SOCKET_PATH_BYTES_MAX} may be used`,
  );
}

/**
 * Removes a socket file that nobody listens on; a path that is free, or no socket, is left alone.
 * Rejects with InstanceFault `socket_in_use`.
 */
export async function removeStaleSocket(path: string): Promise<void> {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined || !stat.isSocket()) return;
  const answer = await ask(path);
  if (answer !== undefined) throw new InstanceFault("socket_in_use", `${path}${answer}`);
  rmSync(path, { force: true });
}

/** Binds the port once without sharing it: whoever has it, shared or not, makes this fail. */
async function probePort(host: string, port: number): Promise<void> {
  const probe = createServer();
  try {
    await listen(probe, { host, port });
  } catch (cause) {
    throw new InstanceFault("port_in_use", `${host}:${port}`, { cause });
  }
  await closeServer(probe);
}

async function holdName(name: string, code: InstanceFaultCode, what: string): Promise<Server> {
  const path = lockPath(name);
  if (!path.startsWith("\0")) await removeStaleSocket(path).catch(() => {});
  // Whoever finds the lock taken is told by whom.
  const server = createServer((socket) => {
    socket.on("error", () => socket.destroy());
    socket.end(` by process ${process.pid}\n`, () => socket.destroy());
  });
  try {
    await listen(server, { path });
  } catch (cause) {
    const holder = (await ask(path)) ?? "";
    throw new InstanceFault(code, `${what} is in use${holder}`, { cause });
  }
  server.unref();
  return server;
}

/** Systems without an abstract namespace get socket files, whose leftovers are told by silence. */
function lockPath(name: string): string {
  if (process.platform === "linux") return `\0altrace/${name}`;
  return join(tmpdir(), `altrace-${name.replaceAll(/[/:]/g, "-")}.lock`);
}

function listen(
  server: Server,
  where: { readonly path: string } | { readonly host: string; readonly port: number },
): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen({ ...where, exclusive: true }, () => {
      server.off("error", reject);
      resolve();
    });
  });
}

function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
  });
}

/**
 * What whoever listens on a unix socket says within `ANSWER_TIMEOUT_MS`, perhaps nothing;
 * `undefined` only when it is certain that nobody listens.
 */
function ask(path: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    let said = "";
    const socket: Socket = connect({ path });
    const timer = setTimeout(() => done(said), ANSWER_TIMEOUT_MS);
    const done = (answer: string | undefined): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(answer);
    };
    socket.setEncoding("utf8");
    socket.on("data", (text: string) => {
      said = (said + text).slice(0, 64).trimEnd();
    });
    socket.on("end", () => done(said));
    socket.on("error", (error: NodeJS.ErrnoException) => {
      const nobody = error.code === "ECONNREFUSED" || error.code === "ENOENT";
      done(nobody ? undefined : said);
    });
  });
}
