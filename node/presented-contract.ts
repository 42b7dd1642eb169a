import { hash } from "node:crypto";
import type { Missing } from "./decision/facts.ts";

/** A contract that its agent holds by a key of its own, as a request presents it. */
export type PresentedContract = {
  readonly id: string;
  /** Base64url of the SHA-256 of the id as it was presented: a proof's `ath`. */
  readonly tokenSha256: string;
  /** The proof beside it; undefined where there is none. */
  readonly proof: string | undefined;
};

const SCHEME = /^dpop +(\S+)$/i;
const ID = /^[A-Za-z0-9_-]{43}$/;
/** Headers that could present somebody else. */
const OTHER_CREDENTIALS: ReadonlySet<string> = new Set(["x-api-key", "api-key", "x-goog-api-key"]);

/**
 * What `Authorization: DPoP` and `DPoP` say, in the manner of RFC 9449; undefined where the request
 * brings no such credential. The token is a contract's id: its chain lies in the ledger, so none has to be
 * verified for whoever sends one.
 */
export function presentedContract(
  rawHeaders: readonly string[],
): PresentedContract | Missing | undefined {
  return mayPresentOne(rawHeaders) ? collected(rawHeaders) : undefined;
}

/** Every request pays for this look, and hardly one for the next. */
function mayPresentOne(rawHeaders: readonly string[]): boolean {
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const isNamed = rawHeaders[i]?.length === "authorization".length;
    if (isNamed && /^[^a-z]*d/i.test(rawHeaders[i + 1] as string)) return true;
  }
  return false;
}

function collected(rawHeaders: readonly string[]): PresentedContract | Missing | undefined {
  const tokens: string[] = [];
  const proofs: string[] = [];
  let others = 0;
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const name = (rawHeaders[i] as string).toLowerCase();
    const value = (rawHeaders[i + 1] as string).trim();
    if (name === "dpop") proofs.push(value);
    else if (OTHER_CREDENTIALS.has(name) && value !== "") others += 1;
    else if (name === "authorization") {
      const token = SCHEME.exec(value)?.[1];
      if (token === undefined) others += value === "" ? 0 : 1;
      else tokens.push(token);
    }
  }
  const [token, ...more] = tokens;
  if (token === undefined) return undefined;
  if (more.length > 0 || others > 0 || proofs.length > 1) {
    return { missing: "credentials_conflict" };
  }
  if (!ID.test(token)) return { missing: "credential_malformed", detail: "not a contract's id" };
  return { id: token, tokenSha256: hash("sha256", token, "base64url"), proof: proofs[0] };
}
