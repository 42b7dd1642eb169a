import { createPublicKey, type KeyObject, verify } from "node:crypto";
import type { Keys } from "../ports/keys.ts";

/** Public keys that are kept: an imported one is found in a tenth of the time that an import takes. */
const KEYS_MAX = 4096;

/** What `verify` takes for a key. */
type Key = Parameters<typeof verify>[2];

/**
 * Checks signatures by `node:crypto`, and keeps the keys that it has imported. A key becomes an object only when it
 * comes again: most holders of contracts have signed one thing, and the object is dearer than its use.
 */
export function ed25519Verifier(): Keys["verify"] {
  const keyOf = ed25519Importer();
  return (publicKey, bytes, signature) => {
    if (publicKey.length !== 32 || signature.length !== 64) return false;
    return verify(null, bytes, keyOf(publicKey), signature);
  };
}

/** Raw public keys, 32 bytes, as `verify` takes them. */
export function ed25519Importer(): (publicKey: Uint8Array) => Key {
  const keys = new Map<string, KeyObject | undefined>();
  return (publicKey) => keyOf(keys, publicKey);
}

function keyOf(keys: Map<string, KeyObject | undefined>, publicKey: Uint8Array): Key {
  const name = Buffer.from(publicKey).toString("latin1");
  const known = keys.get(name);
  if (known !== undefined) return known;
  const raw = {
    key: publicKey,
    format: "raw-public",
    asymmetricKeyType: "ed25519",
  } as const;
  const key = keys.has(name) ? createPublicKey(raw) : undefined;
  // The keys of a mesh are few; whoever offers more is not given the memory.
  if (keys.size >= KEYS_MAX) keys.clear();
  keys.set(name, key);
  // `verify` takes whatever `createPublicKey` does; its types do not say so yet.
  return key ?? (raw as unknown as Key);
}
