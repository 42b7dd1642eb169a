import type { DescMethod, DescService, MessageInitShape, MessageShape } from "@bufbuild/protobuf";

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
