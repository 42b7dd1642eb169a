import { generateKeyPairSync, sign } from "node:crypto";
import { expect, test } from "vitest";
import { ed25519Verifier } from "../../../adapters/ed25519-verifier.ts";
import {
  openRedactOrder,
  REDACT_ORDER_MS,
  type SignedOrder,
  signRedactOrder,
} from "../../../mesh/redact-order.ts";

const T0 = 1_790_000_000_000;
const OPERATOR = signerOf("0011223344556677");
const OTHER = signerOf("8899aabbccddeeff");
const FIELDS = { mesh: "acme", person: "user:alice", issuedAtMs: BigInt(T0), reason: "asked_for" };

function signerOf(kid: string) {
  const { privateKey, publicKey } = generateKeyPairSync("ed25519");
  const raw = Buffer.from(publicKey.export({ format: "jwk" }).x as string, "base64url");
  return { kid, publicKey: raw, sign: (bytes: Uint8Array) => sign(null, bytes, privateKey) };
}

function opened(order: SignedOrder, nowMs = T0, mesh = "acme") {
  const operatorKey = (kid: string) => (kid === OPERATOR.kid ? OPERATOR.publicKey : undefined);
  return openRedactOrder(order, { mesh, nowMs, verify: ed25519Verifier(), operatorKey });
}

test("an operator's order counts, for a while", () => {
  const order = signRedactOrder(FIELDS, OPERATOR);
  expect(opened(order)).toMatchObject({ order: { person: "user:alice", reason: "asked_for" } });
  expect(opened(order, T0 + REDACT_ORDER_MS)).toHaveProperty("order");
  expect(opened(order, T0 + REDACT_ORDER_MS + 1)).toEqual({ refused: "order_expired" });
  expect(opened(order, T0 - REDACT_ORDER_MS - 1)).toEqual({ refused: "order_expired" });
});

test("a stranger's, a changed one, another mesh's and an unreadable one do not", () => {
  const order = signRedactOrder(FIELDS, OPERATOR);
  expect(opened(signRedactOrder(FIELDS, OTHER))).toEqual({ refused: "key_unknown" });
  const forged = { ...signRedactOrder(FIELDS, OTHER), kid: OPERATOR.kid };
  expect(opened(forged)).toEqual({ refused: "signature_invalid" });
  const bob = signRedactOrder({ ...FIELDS, person: "user:bob" }, OPERATOR);
  expect(opened({ ...order, order: bob.order })).toEqual({ refused: "signature_invalid" });
  expect(opened(order, T0, "other")).toEqual({ refused: "mesh_mismatch" });
  for (const bent of [{ person: "no person" }, { reason: "Free words" }, { person: "" }]) {
    expect(opened(signRedactOrder({ ...FIELDS, ...bent }, OPERATOR))).toEqual({
      refused: "order_malformed",
    });
  }
  const domain = Buffer.from("altrace/v1/redact\0");
  for (const bytes of [Buffer.from([0xff]), Buffer.concat([order.order, Buffer.from([0x78, 1])])]) {
    const signature = OPERATOR.sign(Buffer.concat([domain, bytes]));
    expect(opened({ order: bytes, kid: OPERATOR.kid, signature })).toEqual({
      refused: "order_malformed",
    });
  }
});
