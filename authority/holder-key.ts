import { createHash } from "node:crypto";
import { canonicalJson } from "../proto/jcs.ts";
import { strictBase64url } from "./base64url.ts";

/** An Ed25519 public key as RFC 8037 writes it, with exactly these members. */
export type HolderJwk = { readonly crv: "Ed25519"; readonly kty: "OKP"; readonly x: string };

const KEY_BYTES = 32;
const P = 2n ** 255n - 19n;

/**
 * The y coordinates of the eight points of small order, which make signatures that fit any message.
 *
 * @see https://eprint.iacr.org/2020/1244, table 1
 */
const SMALL_ORDER_Y: ReadonlySet<bigint> = new Set([
  0n,
  1n,
  P - 1n,
  littleEndian(hex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05")),
  littleEndian(hex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a")),
]);

export function holderJwk(publicKey: Uint8Array): HolderJwk {
  return { crv: "Ed25519", kty: "OKP", x: Buffer.from(publicKey).toString("base64url") };
}

/**
 * The 32 bytes of a key that may hold a contract; `undefined` for one that may not: of another
 * length, spelt with a coordinate beyond the field, or of small order.
 */
export function publicKeyOf({ x }: HolderJwk): Uint8Array | undefined {
  const bytes = strictBase64url(x);
  if (bytes?.length !== KEY_BYTES) return undefined;
  const y = littleEndian(bytes) & (2n ** 255n - 1n);
  return y >= P || SMALL_ORDER_Y.has(y) ? undefined : bytes;
}

/**
 * The key's name as an issuer.
 *
 * @see https://www.rfc-editor.org/rfc/rfc9278
 */
export function thumbprintUri(jwk: HolderJwk): string {
  const { crv, kty, x } = jwk;
  const digest = createHash("sha256").update(canonicalJson({ crv, kty, x })).digest("base64url");
  return `urn:ietf:params:oauth:jwk-thumbprint:sha-256:${digest}`;
}

function hex(text: string): Buffer {
  return Buffer.from(text, "hex");
}

function littleEndian(bytes: Uint8Array): bigint {
  return BigInt(`0x${Buffer.from(bytes).reverse().toString("hex")}`);
}
