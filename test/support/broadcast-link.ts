import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";

/** When each copy of a message goes on, in ms from now; none: it is lost. */
export type Fate = (subject: string) => readonly number[];

const CONTROL_LINE = /^(?:MSG|HMSG) (\S+) .*?(\d+)\r\n/;
const CRLF = Buffer.from("\r\n");

/**
 * A link to a nats-server that loses, doubles and delays single messages on their way here, as TCP alone
 * never would: a server that drops what a slow client has to read, and clients that read twice.
 *
 * Everything else of the protocol passes in its order, and so does everything on its way there.
 *
 * @see https://docs.nats.io/reference/reference-protocols/nats-protocol
 */
export class BroadcastLink implements AsyncDisposable {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #fate: Fate | undefined;
  /** Messages that did not go on once and at once. */
  disturbed = 0;

  private constructor(toPort: number) {
    this.#server = createServer((near) => {
      const far = connect(toPort, "127.0.0.1");
      for (const [socket, other] of [[near, far] as const, [far, near] as const]) {
        this.#sockets.add(socket);
        socket.on("error", () => undefined);
        socket.once("close", () => {
          this.#sockets.delete(socket);
          other.destroy();
        });
      }
      near.pipe(far);
      this.#carry(far, near);
    });
  }

  static async to(port: number): Promise<BroadcastLink> {
    const link = new BroadcastLink(port);
    link.#server.listen(0, "127.0.0.1");
    await once(link.#server, "listening");
    return link;
  }

  get url(): string {
    return `nats://127.0.0.1:${(this.#server.address() as { port: number }).port}`;
  }

  /** `undefined`: everything passes. */
  set(fate: Fate | undefined): void {
    this.#fate = fate;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    const closed = once(this.#server, "close");
    this.#server.close();
    await closed;
  }

  #carry(from: Socket, to: Socket): void {
    let waiting: Buffer<ArrayBufferLike> = Buffer.alloc(0);
    from.on("data", (bytes: Buffer) => {
      waiting = Buffer.concat([waiting, bytes]);
      for (let end = endOfFirst(waiting); end > 0; end = endOfFirst(waiting)) {
        this.#pass(waiting.subarray(0, end), to);
        waiting = waiting.subarray(end);
      }
    });
  }

  #pass(frame: Buffer, to: Socket): void {
    const subject = CONTROL_LINE.exec(lineOf(frame))?.[1];
    const delays = subject === undefined ? undefined : this.#fate?.(subject);
    if (delays === undefined || (delays.length === 1 && delays[0] === 0)) {
      to.write(frame);
      return;
    }
    this.disturbed += 1;
    for (const ms of delays) {
      setTimeout(() => {
        if (!to.destroyed) to.write(frame);
      }, ms);
    }
  }
}

/** Where the first whole message ends; 0: it is not whole yet. */
function endOfFirst(bytes: Buffer): number {
  const line = bytes.indexOf(CRLF);
  if (line < 0) return 0;
  const size = CONTROL_LINE.exec(lineOf(bytes))?.[2];
  const end = line + CRLF.length + (size === undefined ? 0 : Number(size) + CRLF.length);
  return end <= bytes.length ? end : 0;
}

function lineOf(bytes: Buffer): string {
  return bytes.toString("latin1", 0, bytes.indexOf(CRLF) + CRLF.length);
}
