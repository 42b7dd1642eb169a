import { publicKeyOf } from "./holder-key.ts";

/** How every contract spells what stands before its holder's key; no text in one can hold a quotation mark. */
const BEFORE = '"cnf":{"jwk":{"crv":"Ed25519","kty":"OKP","x":"';
const KEY_CHARS = 43;

/**
 * The key that a contract's payload is held by, if it is a contract's: nothing of it is parsed or believed. Where
 * `readClaims` takes the payload, this is the key that it reads there.
 */
export function likelyHolder(payload: Buffer): Uint8Array | undefined {
  const at = payload.indexOf(BEFORE, 0, "latin1");
  if (at < 0) return undefined;
  const from = at + BEFORE.length;
  return publicKeyOf({
    crv: "Ed25519",
    kty: "OKP",
    x: payload.toString("latin1", from, from + KEY_CHARS),
  });
}
