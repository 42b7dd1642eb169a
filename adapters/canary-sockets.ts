import { createSocket, type RemoteInfo, type Socket as UdpSocket } from "node:dgram";
import { createConnection, createServer, isIPv6, type Socket } from "node:net";
import { ANSWERED, type AskedWay, type SocketWay } from "../ports/canary-way.ts";

// The two ends of a canary's attempts: writing a word to an address by every ordinary means, and hearing
// which words arrive.

const ATTEMPT_MS = 1_000;

/** Writes the word to the target. @returns What happened, in a word; it says nothing of what arrived. */
export function attemptTarget(target: SocketWay): Promise<string> {
  return target.by === "tcp" ? attemptTcp(target) : attemptUdp(target);
}

function attemptTcp({ word, host, port, from }: SocketWay): Promise<string> {
  return new Promise((resolve) => {
    const socket = createConnection({ host, port, ...(from !== undefined && { localPort: from }) });
    const end = (how: string): void => {
      socket.destroy();
      resolve(how);
    };
    socket.setTimeout(ATTEMPT_MS, () => end("silence"));
    socket.on("connect", () => socket.write(`${word}\n`));
    socket.on("data", () => end("answered"));
    socket.on("error", ({ code }: NodeJS.ErrnoException) => end(code ?? "error"));
    socket.on("close", () => end("closed"));
  });
}

function attemptUdp({ word, host, port, from = 0, bytes = 0 }: SocketWay): Promise<string> {
  const text = `${word}\n`.padEnd(bytes, ".");
  return new Promise((resolve) => {
    const socket = createSocket({ type: isIPv6(host) ? "udp6" : "udp4", reuseAddr: from !== 0 });
    const end = (how: string): void => {
      socket.close();
      resolve(how);
    };
    socket.once("error", ({ code }: NodeJS.ErrnoException) => end(code ?? "error"));
    socket.bind(from, () => {
      socket.setBroadcast(true);
      socket.send(text, port, host, (error) =>
        end(error === null ? "sent" : ((error as NodeJS.ErrnoException).code ?? "error")),
      );
    });
  });
}

/** First byte of an alert of TLS: the node takes nothing else, and says so to whoever begins in any other way. */
const ALERT = 0x15;

/** Asks whoever listens there. @returns Whether it answered; what a node itself says to what it captured is no answer. */
export function attemptAsked(way: AskedWay): Promise<string> {
  return way.for === "page" ? askForPage(way) : askForName(way);
}

function askForPage({ word, host, port }: AskedWay): Promise<string> {
  return new Promise((resolve) => {
    const socket = createConnection({ host, port });
    const end = (how: string): void => {
      socket.destroy();
      resolve(how);
    };
    socket.setTimeout(ATTEMPT_MS, () => end("silence"));
    socket.on("connect", () =>
      socket.write(`GET /${word} HTTP/1.1\r\nhost: canary\r\nconnection: close\r\n\r\n`),
    );
    socket.on("data", (chunk: Buffer) => end(chunk[0] === ALERT ? "refused" : ANSWERED));
    socket.on("error", ({ code }: NodeJS.ErrnoException) => end(code ?? "error"));
    socket.on("close", () => end("closed"));
  });
}

function askForName({ word, host, port }: AskedWay): Promise<string> {
  // One question for the address of a name of one label, the word.
  const head = Buffer.from([0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, word.length]);
  const question = Buffer.concat([head, Buffer.from(word), Buffer.from([0, 0, 1, 0, 1])]);
  return new Promise((resolve) => {
    const socket = createSocket(isIPv6(host) ? "udp6" : "udp4");
    const end = (how: string): void => {
      clearTimeout(timer);
      socket.close();
      resolve(how);
    };
    const timer = setTimeout(() => end("silence"), ATTEMPT_MS);
    socket.once("error", ({ code }: NodeJS.ErrnoException) => end(code ?? "error"));
    // From whichever of its addresses: not always the one that was asked.
    socket.on("message", (answer) => answer.includes(word) && end(ANSWERED));
    socket.send(question, port, host);
  });
}

const WORD_BYTES_MAX = 256;
const HEARD_CONNECTIONS_MAX = 64;

