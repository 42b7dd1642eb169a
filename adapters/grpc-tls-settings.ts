import { type DoorFiles, readCertificates, renewedFiles } from "./grpc-certificates.ts";
import type { GrpcListen } from "./grpc-server.ts";
import { address, path, type SettingTable } from "./settings.ts";

/** Settings of gRPC over TLS, of node and coordinator alike. */
export const GRPC_TLS_SETTINGS = {
  grpcHost: {
    env: "ALTRACE_GRPC_HOST",
    byDefault: "127.0.0.1",
    read: address,
    help: "address of gRPC over TLS, which is on when its three files are given",
  },
  grpcCertificateFile: {
    env: "ALTRACE_GRPC_CERT",
    byDefault: undefined,
    read: path,
    help: "PEM certificate chain of this process, as `altrace certificate server` makes it",
  },
  grpcKeyFile: {
    env: "ALTRACE_GRPC_KEY",
    byDefault: undefined,
    read: path,
    help: "PEM private key of that certificate, mode 0600",
  },
  grpcClientCaFile: {
    env: "ALTRACE_GRPC_CLIENT_CA",
    byDefault: undefined,
    read: path,
    help: "PEM certificate of the authority that signs operators' certificates and their roles",
  },
} as const satisfies SettingTable;

/** Where gRPC over TLS listens, and by which files. */
export type GrpcTlsConfig = DoorFiles & {
  readonly host: string;
  readonly port: number;
};

/** @returns Undefined where none of the files is given. An error is added where only some are. */
export function readGrpcTls(
  values: { readonly [Name in keyof typeof GRPC_TLS_SETTINGS]: string | undefined },
  port: number,
  errors: string[],
): GrpcTlsConfig | undefined {
  const { grpcCertificateFile, grpcKeyFile, grpcClientCaFile, grpcHost } = values;
  const files = [grpcCertificateFile, grpcKeyFile, grpcClientCaFile];
  if (files.every((file) => file === undefined)) return undefined;
  if (!grpcCertificateFile || !grpcKeyFile || !grpcClientCaFile) {
    errors.push("ALTRACE_GRPC_CERT, ALTRACE_GRPC_KEY, ALTRACE_GRPC_CLIENT_CA: give all or none");
    return undefined;
  }
  return {
    host: grpcHost ?? "127.0.0.1",
    port,
    certificateFile: grpcCertificateFile,
    keyFile: grpcKeyFile,
    clientCaFile: grpcClientCaFile,
  };
}

/** What to listen on; files that are renewed count from the next connection on. @throws The system's error for a file that cannot be read. */
export function grpcTlsListen(config: GrpcTlsConfig | undefined, mesh: string): GrpcListen[] {
  if (config === undefined) return [];
  const { host, port } = config;
  // Stamped before they are read: what changes between the two is read once more.
  const renewed = renewedFiles(config);
  return [{ kind: "tls", host, port, ...readCertificates(config), renewed, mesh }];
}
