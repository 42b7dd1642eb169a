import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Transform } from "node:stream";
import { text } from "node:stream/consumers";
import { createBrotliCompress } from "node:zlib";
import { type DemoRequest, readDemoRequest } from "../../cli/demo/demo-request.ts";
import { type DemoRoute, demoRoute } from "../../cli/demo/demo-route.ts";
import { countTokens } from "../../cli/demo/demo-tokens.ts";
import type { DemoWire } from "../../cli/demo/demo-wire.ts";

/** What the provider does with requests whose prompt says `script <name>`. */
export type Script = {
  /** The answer, in the pieces in which a stream brings it. */
  readonly pieces?: readonly string[];
  readonly tool?: { readonly name: string; readonly json: string };
  /** Bytes of comment behind each piece of a stream: much to carry, and nothing to pay for. */
  readonly paddingBytes?: number;
  /** A stream says its pieces and then waits until `release`. */
  readonly held?: boolean;
  /** An error in place of an answer, with this body. */
  readonly fails?: { readonly status: number; readonly body: string };
  /** Its answers come compressed, whether they were asked for so or not. */
  readonly isCompressed?: true;
  /** The connection breaks once the pieces are said. */
  readonly breaksOff?: boolean;
};

/** A request as the provider received it. */
export type Received = {
  readonly path: string;
  readonly headers: IncomingMessage["headers"];
  readonly body: string;
};

const PIECES = ["One ", "answer ", "in ", "five ", "pieces."];

/** Starts a provider of all dialects in this process that does as a test says. */
export async function startProvider(): Promise<Provider> {
  const provider = new Provider();
  await provider.listen();
  return provider;
}

export class Provider implements AsyncDisposable {
  readonly received: Received[] = [];
  readonly #server: Server;
  readonly #scripts = new Map<string, Script>();
  readonly #open = new Map<ServerResponse, { readonly name: string; readonly end: () => void }>();

  constructor() {
    this.#server = createServer((request, response) => {
      this.#serve(request, response).catch(() => response.destroy());
    });
  }

  get origin(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async listen(): Promise<void> {
    this.#server.listen(0, "127.0.0.1");
    await once(this.#server, "listening");
  }

  script(name: string, script: Script): void {
    this.#scripts.set(name, script);
  }

  /** Requests whose body holds this text. */
  reachedBy(part: string): readonly Received[] {
    return this.received.filter(({ body }) => body.includes(part));
  }

  /** Streams of a script that somebody is connected to now. */
  openStreams(name: string): number {
    return [...this.#open.values()].filter((one) => one.name === name).length;
  }

  /** Bytes of a script's streams that were said and that nobody has taken yet. */
  untakenBytes(name: string): number {
    const streams = [...this.#open].filter(([, one]) => one.name === name);
    return streams.reduce((sum, [response]) => sum + response.writableLength, 0);
  }

  /** Lets the held streams of a script come to their proper end. */
  release(name: string): void {
    for (const one of this.#open.values()) if (one.name === name) one.end();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close();
    this.#server.closeAllConnections();
    await once(this.#server, "close");
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { url: path = "", headers } = request;
    const body = await text(request);
    this.received.push({ path, headers, body });
    const route = demoRoute(path.split("?", 1)[0] as string);
    const asked = route && readDemoRequest(body, route.said);
    if (asked === undefined) throw new Error("not a request of any dialect");
    const { wire } = route as DemoRoute;
    const name = /\bscript (\S+)/.exec(asked.prompt)?.[1] ?? "";
    const script = this.#scripts.get(name) ?? {};
    if (script.fails !== undefined) {
      response.writeHead(script.fails.status, { "content-type": "application/json" });
      response.end(script.fails.body);
    } else if (asked.stream) this.#stream(response, { asked, wire, script, name });
    else answer(response, { asked, wire, script });
  }

  #stream(response: ServerResponse, said: Said & { readonly name: string }): void {
    const { asked, wire, script, name } = said;
    const pieces = script.tool === undefined ? (script.pieces ?? PIECES) : [script.tool.json];
    const to = said.script.isCompressed === true ? compressing(response) : response;
    response.writeHead(200, { "content-type": "text/event-stream" });
    to.write(wire.open(asked, script.tool));
    const padding = script.paddingBytes ? `: ${"-".repeat(script.paddingBytes)}\n\n` : "";
    for (const piece of pieces) {
      to.write(wire.piece(asked, piece, script.tool) + padding);
    }
    const end = () => to.end(wire.close(asked, script.tool, endOf(pieces)));
    this.#open.set(response, { name, end });
    response.on("close", () => this.#open.delete(response));
    if (script.breaksOff === true) setImmediate(() => response.socket?.destroySoon());
    else if (script.held !== true) end();
  }
}

type Said = { readonly asked: DemoRequest; readonly wire: DemoWire; readonly script: Script };

function answer(response: ServerResponse, { asked, wire, script }: Said): void {
  const pieces = script.pieces ?? PIECES;
  const body = wire.whole(asked, pieces.join(""), script.tool, endOf(pieces));
  const to = script.isCompressed === true ? compressing(response) : response;
  response.writeHead(200, { "content-type": "application/json" });
  to.end(JSON.stringify(body));
}

/** What is written to it goes out in brotli, which is the hardest to tell from anything else. */
function compressing(response: ServerResponse): Transform {
  response.setHeader("content-encoding", "br");
  const compressor = createBrotliCompress();
  compressor.pipe(response);
  return compressor;
}

function endOf(pieces: readonly string[]) {
  const text = pieces.join("");
  return { text, outputTokens: countTokens(text), cut: false };
}