export type CanaryEars = { readonly port: number; close(): void };

/**
 * Hears words on all addresses of this machine, over TCP and UDP. Nothing is ever answered. Rejects, with nothing left
 * open, when the port cannot be had.
 */
export async function canaryEars(
  port: number,
  onWord: (word: string, from: string) => void,
): Promise<CanaryEars> {
  const server = createServer((socket: Socket) => {
    socket.setTimeout(ATTEMPT_MS, () => socket.destroy());
    socket.on("error", () => undefined);
    socket.once("data", (chunk: Buffer) => {
      onWord(wordIn(chunk), socket.remoteAddress ?? "");
      socket.destroy();
    });
  });
  server.maxConnections = HEARD_CONNECTIONS_MAX;
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen({ port, host: "::" }, resolve);
  });
  const bound = (server.address() as { port: number }).port;
  const ears: UdpSocket[] = [];
  const hear = (type: "udp4" | "udp6", address: string): Promise<void> => {
    const ear = createSocket({ type, ipv6Only: type === "udp6" });
    ears.push(ear);
    ear.on("message", (bytes: Buffer, from: RemoteInfo) => onWord(wordIn(bytes), from.address));
    return new Promise((resolve, reject) => {
      ear.on("error", reject);
      ear.bind({ port: bound, address }, resolve);
    });
  };
  const close = (): void => {
    server.close();
    for (const ear of ears) ear.close();
  };
  try {
    // One for each family: one for both does not hear what is said to all of IPv4.
    await hear("udp4", "0.0.0.0");
    await hear("udp6", "::");
  } catch (error) {
    close();
    throw error;
  }
  return { port: bound, close };
}

/** The first line; behind it a datagram is filled up. */
function wordIn(bytes: Buffer): string {
  const [word = ""] = bytes.subarray(0, WORD_BYTES_MAX).toString("latin1").split("\n");
  return word.trim();
}

const REQUEST_BYTES_MAX = 64 * 1024;

/**
 * Asks the canary at an address to try; resolves with its own words, or undefined without an answer in time.
 *
 * @param timeoutMs To be reached, and from then on to have said all.
 */
export function askCanary(
  address: string,
  port: number,
  question: object,
  timeoutMs: number,
): Promise<unknown> {
  return new Promise((resolve) => {
    const socket = createConnection({ host: address, port });
    const end = (answer: unknown): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(answer);
    };
    // Of the whole answer, and not of its next byte: one that never ends would keep a round from ever ending.
    const timer = setTimeout(() => end(undefined), timeoutMs);
    socket.on("error", () => end(undefined));
    socket.on("close", () => end(undefined));
    socket.on("connect", () => {
      timer.refresh();
      socket.write(`${JSON.stringify(question)}\n`);
    });
    onLine(socket, (line) => end(parsed(line)));
  });
}

/** The canary's own door. Each connection asks once. */
export function serveCanary(
  port: number,
  onQuestion: (question: unknown) => Promise<object | undefined>,
): Promise<{ readonly port: number; close(): void }> {
  const server = createServer((socket) => {
    socket.setTimeout(30_000, () => socket.destroy());
    socket.on("error", () => undefined);
    onLine(socket, async (line) => {
      const answer = await onQuestion(parsed(line));
      if (answer === undefined) socket.destroy();
      else socket.end(`${JSON.stringify(answer)}\n`);
    });
  });
  server.maxConnections = 8;
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen({ port, host: "::" }, () => {
      const address = server.address() as { port: number };
      resolve({ port: address.port, close: () => void server.close() });
    });
  });
}

/** The first line alone; a line without an end ends the connection. */
function onLine(socket: Socket, fn: (line: string) => unknown): void {
  let text = "";
  let isRead = false;
  socket.setEncoding("utf8");
  socket.on("data", (chunk: string) => {
    if (isRead) return;
    text += chunk;
    if (text.length > REQUEST_BYTES_MAX) return void socket.destroy();
    const at = text.indexOf("\n");
    if (at < 0) return;
    isRead = true;
    fn(text.slice(0, at));
  });
}

function parsed(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}
