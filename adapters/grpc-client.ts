import { create, type DescMethod, fromBinary, type Message, toBinary } from "@bufbuild/protobuf";
import { type CallOptions, callMethod } from "./grpc-call.ts";
import { GrpcConnection, type GrpcTarget } from "./grpc-connection.ts";
import { RpcError } from "./grpc-error.ts";
import { type InputInitOf, type OutputOf, pathOf, type ServiceDescriptor } from "./grpc-method.ts";

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
  const connection = new GrpcConnection(target);
  const calls: Record<string, unknown> = {};
  for (const method of descriptor.methods) {
    const call = (request: Init, options: CallOptions = {}) =>
      answersOf(connection, method, request, options);
    calls[method.localName] =
      method.methodKind === "server_streaming"
        ? call
        : (request: Init, options?: CallOptions) => onlyOne(call(request, options), method);
  }
  return { calls: calls as Calls<S>, close: () => connection.close() };
}

async function* answersOf(
  connection: GrpcConnection,
  method: DescMethod,
  request: Init,
  options: CallOptions,
): AsyncGenerator<Message, void> {
  const bytes = toBinary(method.input, create(method.input, request));
  for await (const answer of callMethod(connection, pathOf(method), bytes, options)) {
    yield decoded(method, answer);
  }
}

/** @throws RpcError It is not the message that the method answers with. */
function decoded({ name, output }: DescMethod, answer: Uint8Array): Message {
  try {
    return fromBinary(output, answer);
  } catch (cause) {
    const message = `${name} was answered with something that is no ${output.name}.`;
    throw new RpcError({ code: "INTERNAL", reason: "malformed_message", message }, { cause });
  }
}

/** @throws RpcError Also where there is none, or a second one. */
async function onlyOne(answers: AsyncIterable<Message>, { name }: DescMethod): Promise<Message> {
  const all: Message[] = [];
  for await (const answer of answers) all.push(answer);
  const [only] = all;
  if (only !== undefined && all.length === 1) return only;
  const message = `${name} was answered with ${all.length} messages.`;
  throw new RpcError({ code: "INTERNAL", reason: "internal", message });
}
