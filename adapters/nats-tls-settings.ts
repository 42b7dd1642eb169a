import type { NatsBusOptions } from "./nats-connection.ts";
import { path, type SettingTable } from "./settings.ts";

/** Settings of TLS to the NATS server, of node and coordinator alike. */
export const NATS_TLS_SETTINGS = {
  natsCaFile: {
    env: "ALTRACE_NATS_CA",
    byDefault: undefined,
    read: path,
    help: "PEM of the authority that signs the NATS server's certificate; with it there is no way but TLS",
  },
  natsCertificateFile: {
    env: "ALTRACE_NATS_CERT",
    byDefault: undefined,
    read: path,
    help: "PEM certificate that is shown to a NATS server that asks for one",
  },
  natsKeyFile: {
    env: "ALTRACE_NATS_KEY",
    byDefault: undefined,
    read: path,
    help: "PEM private key of that certificate, mode 0600",
  },
} as const satisfies SettingTable;

/** Files by which the NATS server is known and this process makes itself known, read at every attempt. */
export type NatsTls = NonNullable<NatsBusOptions["tls"]>;

/** @returns Undefined where no file is given. An error is added for a certificate without its key. */
export function readNatsTls(
  values: { readonly [Name in keyof typeof NATS_TLS_SETTINGS]: string | undefined },
  errors: string[],
): NatsTls | undefined {
  const { natsCaFile: caFile, natsCertificateFile: certFile, natsKeyFile: keyFile } = values;
  if ((certFile === undefined) !== (keyFile === undefined)) {
    errors.push("ALTRACE_NATS_CERT, ALTRACE_NATS_KEY: give both or none");
  }
  if (caFile === undefined && certFile === undefined) return undefined;
  return {
    ...(caFile !== undefined && { caFile }),
    ...(certFile !== undefined && { certFile }),
    ...(keyFile !== undefined && { keyFile }),
  };
}
