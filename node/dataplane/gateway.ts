import { once } from "node:events";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import type { Clock } from "../../ports/clock.ts";
import { pooledRandom } from "../../ports/pooled-random.ts";
import { type Random, uuidV7 } from "../../ports/random.ts";
import type { Reason } from "../../proto/reasons.ts";
import type { Connections } from "./connections.ts";
import type { Exchange, Via } from "./exchange.ts";
import type { GatewayLimits } from "./gateway-limits.ts";
import { ConnectionWatch } from "./http1/connection-watch.ts";
import { type ConnectionHost, Http1Connection } from "./http1/http1-connection.ts";
import { Http2Connection } from "./http2/http2-connection.ts";
import { HTTP2_LIMITS } from "./http2/http2-limits.ts";
import { answerAndClose, LingerPlaces } from "./lingering-close.ts";
import { peerOf } from "./peer-of.ts";
import { answerBytes, refusalAnswer } from "./refusal-answer.ts";
import type { RefusedAtDoor } from "./serve-exchange.ts";
import type { TunnelExchange } from "./tunnel/tunnel-exchange.ts";

export type GatewayOptions = {
  /** 0: any free port. */
  readonly port: number;
  readonly host: string;
  /** Several loops share the port; each then listens for itself. */
  readonly reusePort: boolean;
  readonly limits: GatewayLimits;
  /** Admission cap of this loop; see `connectionsMaxOf`. */
  readonly connectionsMax: number;
  /** Connections of the loop's other doors, which count against the same cap. */
  readonly connectionsElsewhere?: (door: object) => number;
  readonly clock: Clock;
  readonly random: Random;
  readonly registry: Connections;
  /** Called in the turn in which the head is complete. A fault of it refuses `stage_failed`. */
  readonly onExchange: (exchange: Exchange) => void | Promise<void>;
  /** Makes it a forward proxy: called for each CONNECT, in the turn in which its head is complete. */
  readonly onTunnel?: (tunnel: TunnelExchange) => Promise<void>;
  /** Called for what is refused here, before there is an exchange to serve. */
  readonly onRefused: (refused: RefusedAtDoor) => void;
  /** A bug that was found while serving one exchange; the exchange was ended. */
  readonly onFault: (error: unknown) => void;
};

/** What is spoken within TLS, by its ALPN name. */
export type Protocol = "http/1.1" | "h2";

/** A connection that is being served. */
export type Served = {
  /** A request has been served on it, or is. */
  hasBegun(): boolean;
  /** No further request is served on it, and it ends once none runs. */
  finish(): void;
};

export type Gateway = {
  readonly port: number;
  /**
   * Serves the requests of a connection that did not come through the port: TLS was ended on it.
   * Undefined: no more are taken.
   */
  serve(socket: Socket, via: Via, protocol?: Protocol): Served | undefined;
  /** Open client connections of this door. */
  connectionCount(): number;
  /** Stops listening; running exchanges go on, each the last of its connection. */
  stopAccepting(): void;
  /** Stops listening, cuts what still runs (`draining`) and resolves when all is closed. */
  close(): Promise<void>;
};

/** The door is full. */
const FULL: Reason = "too_many_connections";

/** Opens the gateway door of one loop. Rejects when the port cannot be had. */
export async function startGateway(options: GatewayOptions): Promise<Gateway> {
  const door = new GatewayDoor(options);
  await door.listen();
  return door;
}

class GatewayDoor implements Gateway {
  readonly #options: GatewayOptions;
  readonly #server: Server;
  readonly #connections = new Map<Socket, Http1Connection>();
  readonly #http2 = new Set<Http2Connection>();
  readonly #turnedAway = new Set<Socket>();
  readonly #watch: ConnectionWatch;
  readonly #places: LingerPlaces;
  readonly #host: ConnectionHost;
  #port = 0;
  #connectionNo = 0;
  #draining = false;

