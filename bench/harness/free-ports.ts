import { once } from "node:events";
import { createServer } from "node:net";

/** Ports of a node, its coordinator and the demo provider, counted from their base. */
const OFFSETS = [0, 80, 90, 91, 92, 93, 99];
/** Below the range from which Linux draws ports for connections, so that none of ours is one. */
const BASE_MIN = 10_000;
const BASE_MAX = 32_000;
const PORT_MAX = 32_768;
const TRIES = 50;

const given = new Set<number>();

/** A base whose ports all are free on 127.0.0.1 now. */
export async function freePortBase(): Promise<number> {
  for (let i = 0; i < TRIES; i += 1) {
    const base = BASE_MIN + Math.floor(Math.random() * (BASE_MAX - BASE_MIN));
    const free = await Promise.all(OFFSETS.map((offset) => isFree(base + offset)));
    if (!free.includes(false)) return base;
  }
  throw new Error(`no free port base among ${TRIES}`);
}

/**
 * A port that is free on 127.0.0.1 now and was not given before by this process: who was given one may not
 * listen on it yet.
 */
export async function freePort(): Promise<number> {
  for (let i = 0; i < TRIES; i += 1) {
    const port = BASE_MIN + Math.floor(Math.random() * (PORT_MAX - BASE_MIN));
    if (given.has(port)) continue;
    given.add(port);
    if (await isFree(port)) return port;
  }
  throw new Error(`no free port among ${TRIES}`);
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer().listen(port, "127.0.0.1");
  try {
    await once(server, "listening");
    return true;
  } catch {
    return false;
  } finally {
    server.close();
  }
}
