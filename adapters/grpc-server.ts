import { once } from "node:events";
import type { AddressInfo, Server as NetServer, Socket } from "node:net";
import {
  create,
  type DescMethod,
  fromBinary,
  type MessageInitShape,
  toBinary,
} from "@bufbuild/protobuf";
import {
  type handleServerStreamingCall,
  type handleUnaryCall,
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type UntypedServiceImplementation,
} from "@grpc/grpc-js";
import { type CallerOf, callerBy, type OnDenied, roleGate } from "./grpc-caller.ts";
import { type DoorCertificates, DoorCredentials } from "./grpc-certificates.ts";
import { EncodedMessage } from "./grpc-encoded-message.ts";
import { RpcError, type RpcErrorFields } from "./grpc-error.ts";
import { addIntrospection, type SetServing } from "./grpc-introspection.ts";
import {
  asBuffer,
  byteMethod,
  type InputOf,
  type OutputInitOf,
  type ServiceDescriptor,
} from "./grpc-method.ts";
import { CallerConnections, type RevokedCertificates } from "./grpc-revoked.ts";
import { listenOnTcp, listenOnUnixSocket } from "./grpc-socket.ts";
import { statusObjectOf } from "./grpc-status.ts";

/** What a handler knows of its call. */
export type CallContext = {
  /** Aborts when the caller goes away, cancels, or its deadline passes. */
  readonly signal: AbortSignal;
  /** Wall clock, ms since the Unix epoch; `undefined` when the caller set none. */
  readonly deadlineAtMs: number | undefined;
  /** Address of the caller, for logs. */
  readonly peer: string;
  /** The caller by its verified certificate; `undefined` on a unix socket. */
  readonly caller: CallerOf | undefined;
};

/** A handler for each method of a service. It throws RpcError to refuse; anything else is a bug. */
export type Handlers<S extends ServiceDescriptor> = {
  readonly [K in keyof S["method"]]: S["method"][K] extends { methodKind: "server_streaming" }
    ? (
        request: InputOf<S["method"][K]>,
        context: CallContext,
      ) => AsyncIterable<OutputInitOf<S["method"][K]> | EncodedMessage>
    : (
        request: InputOf<S["method"][K]>,
        context: CallContext,
      ) => Promise<OutputInitOf<S["method"][K]> | EncodedMessage>;
};

export type ServedService = {
  readonly descriptor: ServiceDescriptor;
  readonly handlers: Record<string, unknown>;
};

/** Pairs a descriptor with its handlers; the compiler checks that they fit. */
export function served<S extends ServiceDescriptor>(
  descriptor: S,
  handlers: Handlers<S>,
): ServedService {
  return { descriptor, handlers };
}

export type GrpcListen =
  /** Directory 0700 and socket 0600: whoever can open it is the same user. */
  | { readonly kind: "unix"; readonly path: string }
  /**
   * A client certificate signed by `clientCaPem` is required, and in it a role of the mesh that may make the
   * call: `proto/call-roles.ts`.
   */
  | (DoorCertificates & {
      readonly kind: "tls";
      readonly host: string;
      /** 0 lets the system choose; `ports` of the answer says which. */
      readonly port: number;
      /** Asked at each connection and each call for certificates that take the place of these. */
      readonly renewed?: () => DoorCertificates | undefined;
      readonly mesh: string;
    });

export type GrpcServerOptions = {
  readonly services: readonly ServedService[];
  readonly listen: readonly GrpcListen[];
  /** Bytes of one request message; larger is RESOURCE_EXHAUSTED. */
  readonly requestBytesMax: number;
  /** Calls at once on one connection. */
  readonly streamsMax: number;
  /** Connections at once on each address; further ones are closed unread. */
  readonly connectionsMax: number;
  /** What a handler's error means to its caller; `undefined` for one that it should not have thrown. */
  readonly refusalOf?: (error: unknown) => RpcErrorFields | undefined;
  /** Told of a call over TLS whose caller may not make it. */
  readonly onDenied?: OnDenied;
  /** Certificates that count no more; connections of one that is added are closed. */
  readonly revoked?: RevokedCertificates;
  /** Certificates were renewed, or could not be: then those before are shown on. */
  readonly onRenewed?: (error?: unknown) => void;
  /** Called with what a handler threw that is no refusal: a bug, answered INTERNAL. */
  readonly onBug: (error: unknown, method: string) => void;
};

