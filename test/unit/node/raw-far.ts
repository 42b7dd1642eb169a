import { once } from "node:events";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { createServer as createTlsServer } from "node:tls";
import { onTestFinished } from "vitest";
import { HOST } from "./dataplane/door.ts";

/** A request as it lay on the wire, a character a byte. */
export type RawRequest = { readonly head: string; readonly body: string };

const ANSWER = JSON.stringify({
  id: "c",
  object: "chat.completion",
  created: 0,
  model: "gpt-5-mini",
  choices: [{ index: 0, message: { role: "assistant", content: "ok" }, finish_reason: "stop" }],
  usage: { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 },
});

export const OK =
  "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n" +
  `content-length: ${ANSWER.length}\r\n\r\n${ANSWER}`;

/** A server that notes every byte, takes requests apart in the one way that a node writes them, and answers each. */
export class RawFar {
  readonly requests: RawRequest[] = [];
  /** What is no request, or not all of one. */
  readonly rests = new Map<Socket, string>();
  readonly sockets = new Set<Socket>();
  /** Connections that were ever taken in. */
  connections = 0;
  /** What is said to a request; undefined: nothing. */
  answer: (request: RawRequest, socket: Socket) => string | undefined = () => OK;
  readonly #server: Server;

  private constructor(tls?: { readonly key: string; readonly cert: string }) {
    const taken = (socket: Socket) => this.#taken(socket);
    this.#server = tls === undefined ? createServer(taken) : createTlsServer(tls, taken);
    this.#server.on("tlsClientError", () => undefined);
  }

  static async open(
    tls?: { readonly key: string; readonly cert: string },
    at: { readonly port: number; readonly host: string } = { port: 0, host: HOST },
  ): Promise<RawFar> {
    const far = new RawFar(tls);
    far.#server.listen(at.port, at.host);
    await once(far.#server, "listening");
    onTestFinished(() => far.close());
    return far;
  }

  close(): void {
    for (const socket of this.sockets) socket.destroy();
    this.#server.close();
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  #taken(socket: Socket): void {
    this.connections += 1;
    this.sockets.add(socket);
    socket.on("error", () => undefined);
    socket.on("close", () => this.sockets.delete(socket));
    socket.on("data", (bytes) => {
      let rest = (this.rests.get(socket) ?? "") + bytes.toString("latin1");
      for (let one = firstOf(rest); one !== undefined; one = firstOf(rest)) {
        rest = rest.slice(one.head.length + one.body.length);
        this.requests.push(one);
        const said = this.answer(one, socket);
        if (said !== undefined) socket.write(said, "latin1");
      }
      if (rest === "") this.rests.delete(socket);
      else this.rests.set(socket, rest);
    });
  }
}

/** The head with its end, and the body that its one length gives it. */
function firstOf(text: string): RawRequest | undefined {
  const stop = text.indexOf("\r\n\r\n") + 4;
  if (stop < 4) return undefined;
  const head = text.slice(0, stop);
  const bytes = Number(/\r\ncontent-length: ([0-9]+)\r\n/.exec(head)?.[1] ?? 0);
  if (text.length < stop + bytes) return undefined;
  return { head, body: text.slice(stop, stop + bytes) };
}
