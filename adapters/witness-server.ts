import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** What a witness says over HTTP. @see https://c2sp.org/tlog-witness */
export type WitnessDoor = {
  /** Answers `add-checkpoint`: the status, and signature lines, a size or a word of why. */
  add(body: Uint8Array): Promise<{ readonly status: number; readonly body: string }>;
  /** The newest cosigned checkpoint of a log, by the SHA-256 of its origin in lower-case hex. */
  latest(originHash: string): string | undefined;
};

export type WitnessServerOptions = {
  readonly host: string;
  /** 0 lets the system choose. */
  readonly port: number;
  /** Bytes of a request's body, at most. */
  readonly bodyBytesMax: number;
  readonly door: WitnessDoor;
  readonly onBug: (error: unknown) => void;
};

export type WitnessServer = { readonly port: number; close(): Promise<void> };

const CONNECTIONS_MAX = 64;
/** Until a request is whole, ms. */
const REQUEST_MS = 5_000;
const SIZE_TYPE = "text/x.tlog.size";
const LATEST = /^\/([0-9a-f]{64})\/checkpoint$/;

/** `POST /add-checkpoint` and `GET /<hash of the origin>/checkpoint`. */
export async function startWitnessServer(options: WitnessServerOptions): Promise<WitnessServer> {
  const server = createServer((request, response) => {
    serve(request, response, options).catch((error: unknown) => {
      // A client that went away while it was read is no bug of ours.
      if (!request.destroyed) options.onBug(error);
      if (response.headersSent) response.destroy();
      else answer(response, 500, "the checkpoint could not be kept\n");
    });
  });
  server.headersTimeout = REQUEST_MS;
  server.requestTimeout = REQUEST_MS;
  server.maxConnections = CONNECTIONS_MAX;
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen({ host: options.host, port: options.port }, resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function serve(
  request: IncomingMessage,
  response: ServerResponse,
  { door, bodyBytesMax }: WitnessServerOptions,
): Promise<void> {
  const { url = "", method } = request;
  if (url === "/add-checkpoint") {
    if (method !== "POST") return answer(response, 405, "only POST\n");
    const body = await bodyOf(request, bodyBytesMax);
    if (body === undefined) {
      response.setHeader("connection", "close");
      return answer(response, 413, `more than ${bodyBytesMax} bytes\n`);
    }
    const said = await door.add(body);
    // A cosignature's line has its newline; a size and a reason get theirs here.
    const text = said.body.endsWith("\n") ? said.body : `${said.body}\n`;
    return answer(response, said.status, text, said.status === 409 ? SIZE_TYPE : undefined);
  }
  const hash = LATEST.exec(url)?.[1];
  if (hash === undefined) return answer(response, 404, "add-checkpoint or <origin>/checkpoint\n");
  if (method !== "GET" && method !== "HEAD") return answer(response, 405, "only GET\n");
  const latest = door.latest(hash);
  if (latest === undefined) return answer(response, 404, "the log is not known\n");
  return answer(response, 200, latest);
}

async function bodyOf(request: IncomingMessage, max: number): Promise<Buffer | undefined> {
  const pieces: Buffer[] = [];
  let bytes = 0;
  for await (const piece of request as AsyncIterable<Buffer>) {
    bytes += piece.length;
    if (bytes > max) return undefined;
    pieces.push(piece);
  }
  return Buffer.concat(pieces);
}

function answer(
  response: ServerResponse,
  status: number,
  text: string,
  contentType = "text/plain; charset=utf-8",
): void {
  response.writeHead(status, { "content-type": contentType, "cache-control": "no-store" });
  response.end(text);
}
