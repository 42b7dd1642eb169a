import { hash } from "node:crypto";
import { describe, expect, test } from "vitest";
import { checkProof, type ProofEnv } from "../../../authority/proof-of-possession.ts";
import { proofOf } from "../../support/agent-key.ts";
import { HOLDERS, NOW_S, root, testKey, verifyEd25519 } from "../../support/contract-forge.ts";

// Attack case 35 of docs/contracts.md: what a thief of a contract, or of a proof, may try.

const KEY = HOLDERS[1];
const TOKEN = root().id;
const URL = "http://node-1:4000/v1/chat/completions";
const NONCES = ["nonce-of-this-minute", "nonce-of-the-last"] as const;
const OF = { token: TOKEN, url: URL, nowS: NOW_S, nonce: NONCES[0] };

function env(changes: Partial<ProofEnv> = {}): ProofEnv {
  return {
    holder: { crv: "Ed25519", kty: "OKP", x: Buffer.from(KEY.publicKey).toString("base64url") },
    tokenSha256: hash("sha256", TOKEN, "base64url"),
    method: "POST",
    host: "node-1:4000",
    path: "/v1/chat/completions",
    nowMs: NOW_S * 1000,
    nonces: NONCES,
    verify: verifyEd25519,
    ...changes,
  };
}

function refused(proof: string, changes: Partial<ProofEnv> = {}): string {
  const result = checkProof(proof, env(changes));
  return "refused" in result ? `${result.refused}: ${result.detail}` : "taken";
}

test("a proof of the holder for this request is taken, behind TLS too", () => {
  expect(refused(proofOf(KEY, OF))).toBe("taken");
  expect(refused(proofOf(KEY, { ...OF, nonce: NONCES[1] }))).toBe("taken");
  const url = URL.replace("http:", "https:");
  expect(refused(proofOf(KEY, { ...OF, url }), { host: "NODE-1:4000" })).toBe("taken");
});

