import { connect, type Socket } from "node:net";
import { wishBody } from "../fixtures/upstream.ts";
import { SocketEnd } from "./socket-end.ts";

/** One open stream on a bare socket, so that its FIN or RST is seen when it comes. */
export class StreamClient {
  readonly #socket: Socket;
  /** The end of what has come. */
  text = "";
  readonly end: SocketEnd;

  private constructor(socket: Socket) {
    this.#socket = socket;
    this.end = new SocketEnd(socket);
    socket.on("data", (bytes: Buffer) => {
      this.text = (this.text + bytes.toString("latin1")).slice(-2_048);
    });
  }

  /** Resolves when the first chunk of the stream is there. */
  static open(url: URL, key: string, name: string): Promise<StreamClient> {
    const body = wishBody("hold", name);
    const head = [
      "POST /v1/chat/completions HTTP/1.1",
      `host: ${url.host}`,
      "content-type: application/json",
      `authorization: Bearer ${key}`,
      `content-length: ${Buffer.byteLength(body)}`,
      "",
      "",
    ].join("\r\n");
    return new Promise((resolve, reject) => {
      const socket = connect({ port: Number(url.port), host: url.hostname, allowHalfOpen: true });
      const client = new StreamClient(socket);
      const look = (): void => {
        const isRefused = /^HTTP\/1\.1 [345]/.test(client.text);
        if (!isRefused && !client.text.includes("begun")) return;
        socket.off("data", look);
        if (!isRefused) resolve(client);
        // A refusal leaves the connection open: nobody else would end it.
        else socket.destroy(new Error(`no stream: ${client.text}`));
      };
      socket.on("data", look);
      socket.on("close", () => reject(new Error(`no stream: ${client.text}`)));
      socket.write(head + body);
    });
  }

  destroy(): void {
    this.#socket.destroy();
  }
}
