import {
  create,
  type DescMethod,
  fromBinary,
  type MessageInitShape,
  toBinary,
} from "@bufbuild/protobuf";
import type { CallerOf, OnDenied } from "./grpc-caller.ts";
import { EncodedMessage } from "./grpc-encoded-message.ts";
import { RpcError, type RpcErrorFields } from "./grpc-error.ts";
import { type Introspection, introspectionOf, type SetServing } from "./grpc-introspection.ts";
import { type GrpcListen, GrpcListener, type ServeCall } from "./grpc-listener.ts";
import { type InputOf, type OutputInitOf, pathOf, type ServiceDescriptor } from "./grpc-method.ts";
import type { RevokedCertificates } from "./grpc-revoked.ts";
import type { ServedCall } from "./grpc-served-call.ts";

/** What a handler knows of its call. */
export type CallContext = {
  /** Aborts when the caller goes away, cancels, or its deadline passes. */
  readonly signal: AbortSignal;
  /** Wall clock, ms since the Unix epoch; `undefined` when the caller set none. */
  readonly deadlineAtMs: number | undefined;
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
  const { services, onDenied = () => undefined, revoked, requestBytesMax } = options;
  const introspection = introspectionOf(
    services.map(({ descriptor }) => descriptor),
    requestBytesMax,
  );
  const methods = methodsOf(options, introspection);
  const open: GrpcListener[] = [];
  try {
    for (const listen of options.listen) {
      open.push(await GrpcListener.open(listen, { ...options, methods, onDenied, revoked }));
    }
  } catch (error) {
    await Promise.all(open.map((one) => one.close(0)));
    throw error;
  }
  return {
    ports: open.flatMap((one, i) => (options.listen[i]?.kind === "tls" ? [one.port] : [])),
    setServing: introspection.setServing,
    close: async (graceMs) => {
      await Promise.all(open.map((one) => one.close(graceMs)));
    },
  };
}

function methodsOf(
  options: GrpcServerOptions,
  introspection: Introspection,
): ReadonlyMap<string, ServeCall> {
  const methods = new Map(introspection.methods);
  for (const { descriptor, handlers } of options.services) {
    for (const method of descriptor.methods) {
      const handler = handlers[method.localName];
      methods.set(
        pathOf(method),
        method.methodKind === "server_streaming"
          ? streamingMethod(method, handler as AnyStreaming, options)
          : unaryMethod(method, handler as AnyUnary, options),
      );
    }
  }
  return methods;
}

type MethodOptions = Pick<GrpcServerOptions, "refusalOf" | "onBug" | "requestBytesMax">;
type AnyAnswer = MessageInitShape<DescMethod["output"]> | EncodedMessage;
type AnyUnary = (request: unknown, context: CallContext) => Promise<AnyAnswer>;
type AnyStreaming = (request: unknown, context: CallContext) => AsyncIterable<AnyAnswer>;

function unaryMethod(method: DescMethod, handler: AnyUnary, options: MethodOptions): ServeCall {
  const answer = async (call: ServedCall, request: Buffer): Promise<Uint8Array> =>
    encode(method, await handler(decode(method, request), call));
  return (call) => {
    call.readOne(options.requestBytesMax, (request) => {
      answer(call, request).then(
        (bytes) => {
          call.send(bytes);
          call.end();
        },
        (error: unknown) => call.end(asRpcError(error, method, call, options)),
      );
    });
  };
}

function streamingMethod(
  method: DescMethod,
  handler: AnyStreaming,
  options: MethodOptions,
): ServeCall {
  const pump = async (call: ServedCall, request: Buffer): Promise<void> => {
    for await (const message of handler(decode(method, request), call)) {
      if (call.signal.aborted) return;
      // A slow reader holds the handler back; a gone one ends it.
      if (!call.send(encode(method, message))) await call.drained();
    }
  };
  return (call) => {
    call.readOne(options.requestBytesMax, (request) => {
      pump(call, request).then(
        () => call.end(),
        (error: unknown) => {
          if (!call.signal.aborted) call.end(asRpcError(error, method, call, options));
        },
      );
    });
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

function encode(method: DescMethod, message: AnyAnswer): Uint8Array {
  if (message instanceof EncodedMessage) return message.bytes;
  return toBinary(method.output, create(method.output, message));
}

function asRpcError(
  error: unknown,
  method: DescMethod,
  context: CallContext,
  { refusalOf, onBug }: MethodOptions,
): RpcError {
  if (error instanceof RpcError) return error;
  const refusal = refusalOf?.(error);
  if (refusal) return new RpcError(refusal, { cause: error });
  if (context.signal.aborted) {
    return new RpcError({
      code: "CANCELLED",
      reason: "cancelled",
      message: "The caller has gone.",
    });
  }
  onBug(error, `${method.parent.typeName}/${method.name}`);
  // What went wrong inside is for the log: its text may hold what the caller must not see.
  return new RpcError({
    code: "INTERNAL",
    reason: "internal",
    message: "The call failed for a reason inside the server; its log says which.",
  });
}
