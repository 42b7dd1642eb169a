import { once } from "node:events";
import { connect } from "node:net";
import { createServer, type Server, type TLSSocket } from "node:tls";
import { selfSigned } from "../unit/node/dataplane/self-signed.ts";

const ANYWHERE = { host: "127.0.0.1", port: 0 };

/** TLS in front of a plain server, under a name and a certificate of its own. */
export class TlsFront implements Disposable {
  readonly certificate: string;
  readonly name: string;
  /** What was connected to it, ended or not. */
  readonly seen: TLSSocket[] = [];
  readonly #server: Server;

  constructor(name: string, behind: URL) {
    const { key, cert } = selfSigned(name);
    this.name = name;
    this.certificate = cert;
    this.#server = createServer({ key, cert }, (socket) => {
      this.seen.push(socket);
      const inner = connect(Number(behind.port), behind.hostname);
      for (const one of [socket, inner]) one.on("error", () => undefined);
      inner.on("close", () => socket.destroy());
      socket.on("close", () => inner.destroy());
      socket.pipe(inner).pipe(socket);
    });
    this.#server.on("tlsClientError", () => undefined);
  }

  async listen(at: { readonly host: string; readonly port: number } = ANYWHERE): Promise<void> {
    this.#server.listen(at.port, at.host);
    await once(this.#server, "listening");
  }

  get port(): number {
    return (this.#server.address() as { port: number }).port;
  }

  get origin(): string {
    return `https://${this.name}:${this.port}`;
  }

  [Symbol.dispose](): void {
    for (const socket of this.seen) socket.destroy();
    this.#server.close();
  }
}
