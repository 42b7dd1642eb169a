import type { DescMethod, DescService, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import type { MethodDefinition } from "@grpc/grpc-js";

/** A generated service descriptor, as far as the bridge needs it. */
export type ServiceDescriptor = DescService & { readonly method: Record<string, DescMethod> };

/** What a method takes and gives, from its descriptor. */
export type InputOf<M> = M extends { input: infer I extends DescMethod["input"] }
  ? MessageShape<I>
  : never;
export type InputInitOf<M> = M extends { input: infer I extends DescMethod["input"] }
  ? MessageInitShape<I>
  : never;
export type OutputOf<M> = M extends { output: infer O extends DescMethod["output"] }
  ? MessageShape<O>
  : never;
export type OutputInitOf<M> = M extends { output: infer O extends DescMethod["output"] }
  ? MessageInitShape<O>
  : never;

/** A path as HTTP/2 carries it: `/altrace.v1.CoordinatorService/Kill`. */
export function pathOf(method: DescMethod): string {
  return `/${method.parent.typeName}/${method.name}`;
}

/**
 * A method for grpc-js that moves bytes only. Messages are decoded by us, so that a malformed one is
 * the caller's `INVALID_ARGUMENT` and not an internal error.
 */
export function byteMethod(method: DescMethod): MethodDefinition<Buffer, Buffer> {
  const identity = (bytes: Buffer): Buffer => bytes;
  return {
    path: pathOf(method),
    originalName: method.localName,
    requestStream: false,
    responseStream: method.methodKind === "server_streaming",
    requestSerialize: identity,
    requestDeserialize: identity,
    responseSerialize: identity,
    responseDeserialize: identity,
  };
}

/** The same bytes as the Buffer that grpc-js wants; nothing is copied. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
