import type { IncomingMessage, Server } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import type { Clock } from "../../ports/clock.ts";
import { http } from "../../ports/http-module.ts";
import { pooledRandom } from "../../ports/pooled-random.ts";
import { type Random, uuidV7 } from "../../ports/random.ts";
import type { Reason } from "../../proto/reasons.ts";
import {
  ClientConnection,
  ClientRequest,
  ClientResponse,
  type ConnectionHost,
  peerOf,
} from "./client-connection.ts";
import type { Connections } from "./connections.ts";
import type { Exchange, Via } from "./exchange.ts";
import type { GatewayLimits } from "./gateway-limits.ts";
import { isViolation } from "./head-rules.ts";
import { Http2Connection } from "./http2/http2-connection.ts";
import { HTTP2_LIMITS } from "./http2/http2-limits.ts";
import { answerAndClose, LingerPlaces } from "./lingering-close.ts";
import { answerBytes, refusalAnswer } from "./refusal-answer.ts";
import type { RefusedAtDoor } from "./serve-exchange.ts";
import { readConnect } from "./tunnel/connect-head.ts";
import { TunnelExchange } from "./tunnel/tunnel-exchange.ts";

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
  readonly #server: Server<typeof ClientRequest, typeof ClientResponse>;
  readonly #connections = new Map<Socket, ClientConnection>();
  readonly #http2 = new Set<Http2Connection>();
  readonly #turnedAway = new Set<Socket>();
  readonly #vias = new WeakMap<Socket, Via>();
  readonly #idle = new Set<ClientConnection>();
  readonly #places: LingerPlaces;
  readonly #host: ConnectionHost;
  #port = 0;
  #connectionNo = 0;
  #draining = false;

  constructor(options: GatewayOptions) {
    const { limits, clock, registry, onExchange, onRefused, onFault } = options;
    this.#options = options;
    this.#places = new LingerPlaces({ limits, clock });
    this.#host = {
      door: options.onTunnel === undefined ? "gateway" : "forward",
      clock,
      random: pooledRandom(options.random),
      limits,
      registry,
      places: this.#places,
      idle: this.#idle,
      isDraining: () => this.#draining,
      onExchange,
      onRefused,
      onFault,
    };
    this.#server = createStrictServer(limits, (request) => this.#mayUpgrade(request));
    this.#server.on("upgrade", (request, _, first) => {
      this.#connections.get(request.socket)?.acceptSession(request, first);
    });
    this.#server.on("connection", (socket) => this.#connected(socket));
    this.#server.on("request", (request, response) => this.#requested(request, response, false));
    this.#server.on("checkContinue", (request, response) =>
      this.#requested(request, response, true),
    );
    // An expectation that is not known may be ignored: RFC 9110, section 10.1.1.
    this.#server.on("checkExpectation", (request, response) =>
      this.#requested(request, response, false),
    );
    this.#server.on("connect", (request, _, first) => this.#asked(request, first));
    this.#server.on("clientError", (error, socket) => this.#inputFailed(error, socket as Socket));
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
    this.#vias.set(socket, via);
    this.#server.emit("connection", socket);
    const connection = this.#connections.get(socket);
    return {
      hasBegun: () => connection?.hasBegun === true,
      finish: () => this.#connections.get(socket)?.finish(),
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
    for (const connection of this.#http2) connection.finish();
  }

  async close(): Promise<void> {
    if (!this.#draining) this.stopAccepting();
    await this.#options.registry.closeAll({ by: "reason", reason: "draining" });
    const closed = new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
    });
    for (const socket of this.#connections.keys()) socket.destroy();
    for (const { socket } of this.#http2) socket.destroy();
    for (const socket of this.#turnedAway) socket.destroy();
    await closed;
  }

  #connected(socket: Socket): void {
    const via = this.#vias.get(socket);
    if (via !== undefined) {
      this.#admit(socket, via);
      return;
    }
    const elsewhere = this.#options.connectionsElsewhere?.(this) ?? 0;
    const isFull = this.#connections.size + elsewhere >= this.#options.connectionsMax;
    if (isFull && !this.#evictIdle()) {
      this.#turnAway(socket);
      return;
    }
    this.#admit(socket, undefined);
  }

  #admit(socket: Socket, via: Via | undefined): void {
    this.#connectionNo++;
    const connection = new ClientConnection(this.#host, socket, String(this.#connectionNo), via);
    this.#connections.set(socket, connection);
    socket.on("close", () => {
      this.#connections.delete(socket);
      connection.closed();
    });
  }

  #requested(request: IncomingMessage, response: ClientResponse, expectsContinue: boolean): void {
    this.#connections.get(request.socket)?.accept(request, response, expectsContinue);
  }

  /** What asks for anything else is an ordinary request, which the head rules refuse for it. */
  #mayUpgrade(request: IncomingMessage): boolean {
    const { method, headers, socket } = request;
    const connection = this.#connections.get(socket);
    const isKnown = method === "GET" && headers.upgrade?.toLowerCase() === "websocket";
    if (isKnown && this.#host.door === "gateway" && connection !== undefined) return true;
    connection?.staysPlain(request);
    return false;
  }

  #asked(request: IncomingMessage, first: Buffer): void {
    const { method, url: target = "", socket, rawHeaders, httpVersion } = request;
    const { onTunnel, limits, clock } = this.#options;
    const connection = this.#connections.get(socket);
    if (connection === undefined) return;
    if (onTunnel === undefined || connection.via !== undefined) {
      connection.refuseUnparsed({ reason: "method_not_allowed" }, { method, target });
      return;
    }
    const asked = readConnect({ httpVersion, target, rawHeaders }, limits);
    if (isViolation(asked)) {
      connection.refuseUnparsed(asked, { method, target });
      return;
    }
    if (!connection.becomesTunnel()) return;
    const tunnel = new TunnelExchange(this.#host, {
      requestId: uuidV7(clock.nowMs(), this.#host.random),
      door: this.#host.door,
      head: { method: "CONNECT", target, rawHeaders, peer: connection.peer },
      headAtNs: clock.monoNs(),
      target: asked,
      socket,
      first,
      original: undefined,
    });
    onTunnel(tunnel).catch((error) => {
      this.#options.onFault(error);
      tunnel.reset();
    });
  }

  #inputFailed(error: NodeJS.ErrnoException, socket: Socket): void {
    const connection = this.#connections.get(socket);
    const reason = reasonOfInput(error.code ?? "");
    if (reason === undefined) socket.destroy();
    else connection?.inputFailed(reason);
  }

  /**
   * Makes room by closing the connection that has been without a request for longest, unless even
   * that one may just not have been read yet.
   */
  #evictIdle(): boolean {
    const { clock, limits } = this.#options;
    const idleBeforeNs = clock.monoNs() - BigInt(limits.idleEvictableMs) * 1_000_000n;
    for (const connection of this.#idle) {
      if (connection.idleSinceNs > idleBeforeNs) return false;
      this.#idle.delete(connection);
      this.#connections.delete(connection.socket);
      connection.socket.destroy();
      return true;
    }
    return false;
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

