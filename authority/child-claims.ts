import type { Authority } from "./authority.ts";
import type { BearerKey, Claims } from "./claims.ts";
import { type HolderJwk, thumbprintUri } from "./holder-key.ts";
import type { Contract } from "./verify-chain.ts";

/** What a contract below another one says: mesh, subject and depth limit are those of its parent. */
export function childClaims(
  parent: Contract,
  of: {
    readonly agent: string;
    readonly holder: HolderJwk;
    readonly bearer: BearerKey;
    /** A UUIDv7. */
    readonly label: string;
    /** Seconds since the Unix epoch. */
    readonly nowS: number;
    readonly authority: Authority;
  },
): Claims {
  const { nowS, ...own } = of;
  return {
    ...parent.claims,
    ...own,
    issuer: thumbprintUri(parent.claims.holder),
    depth: parent.claims.depth + 1,
    // A clock that is behind the delegator's is no reason to make a link that nobody takes.
    issuedAt: Math.max(parent.claims.issuedAt, nowS),
    parent: parent.id,
  };
}
