import { create } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import {
  KeySchema,
  LimitSchema,
  TrustRole,
  Unit,
} from "../../../proto/gen/altrace/v1/record_pb.ts";
import {
  BUNDLE,
  coordinator,
  distrust,
  limit,
  limits,
  node,
  ORDER_SCOPE,
  operator,
  policy,
  reasonOf,
  redact,
  signLoosely,
  stranger,
  trust,
  trustedKey,
} from "./sample-mesh.ts";

describe("a record is refused as field_malformed for", () => {
  test.each([
    ["no agent", { agent: "payments" }],
    ["a hash of 31 bytes", { sha256: Buffer.alloc(31) }],
    ["a contract that is no id", { contract: "c" }],
    ["an end before its start", { notBeforeMs: 2n, notAfterMs: 1n }],
    ["a negative time", { notBeforeMs: -1n }],
  ])("a key with %s", (_title, wrong) => {
    const good = { sha256: Buffer.alloc(32), agent: "payments/bot" };
    const op = { case: "key", value: create(KeySchema, { ...good, ...wrong }) } as const;
    expect(reasonOf(signLoosely("key/abcdefgh", op))).toBe("field_malformed");
  });

  test.each([
    ["no unit", limit(1n, Unit.UNSPECIFIED)],
    ["a unit nobody knows", limit(1n, 99 as Unit)],
    ["a window nobody knows", limit(1n, Unit.CALLS, "week:2026-47")],
    ["an amount no number holds", limit(2n ** 53n)],
    ["a distrust in place of an account", distrust(1_100n)],
    ["no limits", limits()],
    ["one unit and window twice", limits([Unit.CALLS, "total"], [Unit.CALLS, "total"])],
    ["more limits than there are", limits(...Array.from({ length: 17 }, hourOf))],
    ["one of many that is flawed", limits([Unit.CALLS, "total"], [Unit.CALLS, "week:2026-47"])],
    ["nothing in it", { case: "limit", value: create(LimitSchema, {}) } as const],
  ])("a limit with %s", (_title, op) => {
    expect(reasonOf(signLoosely("budget/team/payments", op))).toBe("field_malformed");
  });

  test.each([
    ["the name of a person", { person: Buffer.from("user:alice") }],
    ["a negative time", { madeByMs: -1n }],
    ["a time that no number holds", { madeByMs: 2n ** 53n }],
    ["a reason of two words", { reason: "asked for" }],
  ])("an order to erase a person with %s", (_title, wrong) => {
    expect(reasonOf(signLoosely(ORDER_SCOPE, redact(wrong)))).toBe("field_malformed");
  });

  test.each([
    ["below 1", distrust(999n)],
    ["above 100", distrust(100_001n)],
    ["that is an account's limit", limit(1_100n)],
  ])("a distrust %s", (_title, op) => {
    expect(reasonOf(signLoosely("distrust/openai/gpt-4.1", op))).toBe("field_malformed");
  });

  test.each([
    ["another hash than its body's", { sha256: Buffer.alloc(32) }],
    ["another size than its body's", { size: 3n }],
    ["no body", { body: new Uint8Array(0), size: 0n }],
    ["a body over the limit", { body: new Uint8Array(512 * 1024 + 1), size: 524_289n }],
  ])("a policy with %s", (_title, wrong) => {
    const op = policy("{}");
    if (op.case !== "policy") throw new Error("not a policy");
    Object.assign(op.value, wrong);
    expect(reasonOf(signLoosely("policy", op))).toBe("field_malformed");
  });

  test.each([
    ["no key", trust()],
    ["a node's key", trust(trustedKey(node, TrustRole.NODE))],
    ["a key without a role", trust(trustedKey(coordinator, TrustRole.UNSPECIFIED))],
    ["one key twice", trust(...BUNDLE, ...BUNDLE)],
    [
      "a kid that is not its key's",
      trust({ ...trustedKey(coordinator, TrustRole.COORDINATOR), kid: operator.kid }),
    ],
    [
      "a key of 31 bytes",
      trust({ ...trustedKey(coordinator, TrustRole.COORDINATOR), publicKey: Buffer.alloc(31) }),
    ],
    [
      "an nkey that is none",
      trust({ ...trustedKey(coordinator, TrustRole.COORDINATOR), nkey: "u1 >" }),
    ],
  ])("a bundle with %s", (_title, op) => {
    expect(reasonOf(signLoosely("trust", op))).toBe("field_malformed");
  });

  test.each([
    ["no key", trust()],
    ["two keys", trust(trustedKey(node, TrustRole.NODE), trustedKey(stranger, TrustRole.NODE))],
    ["a coordinator's key", trust(trustedKey(stranger, TrustRole.COORDINATOR))],
  ])("a node with %s", (_title, op) => {
    expect(reasonOf(signLoosely("node/n1", op))).toBe("field_malformed");
  });
});

function hourOf(_: unknown, hour: number): [Unit, string] {
  return [Unit.CALLS, `hour:2026-11-22T${String(hour).padStart(2, "0")}`];
}
