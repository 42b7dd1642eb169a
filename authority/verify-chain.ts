import { type Authority, isNarrower, meet, widerDimension } from "./authority.ts";
import { type Claims, operatorUri, readClaims } from "./claims.ts";
import { CHAIN_CHARS_MAX, DEPTH_MAX, ROOT_LIFE_S_MAX, SKEW_S_MAX } from "./contract-limits.ts";
import { type ContractRefusal, orRefusal, RefusedContract } from "./contract-refusal.ts";
import { publicKeyOf, thumbprintUri } from "./holder-key.ts";
import type { KnownLinks } from "./known-links.ts";
import { areOfOneTeam } from "./one-team.ts";
import { type Envelope, readEnvelope } from "./token.ts";

// Whether a chain of contracts is genuine, and what it lets be done.
//
// V1. Sizes and form first, of all links, before any signature is looked at.
// V2. A root is signed by an operator whom the caller trusts now, a link by the holder of the one
//     above. A payload is not parsed before its signature is good.
// V3. A link names what it was delegated from by hash, so it counts below that contract alone.
// V4. Each link grants strictly less than the one above, on behalf of the same subject and within the same
//     team, or the chain is refused.
// V5. What counts is the meet of all links, never the last one alone.
// V6. Of a link that is known, its signature and its form are known, and nothing else: who is trusted,
//     where it stands, dates and what it grants are looked at again.
// V7. There is one order of these steps, whether they are taken at once or in turns (node/mesh/verify-in-turns.ts).

/** Between the tokens of a chain, root first. */
export const LINK_SEPARATOR = "~";

/** What a chain is held against. */
export type ChainEnv = {
  /** The installation that this is. */
  readonly mesh: string;
  /** Wall clock, ms since the Unix epoch. */
  readonly nowMs: number;
  /** The raw public key of an operator who is trusted now; undefined for anybody else. */
  readonly operatorKey: (kid: string) => Uint8Array | undefined;
  /** Links that were found genuine before, whatever chain they were in. */
  readonly known?: KnownLinks;
  /** Ed25519. False for a malformed key or signature. */
  readonly verify: (key: Uint8Array, bytes: Uint8Array, signature: Uint8Array) => boolean;
};

/** One contract of a chain that was found genuine. */
export type Contract = { readonly id: string; readonly claims: Claims };

export type VerifiedChain = {
  /** Root first; never empty. */
  readonly links: readonly [Contract, ...Contract[]];
  readonly root: Contract;
  /** The one that a request runs under. */
  readonly leaf: Contract;
  /** V5. */
  readonly effective: Authority;
};

/** @returns The chain, or why it does not count. Never throws for what the text holds. */
export function verifyChain(text: string, env: ChainEnv): VerifiedChain | ContractRefusal {
  return orRefusal(() => {
    const steps = chainSteps(text, env);
    let step = steps.next();
    while (!step.done) step = steps.next();
    return step.value;
  });
}

/**
 * The steps themselves, one a link: a thread that has something else to do does it between them.
 *
 * @throws RefusedContract The chain does not count.
 */
export function* chainSteps(text: string, env: ChainEnv): Generator<void, VerifiedChain, void> {
  const envelopes = readChain(text);
  const links: Contract[] = [];
  let effective: Authority | undefined;
  for (const envelope of envelopes) {
    const parent = links.at(-1);
    if (parent !== undefined) yield;
    const key = signerOf(envelope, parent, env);
    const claims = env.known?.find(envelope, key) ?? readSigned(envelope, key, env);
    const link = { id: envelope.id, claims };
    checkLink(envelope, link, parent, env);
    const { authority } = claims;
    effective = effective === undefined ? authority : meet(effective, authority);
    links.push(link);
  }
  const [root, ...others] = links as [Contract, ...Contract[]];
  const leaf = others.at(-1) ?? root;
  return { links: [root, ...others], root, leaf, effective: effective ?? leaf.claims.authority };
}

