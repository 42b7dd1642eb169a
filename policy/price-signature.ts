import { createPublicKey, type JsonWebKeyInput, verify } from "node:crypto";
import { canonicalJson, type PlainJson } from "./canonical-json.ts";

/** What a maintainer's signature of prices covers before the prices themselves. */
const DOMAIN = "altrace/v1/prices\0";

/** The snapshot's file, its signature's, and the key's, from the root of the repository. */
export const PRICE_FILES = {
  snapshot: "policy/price-catalogue.json",
  signature: "policy/price-catalogue.sig.json",
  publicKey: "policy/price-maintainer.json",
} as const;

/** The contents of these files. */
export type SignedPrices = { readonly [F in keyof typeof PRICE_FILES]: unknown };

/** The bytes that a maintainer signs: what the snapshot says, however its file is laid out. */
export function signedPriceBytes(snapshot: unknown): Buffer {
  return Buffer.from(DOMAIN + canonicalJson(snapshot as PlainJson), "utf8");
}

/**
 * Why a snapshot must not be used, beginning with the file that is wrong; `undefined` when the
 * maintainer's key has signed it as it stands.
 *
 * @see https://www.rfc-editor.org/rfc/rfc8032 (Ed25519)
 */
export function flawOfPrices({ snapshot, signature, publicKey }: SignedPrices): string | undefined {
  const { ed25519 } = (signature ?? {}) as { readonly ed25519?: unknown };
  const bytes = typeof ed25519 === "string" ? Buffer.from(ed25519, "base64") : undefined;
  if (bytes?.length !== 64) return `${PRICE_FILES.signature}: holds no Ed25519 signature`;
  try {
    const key = createPublicKey({ key: publicKey as JsonWebKeyInput["key"], format: "jwk" });
    if (key.asymmetricKeyType !== "ed25519")
      throw new TypeError(`a key of ${key.asymmetricKeyType}`);
    if (verify(null, signedPriceBytes(snapshot), key, bytes)) return undefined;
  } catch (error) {
    return `${PRICE_FILES.publicKey}: holds no Ed25519 public key (${String(error)})`;
  }
  return `${PRICE_FILES.snapshot}: is not what the key in ${PRICE_FILES.publicKey} has signed`;
}