export type GrpcServer = {
  /** Ports of the TLS listeners, in the order they were asked for. */
  readonly ports: readonly number[];
  /** For health checks. All services begin as not serving. */
  readonly setServing: SetServing;
  /** Stops accepting, lets calls finish for `graceMs`, then ends them. */
  close(graceMs: number): Promise<void>;
};

/**
 * Serves protobuf-es services over gRPC, with health and reflection.
 *
 * @throws SocketFault An address could not be bound, or must not be.
 */
export async function serveGrpc(options: GrpcServerOptions): Promise<GrpcServer> {
  const open: Listening[] = [];
  try {
    for (const listen of options.listen) open.push(await listenOn(listen, options));
  } catch (error) {
    for (const { socket, server } of open) {
      socket.close();
      server.forceShutdown();
    }
    throw error;
  }
  const tls = open.filter(({ kind }) => kind === "tls");
  return {
    ports: tls.map(({ socket }) => (socket.address() as AddressInfo).port),
    setServing: (service, serving) => {
      for (const one of open) one.setServing(service, serving);
    },
    close: async (graceMs) => {
      await Promise.all(open.map((one) => closeServer(one, graceMs)));
    },
  };
}

type Listening = {
  readonly kind: GrpcListen["kind"];
  readonly socket: NetServer;
  readonly server: Server;
  readonly setServing: SetServing;
};

/**
 * A server for each address. So what is behind TLS asks for a role by its making, and no call has to be
 * told apart from those of a unix socket.
 */
async function listenOn(listen: GrpcListen, options: GrpcServerOptions): Promise<Listening> {
  const { requestBytesMax, streamsMax, revoked, onDenied = () => undefined } = options;
  const connections = new CallerConnections();
  const mesh = listen.kind === "tls" ? listen.mesh : undefined;
  const onOtherAuthority = () => connections.closeAll();
  const { onRenewed } = options;
  const credentials =
    listen.kind === "tls"
      ? new DoorCredentials(listen, { onOtherAuthority, onRenewed })
      : ServerCredentials.createInsecure();
  const server = new Server({
    "grpc.max_receive_message_length": requestBytesMax,
    "grpc.max_concurrent_streams": streamsMax,
    "grpc.keepalive_time_ms": 30_000,
    "grpc.keepalive_timeout_ms": 10_000,
    ...(credentials instanceof DoorCredentials &&
      mesh !== undefined && {
        interceptors: [
          roleGate({ mesh, onDenied, revoked, connections, look: () => credentials.look() }),
        ],
      }),
  });
  for (const service of options.services) addService(server, service, { ...options, mesh });
  const setServing = addIntrospection(
    server,
    options.services.map((service) => service.descriptor),
  );
  const socket = await bind(server, listen, options.connectionsMax, { connections, credentials });
  // Of one that was not opened nothing stays: whoever asked may try again, every second.
  revoked?.onAdded((fingerprint) => connections.close(fingerprint));
  return { kind: listen.kind, socket, server, setServing };
}

/**
 * We own the listening sockets, so that their modes and limits are ours and so that closing can wait
 * for connections: grpc-js's own shutdown does not, since Node's HTTP/2 server closes its sessions.
 */
async function bind(
  server: Server,
  listen: GrpcListen,
  connectionsMax: number,
  of: { readonly connections: CallerConnections; readonly credentials: ServerCredentials },
): Promise<NetServer> {
  try {
    const { connections, credentials } = of;
    const injector = server.createConnectionInjector(credentials);
    if (listen.kind === "unix") {
      const inject = (socket: Socket) => injector.injectConnection(socket);
      return await listenOnUnixSocket(listen.path, connectionsMax, inject);
    }
    const { host, port } = listen;
    return await listenOnTcp({ host, port }, connectionsMax, (socket) => {
      if (credentials instanceof DoorCredentials) credentials.look();
      connections.opened(socket);
      injector.injectConnection(socket);
    });
  } catch (error) {
    // Known to grpc-js from its making on.
    server.forceShutdown();
    throw error;
  }
}

async function closeServer({ server, socket }: Listening, graceMs: number): Promise<void> {
  const closed = new Promise<void>((resolve) => socket.close(() => resolve()));
  // Tells every client to go once its calls are done; its connection then closes by itself.
  server.tryShutdown(() => undefined);
  const force = setTimeout(() => server.forceShutdown(), graceMs);
  await closed;
  clearTimeout(force);
}

