import { strictBase64url } from "./base64url.ts";
import { PROOF_CHARS_MAX, SKEW_S_MAX } from "./contract-limits.ts";
import { type HolderJwk, publicKeyOf } from "./holder-key.ts";

// A proof that whoever presents a contract holds its key: a DPoP proof of RFC 9449, read strictly.
//
// P1. It is good for one method, one URL, one token, one nonce and a minute; and once, which the caller
//     sees to. The nonce is what binds it to one node and one start of it: a name may stand for many.
// P2. Everything that costs a comparison is looked at before the signature, so a stolen contract
//     with a proof of somebody else's costs no more than to parse it.
// P3. Nothing in it counts that is not named here: no other algorithm, no other key, no other claim.

/** What the proof is held against. */
export type ProofEnv = {
  /** The key that the contract is held by. */
  readonly holder: HolderJwk;
  /** The token that was presented beside the proof, as it came. */
  readonly tokenSha256: string;
  readonly method: string;
  /** Host and path of the request, as the client named them; without a query. */
  readonly host: string;
  readonly path: string;
  /** Wall clock, ms since the Unix epoch. */
  readonly nowMs: number;
  /** Those that were given out for it and are good now. */
  readonly nonces: readonly string[];
  readonly verify: (key: Uint8Array, bytes: Uint8Array, signature: Uint8Array) => boolean;
};

/** A good proof; spent by remembering both. */
export type Proof = {
  readonly jti: string;
  readonly nonce: string;
};

export type ProofRefusal = {
  readonly refused:
    | "proof_malformed"
    | "proof_algorithm"
    | "proof_key"
    | "proof_signature"
    | "proof_request"
    | "proof_nonce"
    | "proof_time"
    | "proof_token";
  readonly detail: string;
};

const FORM = /^([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]{86})$/;
const TYPE = "dpop+jwt";
const ALGORITHM = "Ed25519";
const HASH = /^[A-Za-z0-9_-]{43}$/;
/** Long enough to be unique, short enough to be kept. */
const JTI = /^[A-Za-z0-9._~-]{16,128}$/;
const HEADER_MEMBERS = "alg,jwk,typ";
const JWK_MEMBERS = "crv,kty,x";
const CLAIM_MEMBERS = "ath,htm,htu,iat,jti,nonce";

const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** @returns The proof, or the first thing that is wrong with it. Never throws for what it holds. */
export function checkProof(text: string, env: ProofEnv): Proof | ProofRefusal {
  const parts = text.length > PROOF_CHARS_MAX ? null : FORM.exec(text);
  if (parts === null) return refusal("proof_malformed", "not a compact JWS of its size");
  const [, head = "", body = "", tail = ""] = parts;
  const header = readObject(head);
  const claims = readObject(body);
  const signature = strictBase64url(tail);
  if (!header || !claims || !signature) return refusal("proof_malformed", "not strict JSON");
  const objection = headerObjection(header, env) ?? claimsObjection(claims, env);
  if (objection !== undefined) return objection;
  const key = publicKeyOf(env.holder);
  const signed = Buffer.from(`${head}.${body}`, "latin1");
  if (key === undefined || !env.verify(key, signed, signature)) {
    return refusal("proof_signature", "jws");
  }
  return { jti: claims.jti as string, nonce: claims.nonce as string };
}

function headerObjection(
  header: Readonly<Record<string, unknown>>,
  { holder }: ProofEnv,
): ProofRefusal | undefined {
  const { alg, jwk, typ } = header;
  if (typ !== TYPE) return refusal("proof_malformed", `typ is not ${TYPE}`);
  if (alg !== ALGORITHM) return refusal("proof_algorithm", `alg is not ${ALGORITHM}`);
  if (membersOf(header) !== HEADER_MEMBERS) return refusal("proof_malformed", "header");
  if (!isObject(jwk) || membersOf(jwk) !== JWK_MEMBERS) return refusal("proof_malformed", "jwk");
  const isHolders = jwk.crv === holder.crv && jwk.kty === holder.kty && jwk.x === holder.x;
  return isHolders ? undefined : refusal("proof_key", "jwk is not the contract's cnf.jwk");
}

function claimsObjection(
  claims: Readonly<Record<string, unknown>>,
  env: ProofEnv,
): ProofRefusal | undefined {
  const { ath, htm, htu, iat, jti, nonce } = claims;
  // A client that has none yet is told one; it is not taken for one that cannot write a proof.
  if (!Object.hasOwn(claims, "nonce")) return refusal("proof_nonce", "none");
  if (membersOf(claims) !== CLAIM_MEMBERS) return refusal("proof_malformed", "claims");
  if (typeof jti !== "string" || !JTI.test(jti)) return refusal("proof_malformed", "jti");
  if (typeof ath !== "string" || !HASH.test(ath)) return refusal("proof_malformed", "ath");
  if (!Number.isSafeInteger(iat)) return refusal("proof_malformed", "iat");
  if (ath !== env.tokenSha256) return refusal("proof_token", "ath is another token's");
  if (htm !== env.method) return refusal("proof_request", "htm");
  // TLS may end in front of us, so the scheme is the one thing that we do not know.
  const place = `${env.host.toLowerCase()}${env.path}`;
  if (htu !== `http://${place}` && htu !== `https://${place}`) {
    return refusal("proof_request", "htu");
  }
  if (!env.nonces.some((good) => good === nonce)) return refusal("proof_nonce", "another one");
  if (Math.abs(env.nowMs - (iat as number) * 1000) > SKEW_S_MAX * 1000) {
    return refusal("proof_time", `iat is more than ${SKEW_S_MAX} s from now`);
  }
  return undefined;
}

/** J1 of what libraries write: members in any order, but nothing twice and no second spelling. */
function readObject(part: string): Readonly<Record<string, unknown>> | undefined {
  const bytes = strictBase64url(part);
  if (bytes === undefined) return undefined;
  try {
    const text = UTF8.decode(bytes);
    const value: unknown = JSON.parse(text);
    return isObject(value) && JSON.stringify(value) === text ? value : undefined;
  } catch {
    return undefined;
  }
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function membersOf(value: Readonly<Record<string, unknown>>): string {
  return Object.keys(value).sort().join();
}

function refusal(refused: ProofRefusal["refused"], detail: string): ProofRefusal {
  return { refused, detail };
}