/** Everything that two readers could read in two ways is an error, and every wait has an end. */
function createStrictServer(
  limits: GatewayLimits,
  shouldUpgradeCallback: (request: IncomingMessage) => boolean,
) {
  const server = http.createServer({
    IncomingMessage: ClientRequest,
    ServerResponse: ClientResponse,
    insecureHTTPParser: false,
    maxHeaderSize: limits.headBytesMax,
    headersTimeout: limits.headTimeoutMs,
    connectionsCheckingInterval: limits.headSweepMs,
    keepAliveTimeout: limits.keepAliveTimeoutMs,
    // Each read of a body has its own timeout; an answer may take as long as its policy says.
    requestTimeout: 0,
    // Checked by the head rules, whose refusal says why; node's own would be a bare 400.
    requireHostHeader: false,
    optimizeEmptyRequests: true,
    shouldUpgradeCallback,
    noDelay: true,
  });
  // Node drops headers above its own count in silence; the head rules count them and refuse.
  server.maxHeadersCount = 0;
  return server;
}

/** What a fault of the parser is called; `undefined` when the socket itself failed. */
function reasonOfInput(code: string): Reason | undefined {
  if (code === "HPE_HEADER_OVERFLOW") return "head_too_large";
  if (code === "ERR_HTTP_REQUEST_TIMEOUT") return "body_too_slow";
  // A client that ends its side within a request has given it up.
  if (code === "HPE_INVALID_EOF_STATE") return undefined;
  return code.startsWith("HPE_") ? "malformed_http" : undefined;
}
