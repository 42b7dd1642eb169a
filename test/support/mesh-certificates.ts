import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Authority, createRoot, issueCertificate } from "../../adapters/x509-authority.ts";
import { IDENTITY_FILES } from "../../cli/tls-target.ts";
import { type CallRole, callerUri } from "../../proto/call-roles.ts";

const LIFE_MS = 3_600_000;
const HERE = { type: "ip", value: "127.0.0.1" } as const;

/** One authority, and what a mesh over TLS needs of it, as files. */
export class MeshCertificates {
  readonly #folder: string;
  readonly #root: Authority;

  private constructor(folder: string, root: Authority) {
    this.#folder = folder;
    this.#root = root;
  }

  static async in(folder: string): Promise<MeshCertificates> {
    const nowMs = Date.now();
    const root = await createRoot({ name: "mesh under test", nowMs, validMs: LIFE_MS });
    const made = new MeshCertificates(folder, root);
    await made.#issue("server", { use: "server", names: [HERE] });
    await made.#issue("member", { use: "client", names: [{ type: "dns", value: "member" }] });
    return made;
  }

  /** Lines of the NATS server's configuration: nobody is let in without a certificate. */
  get natsConfig(): string {
    const { authority, certificate, key } = this.#files("server");
    return `tls { cert_file: "${certificate}", key_file: "${key}", ca_file: "${authority}", verify: true }`;
  }

  /** Settings of every member. */
  get memberEnv(): Readonly<Record<string, string>> {
    const { authority, certificate, key } = this.#files("member");
    return { ALTRACE_NATS_CA: authority, ALTRACE_NATS_CERT: certificate, ALTRACE_NATS_KEY: key };
  }

  /** Settings of whoever listens for operators over the network. */
  get grpcEnv(): Readonly<Record<string, string>> {
    const { authority, certificate, key } = this.#files("server");
    return {
      ALTRACE_GRPC_CERT: certificate,
      ALTRACE_GRPC_KEY: key,
      ALTRACE_GRPC_CLIENT_CA: authority,
    };
  }

  /** Folder for `--identity` of somebody in this role. */
  async identity(mesh: string, role: CallRole): Promise<string> {
    const uri = { type: "url", value: callerUri(mesh, role, role) } as const;
    return this.#issue(`identity-${role}`, { use: "client", names: [uri] });
  }

  async #issue(
    name: string,
    of: Pick<Parameters<typeof issueCertificate>[0]["subject"], "use" | "names">,
  ): Promise<string> {
    const nowMs = Date.now();
    const subject = { name, ...of };
    const life = { nowMs, notAfterMs: nowMs + LIFE_MS };
    const issued = await issueCertificate({ root: this.#root, subject, ...life });
    const { folder, authority, certificate, key } = this.#files(name);
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    writeFileSync(authority, this.#root.certificate);
    writeFileSync(certificate, issued.certificate);
    writeFileSync(key, issued.privateKey, { mode: 0o600 });
    return folder;
  }

  #files(name: string) {
    const folder = join(this.#folder, name);
    return {
      folder,
      authority: join(folder, IDENTITY_FILES.authority),
      certificate: join(folder, IDENTITY_FILES.certificate),
      key: join(folder, IDENTITY_FILES.key),
    };
  }
}
