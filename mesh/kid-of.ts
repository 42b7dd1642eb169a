import { createHash } from "node:crypto";

/**
 * The name of a public key: the first 16 hexadecimal digits of its SHA-256.
 *
 * @param publicKey Raw Ed25519 public key, 32 bytes.
 */
export function kidOf(publicKey: Uint8Array): string {
  return createHash("sha256").update(publicKey).digest("hex").slice(0, 16);
}
