import { join } from "node:path";
import {
  ChannelCredentials,
  makeGenericClientConstructor,
  type ServiceDefinition,
} from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { service as healthService } from "grpc-health-check";

const REFLECTION_PROTO = join(
  import.meta.dirname,
  "../../node_modules/@grpc/reflection/build/proto/grpc/reflection/v1/reflection.proto",
);

/** What the health service at an address says of a service, as any health checker hears it. */
export async function healthOf(address: string, service: string): Promise<string> {
  const Health = makeGenericClientConstructor(healthService, "Health");
  const client = new Health(address, ChannelCredentials.createInsecure());
  try {
    return await new Promise((resolve, reject) => {
      client.check?.({ service }, (error: Error | null, answer: { readonly status: string }) => {
        if (error === null) resolve(answer.status);
        else reject(error);
      });
    });
  } finally {
    client.close();
  }
}

/** The services that a stranger finds at an address through server reflection. */
export async function servicesOf(address: string): Promise<readonly string[]> {
  const definition = loadSync(REFLECTION_PROTO)["grpc.reflection.v1.ServerReflection"];
  const Reflection = makeGenericClientConstructor(definition as ServiceDefinition, "Reflection");
  const client = new Reflection(address, ChannelCredentials.createInsecure());
  try {
    const call = client.serverReflectionInfo?.();
    call.end({ listServices: "*" });
    // To the end of the call: closing a client under an open one raises an error that nobody hears.
    const [answer] = (await call.toArray()) as [Listed];
    return answer.listServicesResponse.service.map(({ name }) => name);
  } finally {
    client.close();
  }
}

type Listed = {
  readonly listServicesResponse: { readonly service: readonly { readonly name: string }[] };
};
