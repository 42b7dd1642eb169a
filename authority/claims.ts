import { type AgentId, parseAgentId } from "../proto/ids.ts";
import { canonicalJson } from "../proto/jcs.ts";
import type { Authority } from "./authority.ts";
import { readAuthority, writeAuthority } from "./authority-json.ts";
import { GRAMMAR } from "./claims-grammar.ts";
import {
  claims,
  mustBeCanonical,
  mustBeShallow,
  readCount,
  readItems,
  readJson,
  readMatching,
  readMembers,
} from "./closed-json.ts";
import { DEPTH_MAX } from "./contract-limits.ts";
import { RefusedContract } from "./contract-refusal.ts";
import { type HolderJwk, publicKeyOf } from "./holder-key.ts";
import { readPlainClaims } from "./plain-claims.ts";

/** What a contract says, once its signature is known to be good. */
export type Claims = {
  /** The installation it means something in. */
  readonly mesh: string;
  /** On whose behalf; the same on every link. */
  readonly subject: string;
  /** `team/agent` of the holder. */
  readonly agent: string;
  /** Whoever holds this key's private half may delegate, and speak as the holder. */
  readonly holder: HolderJwk;
  readonly bearer: BearerKey;
  readonly issuer: string;
  readonly label: string;
  /** 0 for a root. */
  readonly depth: number;
  readonly depthMax: number;
  /** Seconds since the Unix epoch. */
  readonly issuedAt: number;
  /** Id of the contract that this one was delegated from; empty for a root. */
  readonly parent: string;
  readonly authority: Authority;
};

/**
 * The virtual key that the contract was born with. It is signed with the rest, so nobody but the
 * delegator can give a contract another one.
 */
export type BearerKey = {
  /** Base64url of the SHA-256 of the whole key; empty: the holder proves possession instead. */
  readonly sha256: string;
  /** The one address that it counts from; empty: from wherever its node can be reached. */
  readonly source: string;
};

const MEMBERS = [
  "aud",
  "authorization_details",
  "client_id",
  "cnf",
  "del_depth",
  "del_max_depth",
  "exp",
  "iat",
  "iss",
  "jti",
  "key",
  "nbf",
  "par_hash",
  "sub",
] as const;

const AUDIENCE = "altrace:mesh:";
const MESH = new RegExp(`^${AUDIENCE}${GRAMMAR.mesh}$`);
const SUBJECT = whole(GRAMMAR.subject);
const ISSUER = whole(GRAMMAR.issuer);
const LABEL = whole(GRAMMAR.label);
const HASH = whole(GRAMMAR.hash);
const HASH_OR_NONE = whole(GRAMMAR.hashOrNone);
const SOURCE = whole(GRAMMAR.source);

/** @throws RefusedContract The payload is not a contract's, byte for byte. */
export function readClaims(payload: Uint8Array): Claims {
  return readPlainClaims(payload) ?? readClaimsByMember(payload);
}

/**
 * The same without the short way. Reads a payload, and writes down what it read: only what comes out as it
 * went in is a contract. One comparison shows that it is canonical, that nothing was overlooked and that
 * every list is normal.
 *
 * @throws RefusedContract As `readClaims`.
 */
export function readClaimsByMember(payload: Uint8Array): Claims {
  const { text, value } = readJson(payload);
  let read: Claims;
  try {
    read = claimsOf(value);
  } catch (error) {
    mustBeShallow(payload);
    // A spelling that others would read differently is the graver fault, and told first.
    mustBeCanonical(value, text);
    throw error;
  }
  if (isSpelt(read, text)) return read;
  mustBeCanonical(value, text);
  throw new RefusedContract("contract_not_normal", "a list that has a shorter or sorted form");
}

