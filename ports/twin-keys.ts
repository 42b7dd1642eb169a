import {
  createHash,
  createPrivateKey,
  createPublicKey,
  type KeyObject,
  sign,
  verify,
} from "node:crypto";
import type { Keys, Signer } from "./keys.ts";
import type { Random } from "./random.ts";

/** DER of an Ed25519 private and public key, up to the 32 raw bytes (RFC 8410, 4 and 7). */
const PKCS8_PREFIX = Buffer.from("302e020100300506032b657004220420", "hex");
const SPKI_PREFIX = Buffer.from("302a300506032b6570032100", "hex");

export type TwinKeys = Keys & {
  /** Forgets the key of that name, as if its file had gone. */
  remove(name: string): void;
};

/** Keys that lie in memory and are drawn from `random`: real signatures, the same from one seed. */
export function twinKeys(random: Random): TwinKeys {
  const signers = new Map<string, Signer>();
  return {
    load: (name) => signers.get(name),
    loadOrCreate: (name) => {
      const signer = signers.get(name) ?? twinSigner(random.bytes(32));
      signers.set(name, signer);
      return signer;
    },
    remove: (name) => {
      signers.delete(name);
    },
    verify: isSigned,
  };
}

function isSigned(publicKey: Uint8Array, bytes: Uint8Array, signature: Uint8Array): boolean {
  if (publicKey.length !== 32 || signature.length !== 64) return false;
  return verify(null, bytes, publicKeyOf(publicKey), signature);
}

/** A signer from a private seed of 32 bytes (RFC 8032). */
export function twinSigner(seed: Uint8Array): Signer {
  const der = Buffer.concat([PKCS8_PREFIX, seed]);
  const key = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
  const spki = createPublicKey(key).export({ type: "spki", format: "der" });
  const publicKey = new Uint8Array(spki.subarray(SPKI_PREFIX.length));
  const kid = createHash("sha256").update(publicKey).digest("hex").slice(0, 16);
  return { kid, publicKey, sign: (bytes) => sign(null, bytes, key) };
}

function publicKeyOf(raw: Uint8Array): KeyObject {
  const der = Buffer.concat([SPKI_PREFIX, raw]);
  return createPublicKey({ key: der, format: "der", type: "spki" });
}
