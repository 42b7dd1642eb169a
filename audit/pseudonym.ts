import { createHmac } from "node:crypto";

/** Bytes of a person's key. Never other than these: HMAC pads short keys, and two would be one. */
export const PERSON_KEY_BYTES = 32;

const DOMAIN = "altrace/v1/person\0";

/**
 * What stands in records for the person an agent acts for. Without the key it can be neither made nor
 * tried: whoever guesses the name has nothing to hold the guess against.
 *
 * @param key Random, `PERSON_KEY_BYTES` long, of this person and a stretch of time alone.
 * @returns 43 characters of base64url.
 */
export function pseudonymOf(key: Uint8Array, person: string): string {
  if (key.length !== PERSON_KEY_BYTES) throw new RangeError(`a key of ${key.length} bytes`);
  return createHmac("sha256", key).update(DOMAIN).update(person, "utf8").digest("base64url");
}
