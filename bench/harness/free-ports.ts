import { once } from "node:events";
import { createServer, type ListenOptions, type Server } from "node:net";

/** Ports of a node, its coordinator and the demo provider, counted from their base. */
const OFFSETS = [0, 80, 90, 91, 92, 93, 99];
/** Below the range from which Linux draws ports for connections, so that none of ours is one. */
const BASE_MIN = 10_000;
const BASE_MAX = 32_000;
const PORT_MAX = 32_768;
const TRIES = 50;

/** Ports that this process has given, where nobody else can be told of them. */
const given = new Set<number>();

/** A base whose ports all are free on 127.0.0.1 now, and are given to nobody else while this process lives. */
export async function freePortBase(): Promise<number> {
  for (let i = 0; i < TRIES; i += 1) {
    const base = BASE_MIN + Math.floor(Math.random() * (BASE_MAX - BASE_MIN));
    if (await areOurs(OFFSETS.map((offset) => base + offset))) return base;
  }
  throw new Error(`no free port base among ${TRIES}`);
}

/**
 * A port that is free on 127.0.0.1 now, and is given to nobody else while this process lives: who was given one may not listen
 * on it yet, or not at the moment.
 */
export async function freePort(): Promise<number> {
  for (let i = 0; i < TRIES; i += 1) {
    const port = BASE_MIN + Math.floor(Math.random() * (PORT_MAX - BASE_MIN));
    if (await areOurs([port])) return port;
  }
  throw new Error(`no free port among ${TRIES}`);
}

/** Claims all or none. What somebody else has claimed is not looked at: he may be about to listen there. */
async function areOurs(ports: readonly number[]): Promise<boolean> {
  const claims = await Promise.all(ports.map(claim));
  if (claims.every(Boolean) && (await Promise.all(ports.map(isFree))).every(Boolean)) return true;
  for (const release of claims) release?.();
  return false;
}

/**
 * Among all processes of the machine by a name without a file, which the kernel gives once and takes back when its owner
 * ends, however that ends. Other systems have no such names: there each process knows of its own alone.
 */
async function claim(port: number): Promise<(() => void) | undefined> {
  if (process.platform === "linux") {
    const server = await listening({ path: `\0altrace-port-${port}` });
    return server?.unref() && (() => server.close());
  }
  if (given.has(port)) return undefined;
  given.add(port);
  return () => given.delete(port);
}

async function isFree(port: number): Promise<boolean> {
  const server = await listening({ port, host: "127.0.0.1" });
  server?.close();
  return server !== undefined;
}

/** Undefined: somebody listens there. */
async function listening(where: ListenOptions): Promise<Server | undefined> {
  const server = createServer().listen(where);
  try {
    await once(server, "listening");
    return server;
  } catch {
    return undefined;
  }
}
