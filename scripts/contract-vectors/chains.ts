import { writeAuthority } from "../../authority/authority-json.ts";
import { holderJwk, thumbprintUri } from "../../authority/holder-key.ts";
import { verifyChain } from "../../authority/verify-chain.ts";
import {
  AUTHORITY,
  chainEnv,
  chainText,
  child,
  HOLDERS,
  halved,
  MESH,
  NOW_S,
  OPERATOR,
  root,
  signedToken,
  testKey,
} from "../../test/support/contract-forge.ts";

/** One chain, and what every implementation has to say of it. */
export type ChainVector = {
  readonly name: string;
  readonly chain: string;
  /** Where it is genuine: ids root first, and what it lets be done. */
  readonly ids?: readonly string[];
  readonly effective?: unknown;
  /** Where it is not: the reason's name. */
  readonly refused?: string;
};

export type ChainVectors = {
  readonly mesh: string;
  readonly now_s: number;
  /** Public keys of trusted operators by kid, base64url. */
  readonly operators: Readonly<Record<string, string>>;
  readonly vectors: readonly ChainVector[];
};

/** The same bytes at every run: keys and dates follow from numbers. */
export function chainVectors(): ChainVectors {
  return {
    mesh: MESH,
    now_s: NOW_S,
    operators: { [OPERATOR.kid]: Buffer.from(OPERATOR.publicKey).toString("base64url") },
    vectors: chains().map(([name, chain]) => ({ name, chain, ...outcome(chain) })),
  };
}

function outcome(chain: string): Omit<ChainVector, "name" | "chain"> {
  const verified = verifyChain(chain, chainEnv());
  if ("refused" in verified) return { refused: verified.refused };
  const { notBefore, expires } = verified.effective.validity;
  return {
    ids: verified.links.map(({ id }) => id),
    effective: { ...writeAuthority(verified.effective), nbf: notBefore, exp: expires },
  };
}

function chains(): readonly (readonly [name: string, chain: string])[] {
  const top = root();
  const one = child(top);
  const two = child(one);
  const { authority } = one.claims;
  const below = (changes: Parameters<typeof child>[1]) => chainText(top, child(top, changes));
  const payload = Buffer.from(one.token.split(".")[1] ?? "", "base64url").toString();
  const headed = (header: string) =>
    `${top.token}~${signedToken(header, payload, HOLDERS[0] ?? OPERATOR)}`;
  return [
    ["a root", top.token],
    ["one delegation", chainText(top, one)],
    ["two delegations", chainText(top, one, two)],
    ["fewer models", below({ authority: { ...AUTHORITY, models: ["openai/gpt-5-mini"] } })],
    ["alg none", headed('{"alg":"none","typ":"altrace-dc+jwt"}')],
    ["alg EdDSA", headed('{"alg":"EdDSA","typ":"altrace-dc+jwt"}')],
    ["another type", headed('{"alg":"Ed25519","typ":"JWT"}')],
    ["a header with jwk", headed('{"alg":"Ed25519","jwk":{},"typ":"altrace-dc+jwt"}')],
    ["links the wrong way round", chainText(one, top)],
    ["an unknown operator", root({ signedBy: testKey(99) }).token],
    ["signed by its own holder", below({ signedBy: HOLDERS[1] ?? OPERATOR })],
    ["padding", `${chainText(top, one)}==`],
    ["white space in the payload", below({ payload: (text) => text.replace(":", ": ") })],
    ["a member twice", below({ payload: (text) => text.replace("{", '{"aud":"x",') })],
    ["a member more", below({ payload: (text) => text.replace('"sub"', '"suc":1,"sub"') })],
    ["an amount of 0.5", below({ payload: (text) => text.replace('"calls":250', '"calls":0.5') })],
    ["a list out of order", below({ payload: (text) => text.replace('"DE","FR"', '"FR","DE"') })],
    [
      "a holder's key of small order",
      below({ holder: holderJwk(Buffer.concat([Buffer.from([1]), Buffer.alloc(31)])) }),
    ],
    ["an issuer that did not sign", below({ issuer: thumbprintUri(one.claims.holder) })],
    ["another mesh", root({ mesh: "other" }).token],
    ["below another parent", chainText(root({ issuedAt: NOW_S - 30 }), one)],
    ["a depth left out", below({ depth: 2 })],
    ["another subject", below({ subject: "user:other" })],
    ["an agent of another team", below({ agent: "billing/planner" })],
    ["issued in the future", root({ issuedAt: NOW_S + 31 }).token],
    [
      "expired",
      root({
        authority: { ...AUTHORITY, validity: { ...AUTHORITY.validity, expires: NOW_S } },
      }).token,
    ],
    ["a pattern above its parent's", below({ authority: { ...authority, models: ["openai/*"] } })],
    ["more money", below({ authority: { ...authority, budget: AUTHORITY.budget, models: ["x"] } })],
    ["as much as its parent", below({ authority: AUTHORITY })],
    ["half of the money", below({ authority: halved(AUTHORITY) })],
    ["a token too large", `${top.token}~${"x".repeat(5_000)}`],
  ];
}
