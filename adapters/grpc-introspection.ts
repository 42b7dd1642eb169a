import { type DescFile, toBinary } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import type { Server } from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { ReflectionService } from "@grpc/reflection";
import { HealthImplementation, protoPath as healthProtoPath } from "grpc-health-check";
import type { ServiceDescriptor } from "./grpc-method.ts";
import { asBuffer } from "./grpc-method.ts";

/** Says whether a service can answer now; `""` is the server as a whole. */
export type SetServing = (service: string, serving: boolean) => void;

/**
 * Adds what lets a stranger find its way: `grpc.health.v1.Health` and server reflection (v1 and
 * v1alpha), so that grpcurl works without our .proto files.
 *
 * @see https://github.com/grpc/grpc/blob/master/doc/health-checking.md
 * @see https://github.com/grpc/grpc/blob/master/doc/server-reflection.md
 */
export function addIntrospection(
  server: Server,
  services: readonly ServiceDescriptor[],
): SetServing {
  const health = new HealthImplementation({ "": "NOT_SERVING" });
  for (const service of services) health.setStatus(service.typeName, "NOT_SERVING");
  health.addToServer(server);
  const ours = { fileDescriptorProtos: descriptorFiles(services) };
  // The package types want whole message types; the service reads this one member of each.
  const packages = { ours, ...loadSync(healthProtoPath) } as unknown as ConstructorParameters<
    typeof ReflectionService
  >[0];
  new ReflectionService(packages).addToServer(server);
  return (service, serving) => {
    health.setStatus(service, serving ? "SERVING" : "NOT_SERVING");
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
