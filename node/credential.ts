import { isMissing, type Missing } from "./decision/facts.ts";

const VIRTUAL_KEY = /^altk_([a-z0-9]{8,32})_([A-Za-z0-9_-]{43})$/;
const OURS = "altk_";
/** As nearly all clients spell it. */
const BEARER = "Bearer ";
const CREDENTIAL_NAME_CHARS: ReadonlySet<number> = new Set(
  ["x-api-key", "api-key", "x-goog-api-key", "authorization"].map(({ length }) => length),
);

/** A virtual key as presented: its id, and the whole of it to be hashed. */
export type PresentedKey = { readonly keyId: string; readonly key: string };

/** Ids of keys that contracts are born with begin so; no record of the mesh tells of such a key. */
export const CONTRACT_KEY_PREFIX = "ct";

/** Whether the key looks like one that a contract was born with. */
export function isContractKey(keyId: string): boolean {
  return keyId.startsWith(CONTRACT_KEY_PREFIX);
}

/** The virtual key of a request; see `presentedCredential`. */
export function presentedKey(rawHeaders: readonly string[]): PresentedKey | Missing {
  const credential = presentedCredential(rawHeaders);
  return typeof credential === "string" ? asKey(credential) : credential;
}

/**
 * The one credential of a request, whichever header it came in; it may be none of ours.
 *
 * SDKs send it as a bearer token or as `x-api-key`; some send both, and then both must be the same.
 * A credential that is not ours is refused, never passed on: an agent that holds a provider's key
 * would otherwise have a way around us through us.
 */
export function presentedCredential(rawHeaders: readonly string[]): string | Missing {
  let key: string | undefined;
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const value = credentialIn(rawHeaders[i] as string, rawHeaders[i + 1] as string);
    // A header without a value presents nothing: SDKs send one when no key was set.
    if (value === undefined || value === "") continue;
    if (key !== undefined && key !== value) return { missing: "credentials_conflict" };
    key = value;
  }
  return key ?? { missing: "credential_missing" };
}

/** Whether a key of ours stands anywhere in a request but where a proxy's credential belongs. */
export function carriesKey(target: string, rawHeaders: readonly string[]): boolean {
  if (ANY_KEY.test(target)) return true;
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const isToProxy = (rawHeaders[i] as string).toLowerCase() === "proxy-authorization";
    if (!isToProxy && ANY_KEY.test(rawHeaders[i + 1] as string)) return true;
  }
  return false;
}

const ANY_KEY = /altk_[a-z0-9]{8,32}_[A-Za-z0-9_-]{43}/;

/** What a client says to a proxy: its key, and the agent that it takes itself for, if it says so. */
export type ProxyKey = PresentedKey & { readonly agentId: string };

const BASIC = /^basic +([A-Za-z0-9+/]{1,1024}={0,2})$/i;

/**
 * The credential for the proxy itself: `Basic` with agent and key as user and password, as proxy URLs
 * have it, or the key as a bearer token. It never leaves this node.
 */
export function presentedProxyKey(rawHeaders: readonly string[]): ProxyKey | Missing {
  const found = new Set<string>();
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    if ((rawHeaders[i] as string).toLowerCase() === "proxy-authorization") {
      found.add((rawHeaders[i + 1] as string).trim());
    }
  }
  if (found.size === 0) return { missing: "credential_missing" };
  if (found.size > 1) return { missing: "credentials_conflict" };
  const [value] = found as unknown as [string];
  const basic = BASIC.exec(value);
  const bearer = /^bearer +(.+)$/i.exec(value);
  if (basic === null && bearer === null) return { missing: "credential_malformed" };
  const text =
    basic === null ? `:${bearer?.[1]}` : Buffer.from(basic[1] as string, "base64").toString("utf8");
  const colon = text.indexOf(":");
  if (colon < 0) return { missing: "credential_malformed" };
  const key = asKey(text.slice(colon + 1));
  return isMissing(key) ? key : { ...key, agentId: text.slice(0, colon) };
}

/** A credential as a virtual key, if it is one. */
export function asKey(key: string): PresentedKey | Missing {
  if (!key.startsWith(OURS)) return { missing: "foreign_credential" };
  const match = VIRTUAL_KEY.exec(key);
  return match === null ? { missing: "credential_malformed" } : { keyId: match[1] as string, key };
}

function credentialIn(name: string, value: string): string | undefined {
  // Every request pays for this, and most of its headers have a name of another length.
  if (!CREDENTIAL_NAME_CHARS.has(name.length)) return undefined;
  switch (name.toLowerCase()) {
    case "x-api-key":
    case "api-key":
    case "x-goog-api-key":
      return value.trim();
    case "authorization": {
      if (value.startsWith(BEARER)) return value.slice(BEARER.length).trim();
      const bearer = /^bearer(?: +(.*))?$/i.exec(value.trim());
      // Another scheme is a credential too, and not ours.
      return bearer === null ? value.trim() : (bearer[1] ?? "").trim();
    }
    default:
      return undefined;
  }
}
