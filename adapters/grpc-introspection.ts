import { EventEmitter } from "node:events";
import { createRequire } from "node:module";
import { type DescFile, toBinary } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import type {
  MethodDefinition,
  Server,
  ServiceDefinition,
  UntypedServiceImplementation,
} from "@grpc/grpc-js";
import { errorOfStatus, RpcError } from "./grpc-error.ts";
import type { ServeCall } from "./grpc-listener.ts";
import type { ServiceDescriptor } from "./grpc-method.ts";
import type { ServedCall } from "./grpc-served-call.ts";

/** Says whether a service can answer now; `""` is the server as a whole. */
export type SetServing = (service: string, serving: boolean) => void;

type Streams = Pick<Method, "requestStream" | "responseStream">;
type Serving = "SERVING" | "NOT_SERVING";
/** What lets a stranger find its way. */
export type Introspection = {
  /** By path. */
  readonly methods: ReadonlyMap<string, ServeCall>;
  readonly setServing: SetServing;
};
type Method = MethodDefinition<unknown, unknown>;
type Loaded = {
  readonly methods: ReadonlyMap<string, readonly [Method, Handler]>;
  readonly setStatus: (service: string, status: Serving) => void;
};
/** Of a method with one answer `answered` is called; of all others the call itself is told. */
type Handler = (
  call: unknown,
  answered: (error: PackageError | null, answer: unknown) => void,
) => void;
type PackageError = { readonly code: number; readonly details: string };

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
 * `grpc.health.v1.Health` and server reflection (v1 and v1alpha), so that grpcurl works without our .proto files.
 *
 * What answers is loaded with the first call: it brings a second implementation of Protocol Buffers, and of gRPC,
 * 0.3 s of a processor that most starts need not pay.
 *
 * @param bytesMax Of one message of a caller.
 * @see https://github.com/grpc/grpc/blob/master/doc/health-checking.md
 * @see https://github.com/grpc/grpc/blob/master/doc/server-reflection.md
 */
export function introspectionOf(
  services: readonly ServiceDescriptor[],
  bytesMax: number,
): Introspection {
  const statuses = new Map<string, Serving>([["", "NOT_SERVING"]]);
  for (const { typeName } of services) statuses.set(typeName, "NOT_SERVING");
  let loaded: Loaded | undefined;
  const load = (): Loaded => {
    loaded ??= loadIntrospection(services, statuses);
    return loaded;
  };
  const methods = new Map<string, ServeCall>();
  for (const [path, streams] of Object.entries(INTROSPECTION)) {
    methods.set(path, (call) => {
      const asked = () => methodOf(load(), path);
      if (streams.requestStream) converse(call, asked, bytesMax);
      else call.readOne(bytesMax, (bytes) => answer(call, asked, bytes));
    });
  }
  return {
    methods,
    setServing: (service, serving) => {
      const status = serving ? "SERVING" : "NOT_SERVING";
      statuses.set(service, status);
      loaded?.setStatus(service, status);
    },
  };
}

/** A call as the packages' handlers know it: as much of what `@grpc/grpc-js` hands them as they use. */
class PackageCall extends EventEmitter {
  readonly request: unknown;
  readonly #call: ServedCall;
  readonly #method: Method;

  constructor(call: ServedCall, method: Method, request?: unknown) {
    super();
    this.request = request;
    this.#call = call;
    this.#method = method;
    call.signal.addEventListener("abort", () => this.emit("cancelled"), { once: true });
  }

  write(answer: unknown): boolean {
    return this.#call.send(this.#method.responseSerialize(answer));
  }

  end(): void {
    this.#call.end();
  }
}

type Asked = () => readonly [Method, Handler];

/** One message, and what the handler says to it. */
function answer(call: ServedCall, asked: Asked, bytes: Buffer): void {
  guarded(call, () => {
    const [method, handler] = asked();
    const one = new PackageCall(call, method, read(method, bytes));
    handler(one, (error, value) => {
      if (error === null) {
        one.write(value);
        call.end();
      } else {
        const { code, details: message } = error;
        call.end(errorOfStatus({ code, message, details: undefined }));
      }
    });
  });
}

/** Messages one by one, and an answer to each. */
function converse(call: ServedCall, asked: Asked, bytesMax: number): void {
  guarded(call, () => {
    const [method, handler] = asked();
    const conversation = new PackageCall(call, method);
    handler(conversation, () => undefined);
    call.read(bytesMax, {
      message: (bytes) => guarded(call, () => conversation.emit("data", read(method, bytes))),
      end: () => conversation.emit("end"),
    });
  });
}

function read(method: Method, bytes: Buffer): unknown {
  try {
    return method.requestDeserialize(bytes);
  } catch (cause) {
    const message = `The request is none of ${method.path}.`;
    const fields = { code: "INVALID_ARGUMENT", reason: "malformed_message", message } as const;
    throw new RpcError(fields, { cause });
  }
}

/** What the packages throw ends the call and not the process. */
function guarded(call: ServedCall, fn: () => void): void {
  try {
    fn();
  } catch (cause) {
    const message = "The server cannot answer what it serves.";
    const internal = { code: "INTERNAL", reason: "internal", message } as const;
    call.end(cause instanceof RpcError ? cause : new RpcError(internal, { cause }));
  }
}

/** The packages' own services, as they would have added them to a server. */
function loadIntrospection(
  services: readonly ServiceDescriptor[],
  statuses: ReadonlyMap<string, Serving>,
): Loaded {
  // A call is begun in one turn, and so what answers it is loaded in that.
  const require = createRequire(import.meta.url);
  const { HealthImplementation, protoPath } =
    require("grpc-health-check") as typeof import("grpc-health-check");
  const { ReflectionService } = require("@grpc/reflection") as typeof import("@grpc/reflection");
  const { loadSync } = require("@grpc/proto-loader") as typeof import("@grpc/proto-loader");
  const methods = new Map<string, readonly [Method, Handler]>();
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

function methodOf({ methods }: Loaded, path: string): readonly [Method, Handler] {
  const method = methods.get(path);
  if (method === undefined) throw new Error(`the packages serve no ${path}`);
  return method;
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
    Buffer.from(toBinary(FileDescriptorProtoSchema, file.proto)),
  );
}
