import { isIP } from "node:net";
import { checkServerIdentity } from "node:tls";
import { create, type DescMethod, fromBinary, type Message, toBinary } from "@bufbuild/protobuf";
import { ChannelCredentials, Client, Metadata, type ServiceError } from "@grpc/grpc-js";
import { errorOfStatus } from "./grpc-error.ts";
import {
  asBuffer,
  byteMethod,
  type InputInitOf,
  type OutputOf,
  type ServiceDescriptor,
} from "./grpc-method.ts";

export type GrpcTarget =
  | { readonly kind: "unix"; readonly path: string }
  | {
      readonly kind: "tls";
      readonly host: string;
      readonly port: number;
      readonly serverCaPem: string;
      readonly certificatePem: string;
      readonly keyPem: string;
    };

export type CallOptions = {
  /** The server stops work on it then, and the call fails with DEADLINE_EXCEEDED. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
};

/** The service's methods. Each fails with RpcError. */
export type Calls<S extends ServiceDescriptor> = {
  readonly [K in keyof S["method"]]: S["method"][K] extends { methodKind: "server_streaming" }
    ? (
        request: InputInitOf<S["method"][K]>,
        options?: CallOptions,
      ) => AsyncIterable<OutputOf<S["method"][K]>>
    : (
        request: InputInitOf<S["method"][K]>,
        options?: CallOptions,
      ) => Promise<OutputOf<S["method"][K]>>;
};

/** What any message can be made from; the typed surface above has checked it. */
type Init = Record<string, unknown>;

export type GrpcClient<S extends ServiceDescriptor> = {
  readonly calls: Calls<S>;
  close(): void;
};

/** A typed client of one service. It connects at the first call and reconnects by itself. */
export function createGrpcClient<S extends ServiceDescriptor>(
  descriptor: S,
  target: GrpcTarget,
): GrpcClient<S> {
  const client = openClient(target);
  const calls: Record<string, unknown> = {};
  for (const method of descriptor.methods) {
    calls[method.localName] =
      method.methodKind === "server_streaming"
        ? (request: Init, options?: CallOptions) => stream(client, method, request, options)
        : (request: Init, options?: CallOptions) => unary(client, method, request, options);
  }
  return { calls: calls as Calls<S>, close: () => client.close() };
}

const NO_SERVER_NAME = "address.invalid";

function openClient(target: GrpcTarget): Client {
  if (target.kind === "unix") {
    return new Client(`unix:${target.path}`, ChannelCredentials.createInsecure());
  }
  const credentials = ChannelCredentials.createSsl(
    Buffer.from(target.serverCaPem),
    Buffer.from(target.keyPem),
    Buffer.from(target.certificatePem),
    // The name in the certificate is checked against the host that was asked for, not against SNI.
    { checkServerIdentity: (_name, certificate) => checkServerIdentity(target.host, certificate) },
  );
  // An IP address is no server name (RFC 6066), Node throws on one, and grpc-js would send it.
  const options = isIP(target.host) ? { "grpc.ssl_target_name_override": NO_SERVER_NAME } : {};
  const host = isIP(target.host) === 6 ? `[${target.host}]` : target.host;
  return new Client(`${host}:${target.port}`, credentials, options);
}

function deadlineOf(options: CallOptions | undefined): { deadline?: number } {
  return options?.timeoutMs === undefined ? {} : { deadline: Date.now() + options.timeoutMs };
}

function unary(
  client: Client,
  method: DescMethod,
  request: Init,
  options: CallOptions | undefined,
): Promise<Message> {
  const definition = byteMethod(method);
  const bytes = asBuffer(toBinary(method.input, create(method.input, request)));
  return new Promise((resolve, reject) => {
    const call = client.makeUnaryRequest(
      definition.path,
      definition.requestSerialize,
      definition.responseDeserialize,
      bytes,
      new Metadata(),
      deadlineOf(options),
      (error, response) => {
        options?.signal?.removeEventListener("abort", cancel);
        if (error) reject(errorOfStatus(error));
        else resolve(fromBinary(method.output, response as Buffer));
      },
    );
    const cancel = (): void => call.cancel();
    if (options?.signal?.aborted === true) cancel();
    options?.signal?.addEventListener("abort", cancel, { once: true });
  });
}

async function* stream(
  client: Client,
  method: DescMethod,
  request: Init,
  options: CallOptions | undefined,
): AsyncIterable<Message> {
  const definition = byteMethod(method);
  const call = client.makeServerStreamRequest(
    definition.path,
    definition.requestSerialize,
    definition.responseDeserialize,
    asBuffer(toBinary(method.input, create(method.input, request))),
    new Metadata(),
    deadlineOf(options),
  );
  const cancel = (): void => call.cancel();
  if (options?.signal?.aborted === true) cancel();
  options?.signal?.addEventListener("abort", cancel, { once: true });
  // The call reports its own end a second time once we have left; that is no longer anybody's error.
  call.on("error", () => undefined);
  try {
    for await (const bytes of call) yield fromBinary(method.output, bytes as Buffer);
  } catch (error) {
    throw errorOfStatus(error as ServiceError);
  } finally {
    options?.signal?.removeEventListener("abort", cancel);
    cancel();
  }
}