function addService(server: Server, service: ServedService, errors: OnError): void {
  const definition: Record<string, ReturnType<typeof byteMethod>> = {};
  const implementation: UntypedServiceImplementation = {};
  for (const method of service.descriptor.methods) {
    const handler = service.handlers[method.localName];
    definition[method.localName] = byteMethod(method);
    implementation[method.localName] =
      method.methodKind === "server_streaming"
        ? streamingHandler(method, handler as AnyStreaming, errors)
        : unaryHandler(method, handler as AnyUnary, errors);
  }
  server.addService(definition, implementation);
}

type OnError = Pick<GrpcServerOptions, "refusalOf" | "onBug"> & {
  /** Undefined: a unix socket, whose callers are of this process's user. */
  readonly mesh: string | undefined;
};

/** What calls of every kind can tell about themselves. */
type ServerSurfaceCall = Omit<ServerUnaryCall<Buffer, Buffer>, "request">;

type AnyAnswer = MessageInitShape<DescMethod["output"]> | EncodedMessage;
type AnyUnary = (request: unknown, context: CallContext) => Promise<AnyAnswer>;
type AnyStreaming = (request: unknown, context: CallContext) => AsyncIterable<AnyAnswer>;

function unaryHandler(
  method: DescMethod,
  handler: AnyUnary,
  errors: OnError,
): handleUnaryCall<Buffer, Buffer> {
  return (call, callback) => {
    const context = contextOf(call, errors.mesh);
    const answer = async (): Promise<Buffer> =>
      encode(method, await handler(decode(method, call.request), context));
    answer().then(
      (bytes) => callback(null, bytes),
      (error: unknown) => callback(statusObjectOf(asRpcError(error, method, context, errors))),
    );
  };
}

function streamingHandler(
  method: DescMethod,
  handler: AnyStreaming,
  errors: OnError,
): handleServerStreamingCall<Buffer, Buffer> {
  return (call) => {
    const context = contextOf(call, errors.mesh);
    const pump = async (): Promise<void> => {
      for await (const message of handler(decode(method, call.request), context)) {
        if (context.signal.aborted) return;
        // A slow reader holds the handler back; a gone one ends it.
        if (!call.write(encode(method, message))) {
          await once(call, "drain", { signal: context.signal });
        }
      }
    };
    pump().then(
      () => call.end(),
      // grpc-js takes the status of a stream from its error event.
      (error: unknown) => {
        if (!context.signal.aborted) {
          call.emit("error", statusObjectOf(asRpcError(error, method, context, errors)));
        }
      },
    );
  };
}

/** Each call ends with it, the answered ones too; by default a new exception is made with its stack. */
const GONE = new DOMException("the call has ended", "AbortError");

function contextOf(call: ServerSurfaceCall, mesh: string | undefined): CallContext {
  const controller = new AbortController();
  call.once("cancelled", () => controller.abort(GONE));
  const deadline = call.getDeadline();
  const deadlineAtMs = typeof deadline === "number" ? deadline : deadline.getTime();
  const certificate = mesh === undefined ? undefined : call.getAuthContext().sslPeerCertificate;
  return {
    signal: controller.signal,
    deadlineAtMs: Number.isFinite(deadlineAtMs) ? deadlineAtMs : undefined,
    peer: call.getPeer(),
    caller: callerBy(certificate, mesh ?? ""),
  };
}

function decode(method: DescMethod, bytes: Buffer): unknown {
  try {
    return fromBinary(method.input, bytes);
  } catch (cause) {
    throw new RpcError(
      {
        code: "INVALID_ARGUMENT",
        reason: "malformed_message",
        message: `The request is not a ${method.input.typeName}.`,
      },
      { cause },
    );
  }
}

function encode(method: DescMethod, message: AnyAnswer): Buffer {
  if (message instanceof EncodedMessage) return asBuffer(message.bytes);
  return asBuffer(toBinary(method.output, create(method.output, message)));
}

function asRpcError(
  error: unknown,
  method: DescMethod,
  context: CallContext,
  errors: OnError,
): RpcError {
  if (error instanceof RpcError) return error;
  const refusal = errors.refusalOf?.(error);
  if (refusal) return new RpcError(refusal, { cause: error });
  if (context.signal.aborted) {
    return new RpcError({
      code: "CANCELLED",
      reason: "cancelled",
      message: "The caller has gone.",
    });
  }
  errors.onBug(error, `${method.parent.typeName}/${method.name}`);
  // What went wrong inside is for the log: its text may hold what the caller must not see.
  return new RpcError({
    code: "INTERNAL",
    reason: "internal",
    message: "The call failed for a reason inside the server; its log says which.",
  });
}
