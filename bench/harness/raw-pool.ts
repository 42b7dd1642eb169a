import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";

/** What a request came back with. */
export type RawAnswer = { readonly status: number; readonly reason: string | undefined };

/** Where a server with TLS is really looked for, and whose certificates are believed. */
export type RawTls = { readonly address: string; readonly ca: string };

const TLS_PORT = 443;
/** Bytes of an answer at most; none that this is for comes near. */
const ANSWER_CHARS_MAX = 1_000_000;
const HEAD_END = "\r\n\r\n";
const CHUNKS_END = "\r\n0\r\n\r\n";

/**
 * Asks over connections that are kept open, one question at a time on each, with as little work as
 * can be: the generator shares its processors with what is measured, and a client that parses all
 * there is to HTTP takes a quarter of what the node does.
 */
export class RawPool {
  readonly #host: string;
  readonly #port: number;
  readonly #connectionsMax: number;
  readonly #tls: RawTls | undefined;
  readonly #hostHeader: string;
  readonly #idle: RawConnection[] = [];
  readonly #waiting: ((connection: RawConnection) => void)[] = [];
  readonly #all = new Set<RawConnection>();

  /** @param options.tls Given for an origin with TLS, and only then. */
  constructor(origin: string, options: { readonly connections: number; readonly tls?: RawTls }) {
    const { hostname, port, host } = new URL(origin);
    this.#host = hostname;
    this.#port = Number(port || TLS_PORT);
    this.#hostHeader = host;
    this.#tls = options.tls;
    this.#connectionsMax = options.connections;
  }

  /** Rejects when the connection broke before the whole answer was there. */
  async ask(of: {
    readonly key: string;
    readonly body: string;
    /** The client's own id of the request. */
    readonly id?: string;
    /** Default: where OpenAI takes chat completions. */
    readonly path?: string | undefined;
    /** Besides the usual ones. */
    readonly headers?: Readonly<Record<string, string>> | undefined;
  }): Promise<RawAnswer> {
    const { key, body, id, path = "/v1/chat/completions", headers = {} } = of;
    const more = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
    const idLine = id === undefined ? "" : `x-request-id: ${id}\r\n`;
    const request =
      `POST ${path} HTTP/1.1\r\nhost: ${this.#hostHeader}\r\n` +
      `content-type: application/json\r\nauthorization: Bearer ${key}\r\n${idLine}${more.join("")}` +
      `content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
    const connection = await this.#take();
    try {
      return await connection.ask(request);
    } finally {
      this.#giveBack(connection);
    }
  }

  close(): void {
    for (const connection of this.#all) connection.end();
  }

  async #take(): Promise<RawConnection> {
    const idle = this.#idle.pop();
    if (idle !== undefined) return idle;
    if (this.#all.size < this.#connectionsMax) return this.#open();
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  async #open(): Promise<RawConnection> {
    const socket = this.#connect();
    const connection = new RawConnection(socket);
    this.#all.add(connection);
    await once(socket, this.#tls === undefined ? "connect" : "secureConnect");
    return connection;
  }

  #connect(): Socket {
    const [port, name] = [this.#port, this.#host];
    if (this.#tls === undefined) return connect({ host: name, port, noDelay: true });
    const { address, ca } = this.#tls;
    return connectTls({ host: address, port, servername: name, ca }).setNoDelay();
  }

  #giveBack(connection: RawConnection): void {
    const next = this.#waiting.shift();
    if (connection.isUsable) {
      if (next === undefined) this.#idle.push(connection);
      else next(connection);
      return;
    }
    this.#all.delete(connection);
    if (next !== undefined) void this.#open().then(next);
  }
}

type Asked = {
  readonly resolve: (answer: RawAnswer) => void;
  readonly reject: (error: Error) => void;
};

class RawConnection {
  readonly #socket: Socket;
  #asked: Asked | undefined;
  #text = "";
  #isUsable = true;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.setEncoding("latin1");
    socket.on("data", (part: string) => this.#read(part));
    socket.on("error", (error) => this.#broken(error));
    socket.on("close", () => this.#broken(new Error("the connection was closed")));
  }

  /** Whether another question may be put on it. */
  get isUsable(): boolean {
    return this.#isUsable;
  }

  ask(request: string): Promise<RawAnswer> {
    return new Promise((resolve, reject) => {
      this.#asked = { resolve, reject };
      if (this.#isUsable) this.#socket.write(request);
      else this.#broken(new Error("the connection was closed"));
    });
  }

  end(): void {
    this.#isUsable = false;
    this.#socket.destroy();
  }

  #read(part: string): void {
    this.#text += part;
    const headEnd = this.#text.indexOf(HEAD_END);
    if (headEnd < 0) return;
    const head = this.#text.slice(0, headEnd).toLowerCase();
    if (!isWhole(head, this.#text, headEnd + HEAD_END.length)) {
      if (this.#text.length > ANSWER_CHARS_MAX) this.#broken(new Error("the answer is too long"));
      return;
    }
    this.#text = "";
    if (headerOf(head, "connection") === "close") this.end();
    const status = Number(head.slice(9, 12));
    this.#asked?.resolve({ status, reason: headerOf(head, "x-altrace-reason") });
    this.#asked = undefined;
  }

  #broken(error: Error): void {
    this.end();
    this.#asked?.reject(error);
    this.#asked = undefined;
  }
}

/** Whether the body that begins at `from` is there to its end. */
function isWhole(head: string, text: string, from: number): boolean {
  const length = headerOf(head, "content-length");
  if (length !== undefined) return text.length - from >= Number(length);
  // The last chunk; an empty body has it right after the head.
  return text.endsWith(CHUNKS_END) || text.slice(from) === CHUNKS_END.slice(2);
}

function headerOf(head: string, name: string): string | undefined {
  const at = head.indexOf(`\r\n${name}: `);
  if (at < 0) return undefined;
  const start = at + name.length + 4;
  const end = head.indexOf("\r\n", start);
  return head.slice(start, end < 0 ? undefined : end);
}