/** V1. */
function readChain(text: string): readonly Envelope[] {
  if (text.length > CHAIN_CHARS_MAX) {
    throw new RefusedContract("contract_too_large", `a chain of ${text.length} characters`);
  }
  const tokens = text.split(LINK_SEPARATOR);
  if (tokens.length > DEPTH_MAX + 1) {
    throw new RefusedContract("contract_too_large", `a chain of ${tokens.length} links`);
  }
  const envelopes = tokens.map(readEnvelope);
  const misplaced = envelopes.findIndex(({ kid }, at) => (kid === undefined) !== at > 0);
  if (misplaced >= 0) {
    throw new RefusedContract("contract_order", `link ${misplaced} is not where it belongs`);
  }
  return envelopes;
}

/** V2: whose signature the link must have. */
function signerOf({ kid }: Envelope, parent: Contract | undefined, env: ChainEnv): Uint8Array {
  const key = parent === undefined ? operatorKey(kid, env) : publicKeyOf(parent.claims.holder);
  if (key === undefined) throw new RefusedContract("contract_signature", "link");
  return key;
}

/** V2. */
function readSigned(envelope: Envelope, key: Uint8Array, { verify, known }: ChainEnv): Claims {
  if (!verify(key, envelope.signingInput, envelope.signature)) {
    throw new RefusedContract("contract_signature", envelope.kid === undefined ? "link" : "root");
  }
  const claims = readClaims(envelope.payload);
  known?.keep(envelope, key, claims);
  return claims;
}

/** V3 and V4, and what is compared with the clock. */
function checkLink(
  { kid }: Envelope,
  { claims }: Contract,
  parent: Contract | undefined,
  env: ChainEnv,
): void {
  const issuer =
    parent === undefined ? operatorUri(kid ?? "") : thumbprintUri(parent.claims.holder);
  if (claims.issuer !== issuer) throw new RefusedContract("contract_issuer", "iss");
  if (claims.mesh !== env.mesh) throw new RefusedContract("contract_mesh", claims.mesh);
  if (claims.parent !== (parent?.id ?? "")) {
    throw new RefusedContract("contract_parent", "par_hash names another contract");
  }
  checkDepth(claims, parent?.claims);
  checkDates(claims, parent?.claims, env.nowMs);
  if (parent !== undefined) mustNarrow(claims, parent.claims);
}

function operatorKey(kid: string | undefined, env: ChainEnv): Uint8Array {
  const key = kid === undefined ? undefined : env.operatorKey(kid);
  if (key === undefined) throw new RefusedContract("contract_untrusted", kid ?? "no kid");
  return key;
}

function checkDepth(claims: Claims, parent: Claims | undefined): void {
  const wanted = parent === undefined ? 0 : parent.depth + 1;
  if (claims.depth !== wanted) {
    throw new RefusedContract("contract_depth", `del_depth ${claims.depth} is not ${wanted}`);
  }
  const most = parent === undefined ? DEPTH_MAX : parent.depthMax;
  if (claims.depth > claims.depthMax || claims.depthMax > most) {
    throw new RefusedContract("contract_depth", `del_max_depth ${claims.depthMax}`);
  }
}

function checkDates(claims: Claims, parent: Claims | undefined, nowMs: number): void {
  const { issuedAt, authority } = claims;
  const { notBefore, expires } = authority.validity;
  if (issuedAt > nowMs / 1000 + SKEW_S_MAX) {
    throw new RefusedContract("contract_dates", "issued in the future");
  }
  if (parent !== undefined && issuedAt < parent.issuedAt) {
    throw new RefusedContract("contract_dates", "issued before what it was delegated from");
  }
  if (parent === undefined && expires - Math.min(issuedAt, notBefore) > ROOT_LIFE_S_MAX) {
    throw new RefusedContract("contract_dates", `a root lives at most ${ROOT_LIFE_S_MAX} s`);
  }
  if (expires * 1000 <= nowMs) throw new RefusedContract("contract_expired", "exp");
}

/** V4. */
function mustNarrow(child: Claims, parent: Claims): void {
  if (child.subject !== parent.subject) {
    throw new RefusedContract("contract_subject", "sub differs from what it was delegated from");
  }
  if (!areOfOneTeam(child.agent, parent.agent)) {
    throw new RefusedContract("contract_team", `${child.agent} is of another team`);
  }
  const wider = widerDimension(child.authority, parent.authority);
  if (wider !== undefined) throw new RefusedContract("contract_widens", wider);
  if (!isNarrower(child.authority, parent.authority)) {
    throw new RefusedContract("contract_not_narrower", "grants as much as its parent");
  }
}
