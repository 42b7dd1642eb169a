import { hash } from "node:crypto";
import { strictBase64url } from "./base64url.ts";

/** An Ed25519 public key as RFC 8037 writes it, with exactly these members. */
export type HolderJwk = { readonly crv: "Ed25519"; readonly kty: "OKP"; readonly x: string };

const KEY_BYTES = 32;
/** The x coordinate's sign, in the last byte of a key; the rest of it is y, least byte first. */
const SIGN_BIT = 0x80;
/** The least byte of 2^255-19; the ones between are all set, and the last but for the sign. */
const FIELD_LEAST = 0xed;

/**
 * The y coordinates of the eight points of small order, which make signatures that fit any message.
 *
 * @see https://eprint.iacr.org/2020/1244, table 1
 */
const SMALL_ORDER_Y: ReadonlySet<string> = new Set([
  "00".repeat(KEY_BYTES),
  `01${"00".repeat(KEY_BYTES - 1)}`,
  `ec${"ff".repeat(KEY_BYTES - 2)}7f`,
  "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
  "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
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
  const y = Buffer.from(bytes);
  y[KEY_BYTES - 1] = (y[KEY_BYTES - 1] as number) & ~SIGN_BIT;
  return isBeyondField(y) || SMALL_ORDER_Y.has(y.toString("hex")) ? undefined : bytes;
}

/**
 * The key's name as an issuer.
 *
 * @see https://www.rfc-editor.org/rfc/rfc9278
 */
export function thumbprintUri(jwk: HolderJwk): string {
  const digest = hash("sha256", spellingOf(jwk), "base64url");
  return `urn:ietf:params:oauth:jwk-thumbprint:sha-256:${digest}`;
}

/** The canonical JSON of a key of which only `x` is anybody's choice, and that is base64url. */
function spellingOf({ x }: HolderJwk): string {
  return `{"crv":"Ed25519","kty":"OKP","x":"${x}"}`;
}

function isBeyondField(y: Uint8Array): boolean {
  const last = KEY_BYTES - 1;
  if (y[last] !== (~SIGN_BIT & 0xff) || (y[0] as number) < FIELD_LEAST) return false;
  return y.subarray(1, last).every((byte) => byte === 0xff);
}
