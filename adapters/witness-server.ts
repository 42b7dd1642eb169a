import type { IncomingMessage } from "node:http";
import { startTextServer, type TextAnswer, type TextServer } from "./text-server.ts";

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

export type WitnessServer = TextServer;

const SIZE_TYPE = "text/x.tlog.size";
const LATEST = /^\/([0-9a-f]{64})\/checkpoint$/;

/** `POST /add-checkpoint` and `GET /<hash of the origin>/checkpoint`. */
export function startWitnessServer(options: WitnessServerOptions): Promise<WitnessServer> {
  const { host, port, onBug } = options;
  return startTextServer({ host, port, onBug, answer: (request) => answerTo(request, options) });
}

async function answerTo(
  request: IncomingMessage,
  { door, bodyBytesMax }: WitnessServerOptions,
): Promise<TextAnswer | undefined> {
  const { url = "", method } = request;
  if (url === "/add-checkpoint") {
    if (method !== "POST") return { status: 405, text: "only POST\n" };
    const body = await bodyOf(request, bodyBytesMax);
    if (body === "gone") return undefined;
    if (body === "too_large") {
      return { status: 413, text: `more than ${bodyBytesMax} bytes\n`, isLast: true };
    }
    const { status, body: said } = await door.add(body);
    // A cosignature's line has its newline; a size and a reason get theirs here.
    const text = said.endsWith("\n") ? said : `${said}\n`;
    return status === 409 ? { status, text, contentType: SIZE_TYPE } : { status, text };
  }
  const hash = LATEST.exec(url)?.[1];
  if (hash === undefined) return { status: 404, text: "add-checkpoint or <origin>/checkpoint\n" };
  if (method !== "GET" && method !== "HEAD") return { status: 405, text: "only GET\n" };
  const latest = door.latest(hash);
  return latest === undefined
    ? { status: 404, text: "the log is not known\n" }
    : { status: 200, text: latest };
}

async function bodyOf(request: IncomingMessage, max: number) {
  const pieces: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const piece of request as AsyncIterable<Buffer>) {
      bytes += piece.length;
      if (bytes > max) return "too_large" as const;
      pieces.push(piece);
    }
  } catch {
    return "gone" as const;
  }
  return Buffer.concat(pieces);
}
