import type { ServerHttp2Session } from "node:http2";

/** Certificates that count no more, by their SHA-256 in hexadecimal. Nothing takes one back. */
export class RevokedCertificates {
  readonly #fingerprints = new Set<string>();
  readonly #onAdded: ((fingerprint: string) => void)[] = [];

  has(fingerprint: string): boolean {
    return this.#fingerprints.has(fingerprint);
  }

  add(fingerprint: string): void {
    if (this.#fingerprints.has(fingerprint)) return;
    this.#fingerprints.add(fingerprint);
    for (const fn of this.#onAdded) fn(fingerprint);
  }

  onAdded(fn: (fingerprint: string) => void): void {
    this.#onAdded.push(fn);
  }
}

/**
 * The connections of one listener, by who called on them: when a certificate is revoked those that it opened
 * are closed, and with them the streams that are being read.
 */
export class CallerConnections {
  readonly #sessions = new Map<string, Set<ServerHttp2Session>>();

  called(session: ServerHttp2Session, fingerprint: string): void {
    const sessions = this.#sessions.get(fingerprint) ?? new Set();
    if (sessions.has(session)) return;
    this.#sessions.set(fingerprint, sessions.add(session));
    session.once("close", () => {
      sessions.delete(session);
      if (sessions.size === 0) this.#sessions.delete(fingerprint);
    });
  }

  close(fingerprint: string): void {
    for (const session of this.#sessions.get(fingerprint) ?? []) session.destroy();
  }
}
