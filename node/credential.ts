import type { Missing } from "./decision/facts.ts";

const VIRTUAL_KEY = /^altk_([a-z0-9]{8,32})_([A-Za-z0-9_-]{43})$/;
const OURS = "altk_";

/** A virtual key as presented: its id, and the whole of it to be hashed. */
export type PresentedKey = { readonly keyId: string; readonly key: string };

/**
 * The one credential of a request, whichever header it came in.
 *
 * SDKs send it as a bearer token or as `x-api-key`; some send both, and then both must be the same.
 * A credential that is not ours is refused, never passed on: an agent that holds a provider's key
 * would otherwise have a way around us through us.
 */
export function presentedKey(rawHeaders: readonly string[]): PresentedKey | Missing {
  const found = new Set<string>();
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const value = credentialIn(rawHeaders[i] as string, rawHeaders[i + 1] as string);
    // A header without a value presents nothing: SDKs send one when no key was set.
    if (value !== undefined && value !== "") found.add(value);
  }
  if (found.size === 0) return { missing: "credential_missing" };
  if (found.size > 1) return { missing: "credentials_conflict" };
  const [key] = found as unknown as [string];
  if (!key.startsWith(OURS)) return { missing: "foreign_credential" };
  const match = VIRTUAL_KEY.exec(key);
  return match === null ? { missing: "credential_malformed" } : { keyId: match[1] as string, key };
}

function credentialIn(name: string, value: string): string | undefined {
  switch (name.toLowerCase()) {
    case "x-api-key":
    case "api-key":
    case "x-goog-api-key":
      return value.trim();
    case "authorization": {
      const bearer = /^bearer(?: +(.*))?$/i.exec(value.trim());
      // Another scheme is a credential too, and not ours.
      return bearer === null ? value.trim() : (bearer[1] ?? "").trim();
    }
    default:
      return undefined;
  }
}
