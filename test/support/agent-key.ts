import { hash } from "node:crypto";
import { signedToken, type TestKey } from "./contract-forge.ts";

/** What a proof of possession says, unless a test changes it. */
export type ProofChanges = {
  readonly header?: Readonly<Record<string, unknown>>;
  readonly claims?: Readonly<Record<string, unknown>>;
  /** Whose signature it bears, instead of its key's. */
  readonly signedBy?: TestKey;
};

let made = 0;

/** A DPoP proof of RFC 9449 for one request, with a `jti` of its own. */
export function proofOf(
  key: TestKey,
  of: {
    readonly token: string;
    readonly url: string;
    readonly nowS: number;
    readonly nonce: string;
    readonly method?: string;
  },
  { header = {}, claims = {}, signedBy = key }: ProofChanges = {},
): string {
  made += 1;
  const x = Buffer.from(key.publicKey).toString("base64url");
  const jwk = { crv: "Ed25519", kty: "OKP", x };
  const head = { alg: "Ed25519", jwk, typ: "dpop+jwt", ...header };
  const body = {
    ath: hash("sha256", of.token, "base64url"),
    htm: of.method ?? "POST",
    htu: of.url,
    iat: of.nowS,
    jti: `proof-of-a-test-${process.pid}-${made}`,
    nonce: of.nonce,
    ...claims,
  };
  return signedToken(JSON.stringify(head), JSON.stringify(body), signedBy);
}
