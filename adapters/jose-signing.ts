import { readFileSync } from "node:fs";
import { CompactSign, exportJWK, importJWK, importPKCS8 } from "jose";

/** Members of a protected header, `alg` and what stands beside it. */
export type SignedHeader = {
  readonly alg: "Ed25519";
  readonly [member: string]: unknown;
};

/** Signs contracts with a private key from a file. */
export type ContractSigner = {
  /** Base64url of the raw public key. */
  readonly x: string;
  /** A compact JWS over these bytes, its header exactly as given and in that order. */
  sign(header: SignedHeader, payload: string): Promise<string>;
};

const ALGORITHM = "Ed25519";

/**
 * An Ed25519 private key as PKCS#8 PEM, the operator's own for one, or as a JWK of RFC 8037.
 *
 * @throws Error It is neither, or cannot be read.
 */
export async function contractSigner(path: string): Promise<ContractSigner> {
  const text = readFileSync(path, "utf8");
  const isPem = text.trimStart().startsWith("-----BEGIN");
  const key = isPem
    ? await importPKCS8(text, ALGORITHM, { extractable: true })
    : await importJWK(JSON.parse(text), ALGORITHM, { extractable: true });
  const { crv, x } = await exportJWK(key);
  if (crv !== ALGORITHM || x === undefined) throw new Error(`${path} is not an Ed25519 key`);
  return {
    x,
    sign: (header, payload) =>
      new CompactSign(Buffer.from(payload)).setProtectedHeader(header).sign(key),
  };
}
