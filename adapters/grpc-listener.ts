import type {
  Http2SecureServer,
  Http2Server,
  IncomingHttpHeaders,
  ServerHttp2Session,
  ServerHttp2Stream,
} from "node:http2";
import type { AddressInfo, Server as NetServer, Socket } from "node:net";
import { http2 } from "../ports/http2-module.ts";
import { callerGate, type OnDenied } from "./grpc-caller.ts";
import type { RevokedCertificates } from "./grpc-revoked.ts";
import { ServedCall, unimplemented } from "./grpc-served-call.ts";
import { listenOnTcp, listenOnUnixSocket } from "./grpc-socket.ts";

export type GrpcListen =
  /** Directory 0700 and socket 0600: whoever can open it is the same user. */
  | { readonly kind: "unix"; readonly path: string }
  /**
   * A client certificate signed by `clientCaPem` is required, and in it a role of the mesh that may make the
   * call: `proto/call-roles.ts`.
   */
  | {
      readonly kind: "tls";
      readonly host: string;
      /** 0 lets the system choose; `port` of the listener says which. */
      readonly port: number;
      readonly certificatePem: string;
      readonly keyPem: string;
      readonly clientCaPem: string;
      readonly mesh: string;
    };

/** Begins to serve one call. It reads the request, and ends the call. */
export type ServeCall = (call: ServedCall) => void;

export type GrpcListenerOptions = {
  /** By path, as HTTP/2 carries it. */
  readonly methods: ReadonlyMap<string, ServeCall>;
  /** Calls at once on one connection. */
  readonly streamsMax: number;
  /** Connections at once; further ones are closed unread. */
  readonly connectionsMax: number;
  readonly onDenied: OnDenied;
  readonly revoked: RevokedCertificates | undefined;
};

const KEEPALIVE_EVERY_MS = 30_000;
/** A caller that has not answered by then is gone, however its connection looks. */
const KEEPALIVE_WAIT_MS = 10_000;
/** Megabytes of one connection's open calls; what one of them may hold is bounded where it is read and answered. */
const SESSION_MEMORY_MB = 1_024;

/** One address at which calls are served over HTTP/2. */
export class GrpcListener {
  readonly #net: NetServer;
  readonly #connections: Connections;

  private constructor(net: NetServer, connections: Connections) {
    this.#net = net;
    this.#connections = connections;
  }

  /** @throws SocketFault, InstanceFault The address could not be bound, or must not be. */
  static async open(listen: GrpcListen, options: GrpcListenerOptions): Promise<GrpcListener> {
    const server = httpServerOf(listen, options);
    const connections = new Connections();
    server.on("session", (session) => connections.began(session));
    const gate = gateOf(listen, options);
    server.on("stream", (stream, headers) => serve(stream, headers, options.methods, gate));
    // It never listens itself: the socket's mode and its limits are ours.
    const inject = (socket: Socket): void => {
      connections.opened(socket);
      server.emit("connection", socket);
    };
    const net =
      listen.kind === "unix"
        ? await listenOnUnixSocket(listen.path, options.connectionsMax, inject)
        : await listenOnTcp(listen, options.connectionsMax, inject);
    return new GrpcListener(net, connections);
  }

  /** Of a TCP address. */
  get port(): number {
    return (this.#net.address() as AddressInfo).port;
  }

  /** Accepts no more, lets open calls finish for `graceMs`, then ends them. */
  async close(graceMs: number): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#net.close(() => resolve()));
    this.#connections.close();
    const force = setTimeout(() => this.#connections.destroy(), graceMs);
    await closed;
    clearTimeout(force);
  }
}

class Connections {
  readonly #sockets = new Set<Socket>();
  readonly #sessions = new Set<ServerHttp2Session>();
  #isClosing = false;

  opened(socket: Socket): void {
    this.#sockets.add(socket);
    socket.once("close", () => this.#sockets.delete(socket));
  }

  began(session: ServerHttp2Session): void {
    this.#sessions.add(session);
    session.once("close", () => this.#sessions.delete(session));
    keepAlive(session);
    if (this.#isClosing) session.close();
  }

  /** Tells every caller to go once its calls are done. */
  close(): void {
    this.#isClosing = true;
    for (const session of this.#sessions) session.close();
  }

  destroy(): void {
    for (const session of this.#sessions) session.destroy();
    // Those too that have said nothing so far.
    for (const socket of this.#sockets) socket.destroy();
  }
}

type Gate = ReturnType<typeof callerGate>;

/** What is behind TLS asks for a role by its making; no call has to be told apart from those of a unix socket. */
function gateOf(listen: GrpcListen, { revoked, onDenied }: GrpcListenerOptions): Gate | undefined {
  return listen.kind === "unix" ? undefined : callerGate({ mesh: listen.mesh, onDenied, revoked });
}

function serve(
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  methods: ReadonlyMap<string, ServeCall>,
  gate: Gate | undefined,
): void {
  const call = new ServedCall(stream, headers);
  if (!isGrpcCall(headers)) {
    call.refuseHttp(415);
    return;
  }
  const method = methods.get(call.path);
  if (method === undefined) {
    call.end(unimplemented("There is no such method here."));
    return;
  }
  const objection = gate?.(call);
  if (objection === undefined) method(call);
  else call.end(objection);
}

function isGrpcCall(headers: IncomingHttpHeaders): boolean {
  const type = headers["content-type"];
  return headers[":method"] === "POST" && type?.startsWith("application/grpc") === true;
}

function httpServerOf(
  listen: GrpcListen,
  { streamsMax }: GrpcListenerOptions,
): Http2Server | Http2SecureServer {
  const common = {
    settings: { maxConcurrentStreams: streamsMax },
    maxSessionMemory: SESSION_MEMORY_MB,
  };
  if (listen.kind === "unix") return http2().createServer(common);
  const server = http2().createSecureServer({
    ...common,
    cert: listen.certificatePem,
    key: listen.keyPem,
    ca: listen.clientCaPem,
    requestCert: true,
    rejectUnauthorized: true,
  });
  // Its session ends by the same error.
  server.on("secureConnection", (socket) => socket.on("error", () => undefined));
  return server;
}

function keepAlive(session: ServerHttp2Session): void {
  let late: NodeJS.Timeout | undefined;
  const ping = setInterval(() => {
    if (session.destroyed || late !== undefined) return;
    late = setTimeout(() => session.destroy(), KEEPALIVE_WAIT_MS).unref();
    session.ping(() => {
      clearTimeout(late);
      late = undefined;
    });
  }, KEEPALIVE_EVERY_MS).unref();
  session.once("close", () => {
    clearInterval(ping);
    clearTimeout(late);
  });
}
