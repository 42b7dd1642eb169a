import { createRequire } from "node:module";
import { type DescFile, toBinary } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import type {
  MethodDefinition,
  Server,
  ServiceDefinition,
  UntypedHandleCall,
  UntypedServiceImplementation,
} from "@grpc/grpc-js";
import type { ServiceDescriptor } from "./grpc-method.ts";
import { asBuffer } from "./grpc-method.ts";

/** Says whether a service can answer now; `""` is the server as a whole. */
export type SetServing = (service: string, serving: boolean) => void;

type Streams = Pick<MethodDefinition<unknown, unknown>, "requestStream" | "responseStream">;
type Serving = "SERVING" | "NOT_SERVING";
type Introspection = {
  readonly methods: ReadonlyMap<string, readonly [MethodDefinition<unknown, unknown>, Handler]>;
  readonly setStatus: (service: string, status: Serving) => void;
};
type Handler = (...call: unknown[]) => void;

const UNARY: Streams = { requestStream: false, responseStream: false };
const WATCH: Streams = { requestStream: false, responseStream: true };
const CONVERSATION: Streams = { requestStream: true, responseStream: true };
/** What is served, as the packages that answer it describe it: known before they are loaded. */
export const INTROSPECTION: Readonly<Record<string, Streams>> = {
  "/grpc.health.v1.Health/Check": UNARY,
  "/grpc.health.v1.Health/List": UNARY,
  "/grpc.health.v1.Health/Watch": WATCH,
  "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo": CONVERSATION,
  "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": CONVERSATION,
};

/**
 * Adds what lets a stranger find its way: `grpc.health.v1.Health` and server reflection (v1 and
 * v1alpha), so that grpcurl works without our .proto files.
 *
 * What answers is loaded with the first call: it brings a second implementation of Protocol Buffers, 0.25 s
 * of a processor that most starts need not pay.
 *
 * @see https://github.com/grpc/grpc/blob/master/doc/health-checking.md
 * @see https://github.com/grpc/grpc/blob/master/doc/server-reflection.md
 */
export function addIntrospection(
  server: Server,
  services: readonly ServiceDescriptor[],
): SetServing {
  const statuses = new Map<string, Serving>([["", "NOT_SERVING"]]);
  for (const { typeName } of services) statuses.set(typeName, "NOT_SERVING");
  let loaded: Introspection | undefined;
  const load = (): Introspection => {
    loaded ??= loadIntrospection(services, statuses);
    return loaded;
  };
  const definition: Record<string, MethodDefinition<unknown, unknown>> = {};
  const handlers: Record<string, UntypedHandleCall> = {};
  for (const [path, streams] of Object.entries(INTROSPECTION)) {
    const its = () => methodOf(load(), path);
    definition[path] = { path, ...streams, ...codecOf(() => its()[0]) };
    handlers[path] = ((...call: unknown[]) => its()[1](...call)) as UntypedHandleCall;
  }
  server.addService(definition, handlers);
  return (service, serving) => {
    const status = serving ? "SERVING" : "NOT_SERVING";
    statuses.set(service, status);
    loaded?.setStatus(service, status);
  };
}

/** The packages' own services, as they would have added them to a server. */
function loadIntrospection(
  services: readonly ServiceDescriptor[],
  statuses: ReadonlyMap<string, Serving>,
): Introspection {
  // What serializes cannot wait, and so neither can the loading.
  const require = createRequire(import.meta.url);
  const { HealthImplementation, protoPath } =
    require("grpc-health-check") as typeof import("grpc-health-check");
  const { ReflectionService } = require("@grpc/reflection") as typeof import("@grpc/reflection");
  const { loadSync } = require("@grpc/proto-loader") as typeof import("@grpc/proto-loader");
  const methods = new Map<string, readonly [MethodDefinition<unknown, unknown>, Handler]>();
  const added = {
    addService(definition: ServiceDefinition, handlers: UntypedServiceImplementation): void {
      for (const [name, method] of Object.entries(definition)) {
        const handler = handlers[name] ?? handlers[method.originalName ?? ""];
        methods.set(method.path, [method, handler as unknown as Handler]);
      }
    },
  } as Server;
  const health = new HealthImplementation(Object.fromEntries(statuses));
  health.addToServer(added);
  const ours = { fileDescriptorProtos: descriptorFiles(services) };
  // The package types want whole message types; the service reads this one member of each.
  const packages = { ours, ...loadSync(protoPath) } as unknown as ConstructorParameters<
    typeof ReflectionService
  >[0];
  new ReflectionService(packages).addToServer(added);
  return { methods, setStatus: (service, status) => health.setStatus(service, status) };
}

function methodOf({ methods }: Introspection, path: string) {
  const method = methods.get(path);
  if (method === undefined) throw new Error(`the packages serve no ${path}`);
  return method;
}

/** A codec that asks which it is when it is first used. */
function codecOf(method: () => MethodDefinition<unknown, unknown>) {
  return {
    requestSerialize: (value: unknown) => method().requestSerialize(value),
    requestDeserialize: (bytes: Buffer) => method().requestDeserialize(bytes),
    responseSerialize: (value: unknown) => method().responseSerialize(value),
    responseDeserialize: (bytes: Buffer) => method().responseDeserialize(bytes),
  };
}

/** The descriptor files of the services and of everything they import, each once. */
function descriptorFiles(services: readonly ServiceDescriptor[]): Buffer[] {
  const files = new Map<string, DescFile>();
  const visit = (file: DescFile): void => {
    if (files.has(file.name)) return;
    files.set(file.name, file);
    file.dependencies.forEach(visit);
  };
  for (const service of services) visit(service.file);
  return [...files.values()].map((file) =>
    asBuffer(toBinary(FileDescriptorProtoSchema, file.proto)),
  );
}
