import { createHash } from "node:crypto";
import { once } from "node:events";
import { createServer as createPlainServer, type IncomingMessage } from "node:http";
import { createServer } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import { onTestFinished } from "vitest";
import { HOST } from "./dataplane/door.ts";

/** RFC 6455, section 1.3. */
const ACCEPT = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const TEXT_FRAME = 0x81;

export type WebSocketServer = {
  readonly port: number;
  readonly sockets: Socket[];
  /** Heads of the requests for a WebSocket. */
  readonly asked: IncomingMessage[];
  /** Connections that were ever opened, asked on or not. */
  connections(): number;
  /** All that clients said after that, masked as it came. */
  readonly heard: Buffer[];
};

/** A server that says one short text on each WebSocket and then keeps it open. */
export async function webSocketServer(
  word: string,
  of: {
    readonly tls?: { readonly key: string; readonly cert: string };
    /** In place of what agrees to the handshake. */
    readonly answer?: (accept: string) => string;
    /** It never answers. */
    readonly isSilent?: true;
  } = {},
): Promise<WebSocketServer> {
  const sockets: Socket[] = [];
  const asked: IncomingMessage[] = [];
  const heard: Buffer[] = [];
  const server = of.tls === undefined ? createPlainServer() : createServer(of.tls);
  let connections = 0;
  server.on("connection", () => {
    connections += 1;
  });
  server.on("upgrade", (request: IncomingMessage, socket: Socket) => {
    sockets.push(socket);
    asked.push(request);
    socket.on("error", () => undefined);
    socket.on("data", (chunk: Buffer) => heard.push(chunk));
    if (of.isSilent) {
      socket.on("end", () => socket.end());
      return;
    }
    const key = request.headers["sec-websocket-key"];
    const accept = createHash("sha1").update(`${key}${ACCEPT}`).digest("base64");
    socket.write(
      of.answer?.(accept) ??
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n" +
          `sec-websocket-accept: ${accept}\r\n\r\n`,
    );
    socket.write(Buffer.concat([Buffer.of(TEXT_FRAME, word.length), Buffer.from(word)]));
  });
  server.listen(0, HOST);
  await once(server, "listening");
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return { port, sockets, asked, heard, connections: () => connections };
}
