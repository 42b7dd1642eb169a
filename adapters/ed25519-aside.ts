import { verify } from "node:crypto";
import { availableParallelism } from "node:os";
import type { Keys } from "../ports/keys.ts";
import { ed25519Importer } from "./ed25519-verifier.ts";

/**
 * Signatures that one verifier has looked at in libuv's pool at once. The pool is one for the process: LMDB's
 * syncs, files and decompression stand in the same line, and must not stand behind a crowd.
 */
export const ASIDE_MAX = 4;

/** Checks signatures by `node:crypto` in libuv's pool: `ASIDE_MAX` at once, and none where there is one processor. */
export function ed25519Aside(processors = availableParallelism()): Keys["verifyAside"] {
  const keyOf = ed25519Importer();
  let free = processors > 1 ? ASIDE_MAX : 0;
  return (publicKey, bytes, signature) => {
    if (publicKey.length !== 32 || signature.length !== 64) return Promise.resolve(false);
    if (free === 0) return undefined;
    free -= 1;
    return new Promise((resolve) => {
      verify(null, bytes, keyOf(publicKey), signature, (error, isGood) => {
        free += 1;
        resolve(error === null && isGood);
      });
    });
  };
}
