import type { Socket } from "node:net";

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
  readonly #sockets = new Map<string, Socket>();
  /** Addresses by the certificate that calls came with. */
  readonly #peers = new Map<string, Set<string>>();

  /** A connection whose certificate is not known yet; calls on it will say. */
  opened(socket: Socket): void {
    const peer = `${socket.remoteAddress}:${socket.remotePort}`;
    this.#sockets.set(peer, socket);
    socket.once("close", () => {
      if (this.#sockets.get(peer) === socket) this.#sockets.delete(peer);
      for (const [fingerprint, peers] of this.#peers) {
        peers.delete(peer);
        if (peers.size === 0) this.#peers.delete(fingerprint);
      }
    });
  }

  /** False: it was closed here, and what had come on it by then counts no more. */
  has(peer: string): boolean {
    return this.#sockets.has(peer);
  }

  closeAll(): void {
    const sockets = [...this.#sockets.values()];
    this.#sockets.clear();
    for (const socket of sockets) socket.destroy();
  }

  /** @param peer The caller's address as grpc-js tells it. */
  called(peer: string, fingerprint: string): void {
    const peers = this.#peers.get(fingerprint) ?? new Set();
    this.#peers.set(fingerprint, peers.add(peer));
  }

  close(fingerprint: string): void {
    for (const peer of this.#peers.get(fingerprint) ?? []) this.#sockets.get(peer)?.destroy();
  }
}
