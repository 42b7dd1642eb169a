import { createSecureContext, type SecureContext } from "node:tls";
import type { Clock } from "../../../ports/clock.ts";

/** A certificate and its private key, PEM. */
export type Authority = { readonly certificate: string; readonly privateKey: string };

/** What this node may show certificates for, and until when. */
export type InspectionGrant = {
  readonly authority: Authority;
  readonly hosts: readonly string[];
  readonly notAfterMs: number;
};

/** Signs a host's certificate with the node's own. */
export type CertifyHost = (of: {
  readonly intermediate: Authority;
  readonly publicKey: Uint8Array;
  readonly host: string;
  readonly nowMs: number;
}) => Promise<string>;

export type HostCertificatesOptions = {
  readonly clock: Clock;
  readonly certifyHost: CertifyHost;
  readonly createKeyPair: () => Promise<{
    readonly publicKey: Uint8Array;
    readonly privateKey: string;
  }>;
};

/** Certificates that are kept; the least lately shown is dropped first. */
export const CERTIFICATES_KEPT_MAX = 64;
/** A certificate that is about to end is no longer shown. */
const LEFT_MS_MIN = 60_000;

/** The certificates that a loop shows in place of model providers', each made when first asked for. */
export class HostCertificates {
  readonly #options: HostCertificatesOptions;
  readonly #contexts = new Map<string, Promise<SecureContext>>();
  #grant: InspectionGrant | undefined;
  #keys: ReturnType<HostCertificatesOptions["createKeyPair"]> | undefined;

  constructor(options: HostCertificatesOptions) {
    this.#options = options;
  }

  /** From here on certificates are made under this authority alone. */
  take(grant: InspectionGrant): void {
    this.#grant = grant;
    this.#contexts.clear();
    this.#keys = this.#options.createKeyPair();
    for (const host of grant.hosts.slice(0, CERTIFICATES_KEPT_MAX)) {
      this.contextOf(host).catch(() => this.#contexts.delete(host));
    }
  }

  canShow(host: string): boolean {
    const grant = this.#grant;
    if (grant === undefined || !grant.hosts.includes(host)) return false;
    return this.#options.clock.nowMs() < grant.notAfterMs - LEFT_MS_MIN;
  }

  /** Rejects for a host that `canShow` says no to. */
  contextOf(host: string): Promise<SecureContext> {
    if (!this.canShow(host)) return Promise.reject(new Error(`no certificate for ${host}`));
    const known = this.#contexts.get(host);
    this.#contexts.delete(host);
    const context = known ?? this.#make(host);
    this.#contexts.set(host, context);
    if (this.#contexts.size > CERTIFICATES_KEPT_MAX) {
      const [oldest] = this.#contexts.keys();
      if (oldest !== undefined) this.#contexts.delete(oldest);
    }
    return context;
  }

  async #make(host: string): Promise<SecureContext> {
    const { clock, certifyHost } = this.#options;
    if (this.#grant === undefined || this.#keys === undefined) throw new Error("no authority");
    const { authority } = this.#grant;
    const { publicKey, privateKey } = await this.#keys;
    const nowMs = clock.nowMs();
    const leaf = await certifyHost({ intermediate: authority, publicKey, host, nowMs });
    const cert = `${leaf}\n${authority.certificate}\n`;
    return createSecureContext({ key: privateKey, cert, minVersion: "TLSv1.2" });
  }
}
