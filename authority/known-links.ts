import type { Claims } from "./claims.ts";
import type { Envelope } from "./token.ts";

/** Links that are remembered at once: those of some thousands of chains. */
export const KNOWN_LINKS_MAX = 16_384;

type Known = { readonly signedBy: string; readonly claims: Claims };

/**
 * Links whose signature was found good, so that none is looked at twice: delegations of one root share
 * its links, and a chain that is served is verified again every half a minute.
 *
 * A link is found by the hash of all that was signed, and only for the same signature by the same
 * key. So what was kept from one chain says nothing about another one that merely begins or ends
 * alike, and nothing about who is trusted now.
 */
export class KnownLinks {
  readonly #links = new Map<string, Known>();

  /** What the link says, if that key's signature of it was good before. */
  find({ id, signature }: Envelope, key: Uint8Array): Claims | undefined {
    const known = this.#links.get(id);
    return known?.signedBy === signatureName(key, signature) ? known.claims : undefined;
  }

  /** Only what was verified. The oldest make room. */
  keep({ id, signature }: Envelope, key: Uint8Array, claims: Claims): void {
    for (const oldest of this.#links.keys()) {
      if (this.#links.size < KNOWN_LINKS_MAX) break;
      this.#links.delete(oldest);
    }
    this.#links.set(id, { signedBy: signatureName(key, signature), claims });
  }

  get size(): number {
    return this.#links.size;
  }
}

/** A text of its own: a signature's bytes are a view of far more, which would stay in memory with them. */
export function signatureName(key: Uint8Array, signature: Buffer): string {
  return Buffer.concat([key, signature]).toString("latin1");
}
