import { createPublicKey, type KeyObject, verify } from "node:crypto";
import type { Keys } from "../ports/keys.ts";

/** DER of an Ed25519 SubjectPublicKeyInfo up to the 32 raw bytes (RFC 8410, section 4). */
const SPKI_PREFIX = Buffer.from("302a300506032b6570032100", "hex");
/** Imported public keys that are kept: an import costs about a fifth of a verification. */
const IMPORTED_KEYS_MAX = 4096;

/** Checks signatures by `node:crypto`, and keeps the keys that it has imported. */
export function ed25519Verifier(): Keys["verify"] {
  const imported = new Map<string, KeyObject>();
  return (publicKey, bytes, signature) => {
    if (publicKey.length !== 32 || signature.length !== 64) return false;
    return verify(null, bytes, importPublicKey(imported, publicKey), signature);
  };
}

function importPublicKey(imported: Map<string, KeyObject>, publicKey: Uint8Array): KeyObject {
  const name = Buffer.from(publicKey).toString("latin1");
  const known = imported.get(name);
  if (known) return known;
  const der = Buffer.concat([SPKI_PREFIX, publicKey]);
  const key = createPublicKey({ key: der, format: "der", type: "spki" });
  // The keys of a mesh are few; whoever offers more is not given the memory.
  if (imported.size >= IMPORTED_KEYS_MAX) imported.clear();
  imported.set(name, key);
  return key;
}
