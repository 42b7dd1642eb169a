import { createPublicKey, type KeyObject, verify } from "node:crypto";
import type { Keys } from "../ports/keys.ts";

/** Imported public keys that are kept: they are found in a tenth of the time that an import takes. */
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
  const key = createPublicKey({
    key: publicKey,
    format: "raw-public",
    asymmetricKeyType: "ed25519",
  });
  // The keys of a mesh are few; whoever offers more is not given the memory.
  if (imported.size >= IMPORTED_KEYS_MAX) imported.clear();
  imported.set(name, key);
  return key;
}
