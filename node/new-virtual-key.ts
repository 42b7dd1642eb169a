import type { Random } from "../ports/random.ts";

const KEY_ID_BYTES = 5;
const SECRET_BYTES = 32;

/**
 * Makes a virtual key.
 *
 * @param idPrefix `CONTRACT_KEY_PREFIX` for one that a contract is born with.
 * @returns Its id, and the whole of it, which is shown once.
 */
export function newVirtualKey(
  random: Random,
  idPrefix = "",
): { readonly id: string; readonly key: string } {
  const id = idPrefix + Buffer.from(random.bytes(KEY_ID_BYTES)).toString("hex");
  const secret = Buffer.from(random.bytes(SECRET_BYTES)).toString("base64url");
  return { id, key: `altk_${id}_${secret}` };
}
