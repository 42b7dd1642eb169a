import { createPrivateKey, webcrypto } from "node:crypto";

const crypto = webcrypto as unknown as Crypto;
/** ECDSA P-256: clients that do not take Ed25519 certificates are still many. */
export const CERTIFIED_ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;

/** A fresh key pair for a certificate: the public half as SPKI, the private one as PEM. */
export async function createKeyPair(): Promise<{
  readonly publicKey: Uint8Array;
  readonly privateKey: string;
}> {
  const keys = await generateKeys();
  const spki = await crypto.subtle.exportKey("spki", keys.publicKey);
  return { publicKey: new Uint8Array(spki), privateKey: await exportKey(keys) };
}

/** The same as WebCrypto's own. */
export function generateKeys(): Promise<{
  readonly publicKey: CryptoKey;
  readonly privateKey: CryptoKey;
}> {
  return crypto.subtle.generateKey(CERTIFIED_ALGORITHM, true, ["sign", "verify"]);
}

/** The private half as PEM (PKCS #8). */
export async function exportKey(of: { readonly privateKey: CryptoKey }): Promise<string> {
  const bytes = await crypto.subtle.exportKey("pkcs8", of.privateKey);
  const key = createPrivateKey({ key: Buffer.from(bytes), format: "der", type: "pkcs8" });
  return key.export({ format: "pem", type: "pkcs8" }) as string;
}
