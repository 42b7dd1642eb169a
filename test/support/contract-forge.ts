import { createPrivateKey, createPublicKey, type KeyObject, sign, verify } from "node:crypto";
import type { Authority } from "../../authority/authority.ts";
import { type Claims, operatorUri, writeClaims } from "../../authority/claims.ts";
import { holderJwk, thumbprintUri } from "../../authority/holder-key.ts";
import { contractIdOf, signingInputOf, tokenOf } from "../../authority/token.ts";
import { type ChainEnv, LINK_SEPARATOR } from "../../authority/verify-chain.ts";
import { kidOf } from "../../mesh/kid-of.ts";

// Contracts for tests: genuine ones, and forgeries of every kind. Keys follow from a number, so that
// the same call makes the same bytes.

const PKCS8 = Buffer.from("302e020100300506032b657004220420", "hex");
const SPKI = Buffer.from("302a300506032b6570032100", "hex");

export const MESH = "acme-prod";
/** 2026-09-21T14:40:00Z, a Monday. */
export const NOW_S = 1_790_001_600;

export type TestKey = {
  readonly kid: string;
  readonly publicKey: Uint8Array;
  readonly privateKey: KeyObject;
};

/** The Ed25519 key of that number. */
export function testKey(no: number): TestKey {
  const seed = Buffer.alloc(32, no);
  const privateKey = createPrivateKey({
    key: Buffer.concat([PKCS8, seed]),
    format: "der",
    type: "pkcs8",
  });
  const der = createPublicKey(privateKey).export({ format: "der", type: "spki" });
  const publicKey = new Uint8Array(der.subarray(SPKI.length));
  return { kid: kidOf(publicKey), publicKey, privateKey };
}

export const OPERATOR = testKey(1);
/** Holders of the root and of what is delegated from it, one below the other. */
export const HOLDERS = [testKey(10), testKey(11), testKey(12), testKey(13), testKey(14)] as const;

export const AUTHORITY: Authority = {
  budget: { calls: 500, tok: 2_000_000, usd_u: 5_000_000 },
  models: ["anthropic/claude-sonnet/*", "openai/gpt-5-mini"],
  tools: new Map([
    ["mcp/github/*", ["read"]],
    ["mcp/jira/search", ["call", "read"]],
  ]),
  dataClass: { scheme: "c4", level: 2, compartments: ["pci", "pii"] },
  validity: {
    notBefore: NOW_S - 60,
    expires: NOW_S + 3_600,
    hours: [
      {
        zone: "Europe/Berlin",
        minutes: [
          [480, 1080],
          [1920, 2520],
        ],
      },
    ],
  },
  rate: {
    req: { burst: 20, amount: 10, seconds: 1 },
    tok: { burst: 200_000, amount: 5_000, seconds: 3 },
    usd_u: { burst: 1_000_000, amount: 1_000, seconds: 1 },
  },
  geography: {
    egr: ["DE", "FR", "IE"],
    proc: ["DE", "FR", "IE", "NL"],
    src: ["DE"],
  },
};

/** The same with half of the money: strictly less, and nothing else differs. */
export function halved(of: Authority): Authority {
  const { calls, tok, usd_u } = of.budget;
  const half = (amount: number) => Math.floor(amount / 2);
  return { ...of, budget: { calls: half(calls), tok: half(tok), usd_u: half(usd_u) } };
}

/** A contract, the key that may delegate it, and its token. */
export type Forged = {
  readonly claims: Claims;
  readonly id: string;
  readonly token: string;
  readonly key: TestKey;
};

export type Changes = Partial<Claims> & {
  /** Who signs, instead of who should. */
  readonly signedBy?: TestKey;
  /** The holder's key. */
  readonly key?: TestKey;
  /** What is signed instead of the claims. */
  readonly payload?: (payload: string) => string;
  /** The header instead of the right one. */
  readonly header?: string;
};

export function root(changes: Changes = {}): Forged {
  const key = changes.key ?? HOLDERS[0];
  const signer = changes.signedBy ?? OPERATOR;
  return forge(baseClaims(key, { issuer: operatorUri(signer.kid) }), changes, signer, key, true);
}

/** Delegated from `parent` by its holder; half of the parent's money unless said otherwise. */
export function child(parent: Forged, changes: Changes = {}): Forged {
  const depth = parent.claims.depth + 1;
  const key = changes.key ?? HOLDERS[Math.min(depth, HOLDERS.length - 1)] ?? HOLDERS[0];
  const claims = {
    ...parent.claims,
    holder: holderJwk(key.publicKey),
    issuer: thumbprintUri(parent.claims.holder),
    label: labelOf(depth),
    depth,
    parent: parent.id,
    authority: halved(parent.claims.authority),
  };
  return forge(claims, changes, changes.signedBy ?? parent.key, key, false);
}

export function chainText(...links: readonly Forged[]): string {
  return links.map(({ token }) => token).join(LINK_SEPARATOR);
}

/** What a trust bundle of the operator alone says of a key. */
export function operatorEntry(kid: string) {
  if (kid !== OPERATOR.kid) return undefined;
  return { role: "operator", publicKey: OPERATOR.publicKey, notBeforeMs: 0, notAfterMs: 0 };
}

/** What verifies these chains. */
export function chainEnv(changes: Partial<ChainEnv> = {}): ChainEnv {
  return {
    mesh: MESH,
    nowMs: NOW_S * 1000,
    operatorKey: (kid) => operatorEntry(kid)?.publicKey,
    verify: verifyEd25519,
    ...changes,
  };
}

export function verifyEd25519(key: Uint8Array, bytes: Uint8Array, signature: Uint8Array): boolean {
  if (key.length !== 32 || signature.length !== 64) return false;
  try {
    const der = Buffer.concat([SPKI, key]);
    const publicKey = createPublicKey({ key: der, format: "der", type: "spki" });
    return verify(null, bytes, publicKey, signature);
  } catch {
    return false;
  }
}

/** A compact JWS of any header and payload. */
export function signedToken(header: string, payload: string | Uint8Array, key: TestKey): string {
  const encode = (part: string | Uint8Array) => Buffer.from(part).toString("base64url");
  const input = `${encode(header)}.${encode(payload)}`;
  return tokenOf(input, sign(null, Buffer.from(input), key.privateKey));
}

function baseClaims(key: TestKey, { issuer }: { readonly issuer: string }): Claims {
  return {
    mesh: MESH,
    subject: "user:4f1c",
    agent: "research/planner",
    holder: holderJwk(key.publicKey),
    bearer: { sha256: "", source: "" },
    issuer,
    label: labelOf(0),
    depth: 0,
    depthMax: 4,
    issuedAt: NOW_S - 60,
    parent: "",
    authority: AUTHORITY,
  };
}

function forge(
  base: Claims,
  changes: Changes,
  signer: TestKey,
  key: TestKey,
  isRoot: boolean,
): Forged {
  const { signedBy: _signedBy, key: _key, payload: change, header, ...said } = changes;
  const claims = { ...base, ...said };
  const written = writeClaims(claims);
  const payload = change === undefined ? written : change(written);
  if (header !== undefined) {
    const token = signedToken(header, payload, signer);
    const id = contractIdOf(token.slice(0, token.lastIndexOf(".")));
    return { claims, id, token, key };
  }
  const input = signingInputOf(isRoot ? signer.kid : undefined, payload);
  const token = tokenOf(input, sign(null, Buffer.from(input), signer.privateKey));
  return { claims, id: contractIdOf(input), token, key };
}

function labelOf(depth: number): string {
  return `01998f3e-7c1a-7b2c-9d3e-5f607182930${depth}`;
}
