import { createHash } from "node:crypto";
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { connect as connectHttp2 } from "node:http2";
import { connect, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { onTestFinished } from "vitest";
import { carriesTls } from "../../../node/dataplane/tls/wire-under.ts";
import { HOST } from "./dataplane/door.ts";
import { clientHello } from "./dataplane/tls/hello-bytes.ts";
import {
  CAPTURED_HOST,
  type DoorsWorld,
  type HttpDoor,
  httpDoors,
  INSIDE_HOST,
  PLAIN_HOST,
  SESSIONS,
} from "./doors-world.ts";
import { OK, type RawRequest } from "./raw-far.ts";
import { connectHead, KEY } from "./tunnel-world.ts";

/** Lets the event loop go round. */
export async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i += 1) await new Promise((resolve) => setImmediate(resolve));
}

/** Sees what the node writes on connections that it has opened, and when it must not. */
export class Writes {
  isForbidden = false;
  readonly late: string[] = [];
  readonly #clients = new WeakSet<Socket>();

  constructor() {
    // Not before it has been asked to connect, which takes back what is put in place of its methods.
    const opened = (message: unknown) =>
      queueMicrotask(() => this.#opened((message as { socket: Socket }).socket));
    subscribe("net.client.socket", opened);
    onTestFinished(() => void unsubscribe("net.client.socket", opened));
  }

  /** A client's connection, which is not the node's. */
  client(socket: Socket): Socket {
    this.#clients.add(socket);
    return socket.on("error", () => undefined);
  }

  #opened(socket: Socket): void {
    const write = socket.write.bind(socket) as (...of: unknown[]) => boolean;
    socket.write = (...of: unknown[]) => {
      if (this.isForbidden && !this.#clients.has(socket)) this.late.push(String(of[0]));
      return write(...of);
    };
  }
}

export type LivesWorld = DoorsWorld & { readonly writes: Writes };

export type Living = {
  socket: Socket | undefined;
  /** Turns between two things that are said. */
  readonly gap: number;
  /** All was said, or cannot be said any more. */
  isOver: boolean;
};

export function begin(life: Life, it: LivesWorld, living: Living): void {
  void life(it, living).then(() => {
    living.isOver = true;
  });
}

/** What a client says, from its first byte on. */
export type Life = (it: LivesWorld, living: Living) => Promise<void>;

const PIECES = 3;

/** In pieces, some turns after one another. */
async function say(socket: Socket, bytes: Uint8Array | string, gap: number): Promise<void> {
  const all = Buffer.from(bytes as string, "latin1");
  for (let piece = 0; piece < PIECES; piece += 1) {
    if (socket.destroyed || socket.writableEnded) return;
    const [from, to] = [piece, piece + 1].map((one) => Math.floor((one * all.length) / PIECES));
    socket.write(all.subarray(from, to));
    await turns(gap);
  }
}

/** Says something and waits for an answer. False: there is none, since it was closed. */
async function ask(socket: Socket, bytes: Uint8Array | string, gap: number): Promise<boolean> {
  const heard = happens(socket, "data");
  await say(socket, bytes, gap);
  return heard;
}

/** False: it was closed before. */
function happens(socket: Socket, event: "data" | "secureConnect"): Promise<boolean> {
  if (socket.destroyed) return Promise.resolve(false);
  return new Promise((resolve) => {
    socket.once(event, () => resolve(true));
    socket.once("close", () => resolve(false));
  });
}

function dial({ writes }: LivesWorld, living: Living, port: number): Socket {
  living.socket = writes.client(connect({ port, host: HOST, noDelay: true }));
  return living.socket;
}

function requestTo(door: HttpDoor, stream: boolean): string {
  const said = door.body("x");
  const body = stream ? said.replace("{", '{"stream":true,') : said;
  const lines = `${door.lines}Content-Type: application/json\r\nContent-Length: ${body.length}\r\n`;
  return `POST ${door.target(door.path)} HTTP/1.1\r\n${lines}\r\n${body}`;
}

const asks =
  (at: "gateway" | "forward", stream: boolean): Life =>
  async (it, living) => {
    const [gateway, forward] = httpDoors(it);
    const { gatewayPort, forwardPort } = it.doors;
    const socket = dial(it, living, at === "gateway" ? gatewayPort : forwardPort);
    const door = (at === "gateway" ? gateway : forward) as HttpDoor;
    // The second on the same connection, which may come before all of the first one's answer has.
    for (let one = 0; one < 2; one += 1) {
      if (!(await ask(socket, requestTo(door, stream), living.gap))) return;
    }
  };

/** TLS that ends at the node. Undefined: it came to nothing. */
async function within(it: LivesWorld, living: Living, protocol: string) {
  const socket = dial(it, living, it.doors.forwardPort);
  if (!(await ask(socket, connectHead(`${INSIDE_HOST}:${it.inside.port}`), 0))) return undefined;
  const options = { socket, servername: INSIDE_HOST, ca: it.cert, ALPNProtocols: [protocol] };
  const tls = it.writes.client(connectTls(options));
  // Whoever resets the connection has to know of it.
  carriesTls(socket, tls);
  socket.on("close", () => tls.destroy());
  return (await happens(tls, "secureConnect")) ? tls : undefined;
}

const inside: Life = async (it, living) => {
  const tls = await within(it, living, "http/1.1");
  const door = httpDoors(it)[2] as HttpDoor;
  if (tls !== undefined) await say(tls.resume(), requestTo(door, true), living.gap);
};

const overHttp2: Life = async (it, living) => {
  const tls = await within(it, living, "h2");
  if (tls === undefined) return;
  const door = httpDoors(it)[2] as HttpDoor;
  const authority = `${INSIDE_HOST}:${it.inside.port}`;
  const session = connectHttp2(`https://${authority}`, { createConnection: () => tls });
  session.on("error", () => undefined);
  for (let one = 0; one < 2; one += 1) {
    if (session.destroyed || session.closed) return;
    const stream = session.request({
      ":method": "POST",
      ":path": door.path,
      authorization: `Bearer ${KEY}`,
      "content-type": "application/json",
    });
    stream.on("error", () => undefined).resume();
    const body = door.body("x");
    stream.write(body.slice(0, 20));
    await turns(living.gap);
    if (!stream.destroyed) stream.end(body.slice(20));
  }
};

/** TLS that ends nowhere near: it begins, and is carried. */
async function beginTls(socket: Socket, host: string, gap: number): Promise<void> {
  await say(socket, clientHello({ serverNames: [host] }), gap);
  await say(socket, "what the far side\r\n\r\nanswers", gap);
}

const tunnel: Life = async (it, living) => {
  const socket = dial(it, living, it.doors.forwardPort);
  const head = connectHead(`${PLAIN_HOST}:${it.far.port}`);
  if (await ask(socket, head, living.gap)) await beginTls(socket, PLAIN_HOST, living.gap);
};

const captured: Life = async (it, living) => {
  await beginTls(dial(it, living, it.capture.port), CAPTURED_HOST, living.gap);
};

const handshake = (host: string, model: string) =>
  `GET /v1/realtime?model=${model} HTTP/1.1\r\nHost: ${host}\r\nConnection: upgrade\r\n` +
  `Upgrade: websocket\r\nAuthorization: Bearer ${KEY}\r\nSec-WebSocket-Version: 13\r\n` +
  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

const FRAME = Buffer.of(0x81, 0x81, 1, 2, 3, 4, 0x60);

const session: Life = async (it, living) => {
  const socket = dial(it, living, it.doors.gatewayPort);
  const isAnswered = await ask(socket, handshake("x", SESSIONS.gateway), living.gap);
  if (isAnswered) await say(socket, FRAME, living.gap);
};

const sessionInside: Life = async (it, living) => {
  const tls = await within(it, living, "http/1.1");
  if (tls === undefined) return;
  const host = `${INSIDE_HOST}:${it.inside.port}`;
  const isAnswered = await ask(tls, handshake(host, SESSIONS.inside), living.gap);
  if (isAnswered) await say(tls, FRAME, living.gap);
};

/** One of each kind that there is. */
export const LIVES: ReadonlyMap<string, Life> = new Map([
  ["a request", asks("gateway", false)],
  ["a stream", asks("gateway", true)],
  ["plain HTTP", asks("forward", false)],
  ["a stream within TLS", inside],
  ["requests over HTTP/2", overHttp2],
  ["a tunnel", tunnel],
  ["a captured connection", captured],
  ["a session", session],
  ["a session within TLS", sessionInside],
]);

/** RFC 6455, section 1.3. */
const ACCEPT = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

const chunk = (of: object) =>
  `data: ${JSON.stringify({ id: "c", object: "chat.completion.chunk", created: 0, model: "gpt-5-mini", ...of })}\n\n`;
const STREAM =
  chunk({ choices: [{ index: 0, delta: { role: "assistant", content: "a word" } }] }) +
  chunk({ choices: [{ index: 0, delta: {}, finish_reason: "stop" }] }) +
  chunk({ choices: [], usage: { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 } }) +
  "data: [DONE]\n\n";

function answerTo({ head, body }: RawRequest): string {
  if (/upgrade: websocket/.test(head)) {
    const key = /sec-websocket-key: (.*)\r\n/.exec(head)?.[1];
    const accept = createHash("sha1").update(`${key}${ACCEPT}`).digest("base64");
    const said = `upgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: ${accept}`;
    return `HTTP/1.1 101 Switching Protocols\r\n${said}\r\n\r\n\x81\x05hello`;
  }
  if (!/"stream":true/.test(body)) return OK;
  const length = `content-length: ${STREAM.length}`;
  return `HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n${length}\r\n\r\n${STREAM}`;
}

/** The far sides answer everything, in pieces some turns after one another. */
export function answerInPieces({ far, inside: ended, captured: other }: DoorsWorld, gap: number) {
  for (const one of [far, ended, other]) {
    one.answer = (request, socket) => {
      void turns(gap).then(() => say(socket, answerTo(request), gap));
      return undefined;
    };
  }
}