describe("35", () => {
  const MALFORMED = "proof_malformed: not strict JSON";
  const jws = (header: string, body: string) =>
    [header, body].map((part) => Buffer.from(part).toString("base64url")).join(".");
  test.each<readonly [string, string, () => string]>([
    ["none", "proof_malformed: not a compact JWS of its size", () => refused("")],
    [
      "one of 3 KiB",
      "proof_malformed: not a compact JWS of its size",
      () => refused(proofOf(KEY, OF, { claims: { jti: "x".repeat(3_000) } })),
    ],
    [
      "one by a key of the thief's",
      "proof_key: jwk is not the contract's cnf.jwk",
      () => refused(proofOf(testKey(66), OF)),
    ],
    [
      "one by the key of the delegator above",
      "proof_key: jwk is not the contract's cnf.jwk",
      () => refused(proofOf(HOLDERS[0], OF)),
    ],
    [
      "one that names the holder's key and is signed by another",
      "proof_signature: jws",
      () => refused(proofOf(KEY, OF, { signedBy: testKey(66) })),
    ],
    [
      "one for another method",
      "proof_request: htm",
      () => refused(proofOf(KEY, { ...OF, method: "GET" })),
    ],
    [
      "one for another path",
      "proof_request: htu",
      () => refused(proofOf(KEY, { ...OF, url: "http://node-1:4000/v1/models" })),
    ],
    [
      "one for another node",
      "proof_request: htu",
      () => refused(proofOf(KEY, { ...OF, url: URL.replace("node-1", "node-2") })),
    ],
    [
      "one for another scheme",
      "proof_request: htu",
      () => refused(proofOf(KEY, { ...OF, url: URL.replace("http", "ftp") })),
    ],
    [
      "one with a query",
      "proof_request: htu",
      () => refused(proofOf(KEY, { ...OF, url: `${URL}?a` })),
    ],
    [
      "one for another contract",
      "proof_token: ath is another token's",
      () => refused(proofOf(KEY, { ...OF, token: "x".repeat(43) })),
    ],
    [
      "one of 31 s ago",
      "proof_time: iat is more than 30 s from now",
      () => refused(proofOf(KEY, { ...OF, nowS: NOW_S - 31 })),
    ],
    [
      "one of 31 s from now",
      "proof_time: iat is more than 30 s from now",
      () => refused(proofOf(KEY, { ...OF, nowS: NOW_S + 31 })),
    ],
    [
      "one with a nonce of another node, or of an earlier start",
      "proof_nonce: another one",
      () => refused(proofOf(KEY, { ...OF, nonce: "nonce-of-elsewhere" })),
    ],
    [
      "one with a nonce that is a list of good ones",
      "proof_nonce: another one",
      () => refused(proofOf(KEY, OF, { claims: { nonce: NONCES } })),
    ],
    [
      "one without a nonce",
      "proof_nonce: none",
      () => refused(proofOf(KEY, OF, { claims: { nonce: undefined } })),
    ],
    [
      "one by ES256",
      "proof_algorithm: alg is not Ed25519",
      () => refused(proofOf(KEY, OF, { header: { alg: "ES256" } })),
    ],
    [
      "one by EdDSA",
      "proof_algorithm: alg is not Ed25519",
      () => refused(proofOf(KEY, OF, { header: { alg: "EdDSA" } })),
    ],
    [
      "one by nothing",
      "proof_algorithm: alg is not Ed25519",
      () => refused(proofOf(KEY, OF, { header: { alg: "none" } })),
    ],
    [
      "a contract instead of one",
      "proof_malformed: typ is not dpop+jwt",
      () => refused(root().token),
    ],
    [
      "one whose header says more",
      "proof_malformed: header",
      () => refused(proofOf(KEY, OF, { header: { kid: "x" } })),
    ],
    [
      "one with a private key",
      "proof_malformed: jwk",
      () => refused(proofOf(KEY, OF, { header: { jwk: { ...env().holder, d: "x" } } })),
    ],
    [
      "one whose claims say more",
      "proof_malformed: claims",
      () => refused(proofOf(KEY, OF, { claims: { exp: NOW_S + 9_999 } })),
    ],
    [
      "one of a fraction of a second",
      "proof_malformed: iat",
      () => refused(proofOf(KEY, OF, { claims: { iat: NOW_S + 0.5 } })),
    ],
    [
      "one with a short jti",
      "proof_malformed: jti",
      () => refused(proofOf(KEY, OF, { claims: { jti: "1" } })),
    ],
    [
      "one that says a thing twice",
      MALFORMED,
      () => refused(`${jws('{"alg":"none","alg":"Ed25519"}', "{}")}.${"A".repeat(86)}`),
    ],
    [
      "one that escapes what need not be",
      MALFORMED,
      () => refused(`${jws('{"\\u0061lg":"Ed25519"}', "{}")}.${"A".repeat(86)}`),
    ],
    ["one of null", MALFORMED, () => refused(`${jws("null", "null")}.${"A".repeat(86)}`)],
    [
      "one that is not UTF-8",
      MALFORMED,
      () => refused(`${Buffer.from([0xff]).toString("base64url")}.e30.${"A".repeat(86)}`),
    ],
  ])("%s is refused", (_name, refusal, run) => {
    expect(run()).toBe(refusal);
  });

  test("P2: a proof that is not the holder's has no signature looked at", () => {
    let looked = 0;
    const verify = () => {
      looked += 1;
      return false;
    };
    for (const proof of [
      proofOf(testKey(66), OF),
      proofOf(KEY, { ...OF, nowS: NOW_S - 60 }),
      proofOf(KEY, { ...OF, url: "http://elsewhere/" }),
      proofOf(KEY, { ...OF, nonce: "nonce-of-elsewhere" }),
      "x",
    ]) {
      refused(proof, { verify });
    }
    expect(looked).toBe(0);
  });
});