function claimsOf(value: unknown): Claims {
  const all = readMembers(value, MEMBERS, "contract");
  const notBefore = readCount(all.nbf, "nbf");
  const expires = readCount(all.exp, "exp");
  if (notBefore >= expires) throw claims("exp is not after nbf");
  const [detail, ...others] = readItems(all.authorization_details, "authorization_details");
  if (others.length > 0) throw claims("authorization_details has more than one entry");
  const mesh = readMatching(all.aud, MESH, "aud").slice(AUDIENCE.length);
  return {
    mesh,
    subject: readMatching(all.sub, SUBJECT, "sub"),
    agent: readAgent(all.client_id, mesh),
    holder: readHolder(all.cnf),
    bearer: readBearer(all.key),
    issuer: readMatching(all.iss, ISSUER, "iss"),
    label: readMatching(all.jti, LABEL, "jti"),
    depth: readDepth(all.del_depth, "del_depth"),
    depthMax: readDepth(all.del_max_depth, "del_max_depth"),
    issuedAt: readCount(all.iat, "iat"),
    parent: readMatching(all.par_hash, HASH_OR_NONE, "par_hash"),
    authority: readAuthority(detail, { notBefore, expires }),
  };
}

/** The payload, in its one spelling. */
export function writeClaims(of: Claims): string {
  return canonicalJson(payloadOf(of));
}

/**
 * Whether the text is the one spelling. The engine writes members as they stand below, which is their order, and
 * no text of a contract needs an escape; but a tool's name that begins with a digit it may put elsewhere.
 */
function isSpelt(of: Claims, text: string): boolean {
  const payload = payloadOf(of);
  const isInOrder = ![...of.authority.tools.keys()].some((name) => name < ":");
  return isInOrder ? JSON.stringify(payload) === text : canonicalJson(payload) === text;
}

/** Members in the order of RFC 8785, here and in `writeAuthority`. */
function payloadOf(of: Claims): object {
  return {
    aud: `${AUDIENCE}${of.mesh}`,
    authorization_details: [writeAuthority(of.authority)],
    client_id: `spiffe://${of.mesh}/agent/${of.agent}`,
    cnf: { jwk: { ...of.holder } },
    del_depth: of.depth,
    del_max_depth: of.depthMax,
    exp: of.authority.validity.expires,
    iat: of.issuedAt,
    iss: of.issuer,
    jti: of.label,
    key: { sha256: of.bearer.sha256, src: of.bearer.source },
    nbf: of.authority.validity.notBefore,
    par_hash: of.parent,
    sub: of.subject,
  };
}

/** The issuer that a root under this operator's key names. */
export function operatorUri(kid: string): string {
  return `urn:altrace:operator:${kid}`;
}

function whole(source: string): RegExp {
  return new RegExp(`^${source}$`);
}

function readAgent(value: unknown, mesh: string): string {
  const prefix = `spiffe://${mesh}/agent/`;
  if (typeof value !== "string" || !value.startsWith(prefix)) throw claims("client_id");
  const id: AgentId | undefined = parseAgentId(value.slice(prefix.length));
  if (id === undefined) throw claims("client_id");
  return `${id.team}/${id.agent}`;
}

function readHolder(value: unknown): HolderJwk {
  const { jwk } = readMembers(value, ["jwk"], "cnf");
  if (typeof jwk === "object" && jwk !== null && Object.hasOwn(jwk, "d")) {
    throw new RefusedContract("contract_holder_key", "a private key");
  }
  const { crv, kty, x } = readMembers(jwk, ["crv", "kty", "x"], "cnf.jwk");
  if (crv !== "Ed25519" || kty !== "OKP") {
    throw new RefusedContract("contract_holder_key", "not an Ed25519 key");
  }
  const holder = { crv, kty, x: readMatching(x, HASH, "cnf.jwk.x") } as const;
  if (publicKeyOf(holder) === undefined) {
    throw new RefusedContract("contract_holder_key", "not canonical, or of small order");
  }
  return holder;
}

function readBearer(value: unknown): BearerKey {
  const { sha256, src } = readMembers(value, ["sha256", "src"], "key");
  return {
    sha256: readMatching(sha256, HASH_OR_NONE, "key.sha256"),
    source: readMatching(src, SOURCE, "key.src"),
  };
}

function readDepth(value: unknown, at: string): number {
  const depth = readCount(value, at);
  if (depth > DEPTH_MAX) throw new RefusedContract("contract_depth", `${at} is above ${DEPTH_MAX}`);
  return depth;
}
