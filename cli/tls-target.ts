import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { GrpcTarget } from "../adapters/grpc-connection.ts";
import { readPrivateFile } from "../adapters/private-file.ts";
import { errorMessage } from "../ports/error-message.ts";

/** What lies in an identity's folder, as `altrace certificate` makes it. */
export const IDENTITY_FILES = {
  authority: "ca.pem",
  certificate: "cert.pem",
  key: "key.pem",
} as const;

const ADDRESS = /^tls:\/\/(?:\[([0-9a-fA-F:.]+)\]|([^:/[\]]+)):([0-9]{1,5})$/;

/** Why an address cannot be spoken to, for whoever typed it. */
export type NoTarget = { readonly objection: string };

/**
 * Where a command speaks to.
 *
 * @param address `unix:<path>`, or `tls://<host>:<port>` with an identity.
 * @param identity Folder of certificate, key and the authority of the other side.
 */
export function targetOf(
  flag: string,
  address: string,
  identity: string | undefined,
): GrpcTarget | NoTarget {
  if (address.startsWith("unix:")) return { kind: "unix", path: address.slice("unix:".length) };
  const [, v6, name, port] = ADDRESS.exec(address) ?? [];
  const host = v6 ?? name;
  if (host === undefined || !(Number(port) > 0 && Number(port) <= 65_535)) {
    return { objection: `${flag} ${address}: expected unix:<path> or tls://<host>:<port>` };
  }
  if (identity === undefined) {
    const expected = "--identity <dir> (ALTRACE_IDENTITY), as `altrace certificate issue` makes it";
    return { objection: `${flag} ${address}: needs ${expected}` };
  }
  try {
    return {
      kind: "tls",
      host,
      port: Number(port),
      serverCaPem: readFileSync(join(identity, IDENTITY_FILES.authority), "utf8"),
      certificatePem: readFileSync(join(identity, IDENTITY_FILES.certificate), "utf8"),
      keyPem: keyIn(join(identity, IDENTITY_FILES.key)),
    };
  } catch (error) {
    return { objection: `--identity ${identity}: ${errorMessage(error)}` };
  }
}

function keyIn(path: string): string {
  const bytes = readPrivateFile(path);
  if (bytes === undefined) throw new Error(`${path} is not there`);
  return bytes.toString("utf8");
}