  constructor(options: GatewayOptions) {
    const { limits, clock, registry, onExchange, onTunnel, onRefused, onFault } = options;
    this.#options = options;
    this.#places = new LingerPlaces({ limits, clock });
    this.#watch = new ConnectionWatch({ limits, clock });
    const keptS = Math.floor(limits.keepAliveTimeoutMs / 1_000);
    this.#host = {
      door: onTunnel === undefined ? "gateway" : "forward",
      clock,
      random: pooledRandom(options.random),
      limits,
      registry,
      places: this.#places,
      watch: this.#watch,
      keptLines: `Connection: keep-alive\r\nKeep-Alive: timeout=${keptS}\r\n`,
      isDraining: () => this.#draining,
      onExchange,
      onTunnel,
      onRefused,
      onFault,
    };
    this.#server = createServer({ allowHalfOpen: true, noDelay: true });
    this.#server.on("connection", (socket) => this.#connected(socket));
  }

  get port(): number {
    return this.#port;
  }

  listen(): Promise<void> {
    const { port, host, reusePort, limits } = this.#options;
    return new Promise((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen({ port, host, reusePort, backlog: limits.backlog }, () => {
        this.#server.off("error", reject);
        this.#port = (this.#server.address() as AddressInfo).port;
        resolve();
      });
    });
  }

  serve(socket: Socket, via: Via, protocol: Protocol = "http/1.1"): Served | undefined {
    if (protocol === "h2") return this.#draining ? undefined : this.#serveHttp2(socket, via);
    const connection = this.#admit(socket, via);
    return {
      hasBegun: () => connection.hasBegun,
      finish: () => connection.finish(),
    };
  }

  #serveHttp2(socket: Socket, via: Via): Served {
    this.#connectionNo++;
    const id = String(this.#connectionNo);
    const limits = HTTP2_LIMITS;
    const connection = new Http2Connection(this.#host, { socket, id, via, limits });
    this.#http2.add(connection);
    socket.on("close", () => this.#http2.delete(connection));
    return connection;
  }

  connectionCount(): number {
    return this.#connections.size;
  }

  stopAccepting(): void {
    this.#draining = true;
    this.#server.close();
    for (const { socket } of this.#watch.resting()) socket.destroySoon();
    for (const connection of this.#http2) connection.finish();
  }

  async close(): Promise<void> {
    if (!this.#draining) this.stopAccepting();
    await this.#options.registry.closeAll({ by: "reason", reason: "draining" });
    const closed = new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
    });
    const gone = [...this.#connections.values()].map(({ socket, via }) => {
      // Within TLS the connection under it is another door's to wait for.
      const over = via === undefined ? once(socket, "close") : undefined;
      socket.destroy();
      return over;
    });
    for (const { socket } of this.#http2) socket.destroy();
    for (const socket of this.#turnedAway) socket.destroy();
    await Promise.all([closed, ...gone]);
    this.#watch.stop();
  }

  #connected(socket: Socket): void {
    const elsewhere = this.#options.connectionsElsewhere?.(this) ?? 0;
    const isFull = this.#connections.size + elsewhere >= this.#options.connectionsMax;
    if (isFull && !this.#makeRoom()) this.#turnAway(socket);
    else this.#admit(socket, undefined);
  }

  #admit(socket: Socket, via: Via | undefined): Http1Connection {
    this.#connectionNo++;
    const connection = new Http1Connection(this.#host, socket, String(this.#connectionNo), via);
    this.#connections.set(socket, connection);
    socket.on("close", () => {
      this.#connections.delete(socket);
      connection.closed();
    });
    return connection;
  }

  /** It is gone from here before the kernel has closed it. */
  #makeRoom(): boolean {
    const evicted = this.#watch.evict();
    return evicted !== undefined && this.#connections.delete(evicted.socket);
  }

  #turnAway(socket: Socket): void {
    if (this.#turnedAway.size >= this.#options.limits.turnedAwayMax) {
      socket.destroy();
      return;
    }
    this.#turnedAway.add(socket);
    socket.on("close", () => this.#turnedAway.delete(socket));
    const { clock, random, onRefused } = this.#host;
    const requestId = uuidV7(clock.nowMs(), random);
    const answer = refusalAnswer({ requestId, reason: FULL });
    answerAndClose(socket, answerBytes(answer), "", this.#places);
    const peer = peerOf(socket);
    onRefused({
      requestId,
      reason: FULL,
      peer,
      method: undefined,
      target: undefined,
      door: this.#host.door,
    });
  }
}
