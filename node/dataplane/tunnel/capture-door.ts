import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { pooledRandom } from "../../../ports/pooled-random.ts";
import { type Random, uuidV7 } from "../../../ports/random.ts";
import type { Reason } from "../../../proto/reasons.ts";
import type { Gateway } from "../gateway.ts";
import { peerOf } from "../peer-of.ts";
import { refusalAnswer } from "../refusal-answer.ts";
import type { RefusedAtDoor } from "../serve-exchange.ts";
import type { CarryHost } from "./carried-exchange.ts";
import type { OwnConnections } from "./own-connections.ts";
import { readHello } from "./read-hello.ts";
import { TunnelExchange } from "./tunnel-exchange.ts";

export type CaptureDoorOptions = CarryHost & {
  /** A listening socket that this process was given, to which the kernel brings what it captures. */
  readonly listen: { readonly fd: number } | { readonly port: number; readonly host: string };
  readonly connectionsMax: number;
  readonly connectionsElsewhere: (door: object) => number;
  readonly backlog: number;
  readonly random: Random;
  /** What this thread has dialled: captured in its turn, it would be dialled again without end. */
  readonly own: Pick<OwnConnections, "isOther"> | undefined;
  /** Told of each connection that is taken in; nothing waits for it. */
  readonly onCaptured: ((socket: Socket) => void) | undefined;
  /** Called once the first message has named a host. */
  readonly onTunnel: (tunnel: TunnelExchange) => Promise<void>;
  readonly onRefused: (refused: RefusedAtDoor) => void;
};

export type CaptureDoor = Pick<Gateway, "port" | "connectionCount" | "stopAccepting" | "close">;

/**
 * The door for connections that the kernel took off their way. Nobody asked for it: the client believes
 * that it talks to where it was going, and that is known as the socket's own address.
 *
 * Where it goes is said by its ClientHello alone, and resolved here like any other name: the address
 * that the client chose is written down and never dialled. What is no TLS is refused.
 */
export async function openCaptureDoor(options: CaptureDoorOptions): Promise<CaptureDoor> {
  const door = new CapturingDoor(options);
  await door.listen();
  return door;
}

class CapturingDoor implements CaptureDoor {
  readonly #options: CaptureDoorOptions;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #random: Random;
  /** The kernel brings here what was going elsewhere; nothing is meant to go here. */
  #listener: AddressInfo | undefined;

  constructor(options: CaptureDoorOptions) {
    this.#options = options;
    this.#random = pooledRandom(options.random);
    this.#server = createServer({ allowHalfOpen: true, noDelay: true, pauseOnConnect: true });
    this.#server.on("connection", (socket) => this.#captured(socket));
  }

  listen(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once("error", reject);
      // Given in the options, the length of the queue would be ignored.
      const { listen, backlog } = this.#options;
      if ("fd" in listen)
        this.#server.listen(listen, backlog, () => {
          this.#listener = this.#server.address() as AddressInfo;
          resolve();
        });
      else this.#server.listen(listen.port, listen.host, backlog, resolve);
    });
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  connectionCount(): number {
    return this.#sockets.size;
  }

  stopAccepting(): void {
    this.#server.close();
  }

  async close(): Promise<void> {
    if (this.#server.listening) this.stopAccepting();
    await this.#options.registry.closeAll({ by: "reason", reason: "draining" });
    for (const socket of this.#sockets) socket.destroy();
  }

  #captured(socket: Socket): void {
    const { connectionsMax, connectionsElsewhere, onFault } = this.#options;
    if (this.#sockets.size + connectionsElsewhere(this) >= connectionsMax) {
      this.#turnAway(socket);
      return;
    }
    this.#sockets.add(socket);
    socket.on("close", () => this.#sockets.delete(socket));
    this.#options.onCaptured?.(socket);
    const tunnel = this.#tunnelOf(socket);
    this.#serve(tunnel).catch((error) => {
      onFault(error);
      tunnel.reset();
    });
  }

  /** There is no room to say anything; it is on record all the same. */
  #turnAway(socket: Socket): void {
    this.#options.onRefused({
      requestId: this.#newId(),
      reason: "too_many_connections",
      peer: peerOf(socket),
      method: undefined,
      target: originalOf(socket),
      door: "transparent",
    });
    socket.destroy();
  }

  #newId(): string {
    return uuidV7(this.#options.clock.nowMs(), this.#random);
  }

  #tunnelOf(socket: Socket): TunnelExchange {
    const { clock } = this.#options;
    return new TunnelExchange(this.#options, {
      requestId: this.#newId(),
      door: "transparent",
      head: { method: "CAPTURED", target: "", rawHeaders: [], peer: peerOf(socket) },
      headAtNs: clock.monoNs(),
      target: { host: "", port: socket.localPort ?? 0 },
      socket,
      first: Buffer.alloc(0),
      original: originalOf(socket),
    });
  }

  async #serve(tunnel: TunnelExchange): Promise<void> {
    const { clock, onTunnel } = this.#options;
    const read = await readHello(tunnel.socket, { first: Buffer.alloc(0), clock });
    if ("flaw" in read) {
      this.#refuse(tunnel, tunnel.cutReason ?? read.flaw);
    } else if (this.#isSelf(tunnel.socket)) {
      this.#refuse(tunnel, "captured_self");
    } else if (read.hello.serverName === undefined) {
      this.#refuse(tunnel, "server_name_missing");
    } else {
      tunnel.name(read.hello.serverName, read.bytes);
      await onTunnel(tunnel);
    }
  }

  /** One that we dialled ourselves; or one that somebody on this machine made to the listener itself. */
  #isSelf(socket: Socket): boolean {
    if (this.#options.own?.isOther(socket)) return true;
    const listener = this.#listener;
    return listener?.port === socket.localPort && listener?.address === socket.localAddress;
  }

  #refuse(tunnel: TunnelExchange, reason: Reason): void {
    const { requestId, head, original } = tunnel;
    this.#options.onRefused({
      requestId,
      reason,
      peer: head.peer,
      method: undefined,
      target: original,
      door: "transparent",
    });
    if (reason === "client_gone") tunnel.socket.destroy();
    else tunnel.answer(refusalAnswer({ requestId, reason }));
  }
}

/** Where a captured connection was going. */
function originalOf({ localAddress = "", localPort = 0 }: Socket): string {
  const address = localAddress.includes(":") ? `[${localAddress}]` : localAddress;
  return `${address}:${localPort}`;
}
