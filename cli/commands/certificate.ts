import { X509Certificate } from "node:crypto";
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { isIP } from "node:net";
import { join } from "node:path";
import { fingerprintOf } from "../../adapters/grpc-caller.ts";
import { createPrivateFile } from "../../adapters/private-file.ts";
import { openRoot } from "../../adapters/stored-root.ts";
import { systemClock } from "../../adapters/system-clock.ts";
import { readTrustFile } from "../../adapters/trust-file.ts";
import { issueCertificate, type Subject } from "../../adapters/x509-authority.ts";
import { issuedPath, trustPath } from "../../coordinator/found-mesh.ts";
import { issuedLine } from "../../coordinator/operations/issued-certificates.ts";
import { isHostName } from "../../policy/hosts.ts";
import { CALL_ROLES, callerUri } from "../../proto/call-roles.ts";
import { isName } from "../../proto/ids.ts";
import { type CommandContext, CommandError } from "../command-context.ts";
import { IDENTITY_FILES } from "../tls-target.ts";

/** The authority of gRPC over TLS, in the coordinator's HOME. It has nothing to do with what agents trust. */
const AUTHORITY_FILES = { certificate: "grpc-root.pem", key: "grpc-root.key" };
const DAY_MS = 24 * 60 * 60_000;
const DAYS_MAX = 398;

export type CertificateOptions = {
  readonly out: string;
  readonly days: string;
  readonly role?: string;
};

/** `altrace certificate server <host...>`: what a node or a coordinator shows to operators. */
export async function certifyServer(
  context: CommandContext,
  hosts: readonly string[],
  options: CertificateOptions,
): Promise<void> {
  const names = hosts.map((host) => {
    const type = isIP(host) === 0 ? ("dns" as const) : ("ip" as const);
    if (type === "dns" && !isHostName(host)) {
      throw new CommandError(`${host}: expected a host's name or address`, 2);
    }
    return { type, value: host };
  });
  const subject = { name: hosts[0] as string, names, use: "server" } as const;
  await issue(context, { subject, role: "server" }, options);
}

/** `altrace certificate issue <name> --role ...`: what an operator shows to nodes and coordinators. */
export async function certifyCaller(
  context: CommandContext,
  name: string,
  options: CertificateOptions,
): Promise<void> {
  const role = CALL_ROLES.find((one) => one === options.role);
  if (role === undefined) throw new CommandError(`--role: one of ${CALL_ROLES.join(", ")}`, 2);
  if (!isName(name)) throw new CommandError(`${name}: expected a name of [a-z0-9-]`, 2);
  const uri = callerUri(meshOf(context), role, name);
  const subject = { name, names: [{ type: "url", value: uri }], use: "client" } as const;
  await issue(context, { subject, role }, options);
}

async function issue(
  { home, output }: CommandContext,
  { subject, role }: { readonly subject: Subject; readonly role: string },
  { out, days }: CertificateOptions,
): Promise<void> {
  if (!/^[1-9][0-9]{0,2}$/.test(days) || Number(days) > DAYS_MAX) {
    throw new CommandError(`--days ${days}: expected 1 to ${DAYS_MAX}`, 2);
  }
  const paths = {
    authority: join(out, IDENTITY_FILES.authority),
    certificate: join(out, IDENTITY_FILES.certificate),
    key: join(out, IDENTITY_FILES.key),
  };
  // A key that is there stays there: whoever wants another one says so by taking it away.
  if (existsSync(paths.key)) throw new CommandError(`${paths.key} exists; name another folder`);
  const nowMs = systemClock.nowMs();
  const mesh = meshOf({ home });
  const name = `Altrace gRPC root of ${mesh}`;
  const root = await openRoot({ home, files: AUTHORITY_FILES, name, nowMs });
  const notAfterMs = nowMs + Number(days) * DAY_MS;
  const issued = await issueCertificate({ root, subject, nowMs, notAfterMs });
  const fingerprint = fingerprintOf(new X509Certificate(issued.certificate));
  // Before it is anybody's: the coordinator of this HOME takes it from here into its own log.
  const line = { name: subject.name, role, fingerprint, issuedAtMs: nowMs, notAfterMs };
  appendSynced(issuedPath(home), issuedLine(line));
  mkdirSync(out, { recursive: true, mode: 0o700 });
  createPrivateFile(paths.key, issued.privateKey);
  writeFileSync(paths.certificate, issued.certificate);
  writeFileSync(paths.authority, root.certificate);
  const notAfter = new Date(notAfterMs).toISOString();
  output.result({ ...paths, notAfter, fingerprint }, () => {
    for (const path of Object.values(paths)) output.line(path);
    output.line(`good until ${notAfter}, sha256 ${fingerprint}`);
  });
}

/** The line is on the disk when this returns. */
function appendSynced(path: string, line: string): void {
  const file = openSync(path, "a", 0o600);
  try {
    writeSync(file, line);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

function meshOf({ home }: Pick<CommandContext, "home">): string {
  const path = trustPath(home);
  if (!existsSync(path)) throw new CommandError(`${home} is no coordinator's HOME: no trust.json`);
  return readTrustFile(path).mesh;
}
