import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import { CONTRACT_END_AHEAD_MS as END_AHEAD_MS } from "../../../mesh/contract-end.ts";
import { COORDINATOR_VERSION_MAX } from "../../../mesh/record.ts";
import {
  RECORD_BYTES_MAX,
  RECORD_REFUSALS,
  type RecordRefusal,
  SMALL_RECORD_BYTES_MAX,
} from "../../../mesh/record-form.ts";
import {
  RecordSchema,
  type Signature,
  type SignedRecord,
  SignedRecordSchema,
  TrustRole,
} from "../../../proto/gen/altrace/v1/record_pb.ts";
import {
  BUNDLE,
  CONTRACT_ID,
  coordinator,
  enrolment,
  kill,
  limit,
  NOW_MS,
  node,
  operator,
  policy,
  reasonOf,
  revive,
  revocation,
  secondOperator,
  sign,
  signLoosely,
  signPayload,
  stranger,
  trust,
  trustedKey,
  trustView,
  virtualKey,
} from "./sample-mesh.ts";

const signed = (bytes: Uint8Array): SignedRecord => fromBinary(SignedRecordSchema, bytes);
const encoded = (record: SignedRecord): Uint8Array => toBinary(SignedRecordSchema, record);

function firstOf(signatures: readonly Signature[]): Signature {
  const [first] = signatures;
  if (!first) throw new Error("no signature");
  return first;
}

const GOOD = sign("agent/payments/bot", kill("stop"));

/** Bytes for each refusal; where two could be given, the first in order of the checks is. */
const REFUSED: { readonly [K in RecordRefusal]: readonly (readonly [string, () => string])[] } = {
  record_too_large: [
    ["bytes over the bus's limit", () => reasonOf(new Uint8Array(RECORD_BYTES_MAX + 1))],
    [
      "padding on a record that carries no bundle",
      () => {
        const { signatures, payload } = signed(GOOD);
        const first = firstOf(signatures);
        // The last of a field that comes twice counts, so the first is free padding.
        const padding = encoded(
          create(SignedRecordSchema, { payload: new Uint8Array(SMALL_RECORD_BYTES_MAX) }),
        );
        const rest = encoded(create(SignedRecordSchema, { payload, signatures: [first] }));
        return reasonOf(Buffer.concat([padding, rest]));
      },
    ],
  ],
  record_malformed: [
    ["no protobuf", () => reasonOf(Buffer.from("not a record at all"))],
    ["a record cut short", () => reasonOf(GOOD.subarray(0, GOOD.length - 1))],
    ["a signed payload that is no record", () => reasonOf(signPayload(Buffer.from([0xff])))],
    [
      "text that is not UTF-8",
      () => {
        const payload = Buffer.from(signed(GOOD).payload);
        payload[payload.indexOf("stop")] = 0xff;
        return reasonOf(signPayload(payload));
      },
    ],
  ],
  field_unknown: [
    [
      "a field beside the payload",
      () => reasonOf(Buffer.concat([GOOD, Buffer.from([0x7a, 0x01, 0x00])])),
    ],
    [
      "a field of the record",
      () =>
        reasonOf(signPayload(Buffer.concat([signed(GOOD).payload, Buffer.from([0xf8, 0x01, 1])]))),
    ],
    [
      "a field inside the op",
      () => {
        const inner = create(RecordSchema, { op: kill("x") as never });
        const [unknown] = [{ no: 15, wireType: 0, data: Uint8Array.of(1) }];
        if (inner.op.case !== "kill") throw new Error("not a kill");
        inner.op.value.$unknown = [unknown];
        const base = fromBinary(RecordSchema, signed(GOOD).payload);
        base.op = inner.op;
        return reasonOf(signPayload(toBinary(RecordSchema, base)));
      },
    ],
    [
      "a field inside a key of the bundle",
      () => {
        const key = trustedKey(coordinator, TrustRole.COORDINATOR);
        key.$unknown = [{ no: 99, wireType: 0, data: Uint8Array.of(1) }];
        return reasonOf(signLoosely("trust", trust(key)));
      },
    ],
    [
      "a field inside a signature",
      () => {
        const record = signed(GOOD);
        const signature = firstOf(record.signatures);
        signature.$unknown = [{ no: 9, wireType: 0, data: Uint8Array.of(1) }];
        return reasonOf(encoded(record));
      },
    ],
  ],
  field_malformed: [
    ["no op", () => reasonOf(signLoosely("global", { case: undefined } as never))],
    ["version 0", () => reasonOf(signLoosely("global", kill(), { v: 0 }))],
    [
      "a version no number holds",
      () => reasonOf(signLoosely("global", kill(), { vBig: 2n ** 53n })),
    ],
    [
      "a first record that follows something",
      () => reasonOf(signLoosely("global", kill(), { prev: Buffer.alloc(32) })),
    ],
    [
      "a later record that follows nothing",
      () => reasonOf(signLoosely("global", kill(), { v: 2 })),
    ],
    [
      "a hash of the wrong length",
      () => reasonOf(signLoosely("global", kill(), { v: 2, prev: Buffer.alloc(31) })),
    ],
    ["a command id that is no UUID", () => reasonOf(signLoosely("global", kill(), { cmdId: "1" }))],
    ["a time before 1970", () => reasonOf(signLoosely("global", kill(), { issuedAtMs: -1 }))],
    [
      "an operator's name of 129 bytes",
      () => reasonOf(signLoosely("global", kill(), { operator: `${"é".repeat(64)}x` })),
    ],
    ["a reason of 257 bytes", () => reasonOf(signLoosely("global", kill("x".repeat(257))))],
    ["a reason with an escape sequence", () => reasonOf(signLoosely("global", kill("\u001b[2J")))],
    ["a cause that is no name", () => reasonOf(signLoosely("global", kill("", "No Name")))],
    [
      "a revive's reason of 257 bytes",
      () => reasonOf(signLoosely("global", revive("x".repeat(257)))),
    ],
  ],
  signatures_malformed: [
    ["no signature", () => reasonOf(encoded({ ...signed(GOOD), signatures: [] }))],
    [
      "five signatures",
      () => {
        const record = signed(GOOD);
        const first = firstOf(record.signatures);
        return reasonOf(encoded({ ...record, signatures: [first, first, first, first, first] }));
      },
    ],
    [
      "a signature of 63 bytes",
      () => {
        const record = signed(GOOD);
        const first = firstOf(record.signatures);
        first.sig = first.sig.subarray(1);
        return reasonOf(encoded(record));
      },
    ],
    [
      "a kid that is none",
      () => {
        const record = signed(GOOD);
        const first = firstOf(record.signatures);
        first.kid = first.kid.toUpperCase();
        return reasonOf(encoded(record));
      },
    ],
  ],
  key_unknown: [
    ["a key nobody certified", () => reasonOf(sign("global", kill(), stranger))],
    [
      "a coordinator that the bundle no longer lists",
      () => {
        const view = trustView(BUNDLE.filter((key) => key.kid !== coordinator.kid));
        return reasonOf(sign("global", kill(), coordinator), { trust: view });
      },
    ],
  ],
  signature_invalid: [
    [
      "a payload changed by one bit",
      () => {
        const record = signed(GOOD);
        const payload = Buffer.from(record.payload);
        payload[payload.indexOf("stop")] = (payload[payload.indexOf("stop")] as number) ^ 1;
        return reasonOf(encoded({ ...record, payload }));
      },
    ],
    [
      "a signature for another purpose",
      () => {
        const { payload } = signed(GOOD);
        const sig = operator.sign(Buffer.concat([Buffer.from("altrace/v1/beat\0"), payload]));
        const signatures = [{ kid: operator.kid, sig }];
        return reasonOf(encoded(create(SignedRecordSchema, { payload, signatures })));
      },
    ],
    [
      "another key's signature under a trusted kid",
      () => {
        const record = signed(sign("global", kill(), stranger));
        const first = firstOf(record.signatures);
        first.kid = operator.kid;
        return reasonOf(encoded(record));
      },
    ],
    [
      "garbage is not decoded before its signature is checked",
      () => {
        const record = signed(GOOD);
        return reasonOf(encoded({ ...record, payload: Buffer.from([0xff, 0xff]) }));
      },
    ],
  ],
  key_expired: [
    ...(
      [
        ["a key that was valid until a millisecond ago", { notAfterMs: BigInt(NOW_MS - 1) }],
        ["a key that will be valid in a millisecond", { notBeforeMs: BigInt(NOW_MS + 1) }],
      ] as const
    ).map(([title, validity]) => {
      const key = trustedKey(coordinator, TrustRole.COORDINATOR, validity);
      const view = trustView([key]);
      return [title, () => reasonOf(sign("global", kill(), coordinator), { trust: view })] as const;
    }),
  ],
  mesh_mismatch: [
    ["another mesh's record", () => reasonOf(sign("global", kill(), operator, { mesh: "other" }))],
    ["a record of no mesh", () => reasonOf(sign("global", kill(), operator, { mesh: "" }))],
  ],
  scope_malformed: [
    ...[
      "",
      "Global",
      "team",
      "team/",
      "team/A",
      "agent/a",
      "agent/a/b/c",
      "team/a/../b",
      "key/x",
    ].map((scope) => [`scope "${scope}"`, () => reasonOf(signLoosely(scope, kill()))] as const),
  ],
  subject_mismatch: [
    [
      "another agent's subject",
      () => reasonOf(GOOD, { subject: "alt.ctl.kill.agent.payments.other" }),
    ],
    ["the team's subject", () => reasonOf(GOOD, { subject: "alt.bc.kill.team.payments" })],
    ["a longer subject", () => reasonOf(GOOD, { subject: "alt.fast.kill.agent.payments.bot.x" })],
  ],
  op_not_allowed: [
    ["reviving a contract", () => reasonOf(signLoosely(`contract/${CONTRACT_ID}`, revive()))],
    ["reviving a key", () => reasonOf(signLoosely("key/abcdefgh", revive()))],
    ["reviving a node", () => reasonOf(signLoosely("node/n1", revive()))],
    ["a policy on a team", () => reasonOf(signLoosely("team/a", policy("{}")))],
    ["killing the policy", () => reasonOf(signLoosely("policy", kill()))],
    ["killing the trust bundle", () => reasonOf(signLoosely("trust", kill()))],
    ["killing a budget", () => reasonOf(signLoosely("budget/team/a", kill()))],
    ["a limit on an agent", () => reasonOf(signLoosely("agent/a/b", limit(1n)))],
    ["a key on an agent", () => reasonOf(signLoosely("agent/a/b", virtualKey()))],
    ["a bundle on a team", () => reasonOf(signLoosely("team/a", trust(...BUNDLE)))],
  ],
  end_too_far: [
    [
      "a contract that would end later than any does",
      () => reasonOf(sign(`contract/${CONTRACT_ID}`, revocation(NOW_MS + END_AHEAD_MS + 1))),
    ],
    [
      "one of an unknown end, revoked a day from now",
      () =>
        reasonOf(
          sign(`contract/${CONTRACT_ID}`, kill(), coordinator, { issuedAtMs: NOW_MS + 9e7 }),
        ),
    ],
  ],
  signer_not_allowed: [
    ["a coordinator's revive", () => reasonOf(sign("global", revive(), coordinator))],
    ["a coordinator's policy", () => reasonOf(sign("policy", policy("{}"), coordinator))],
    ["a coordinator's limit", () => reasonOf(sign("budget/team/a", limit(1n), coordinator))],
    ["a coordinator's key", () => reasonOf(sign("key/abcdefgh", virtualKey(), coordinator))],
    ["a coordinator's bundle", () => reasonOf(sign("trust", trust(...BUNDLE), coordinator))],
    ["a coordinator removing a key", () => reasonOf(sign("key/abcdefgh", kill(), coordinator))],
    ["a coordinator removing a node", () => reasonOf(sign("node/n1", kill(), coordinator))],
    [
      "a coordinator numbering beyond an operator's reach",
      () => reasonOf(sign("global", kill(), coordinator, { v: COORDINATOR_VERSION_MAX + 1 })),
    ],
    ["an enrolment key's kill", () => reasonOf(sign("global", kill(), enrolment))],
    ["an enrolment key's bundle", () => reasonOf(sign("trust", trust(...BUNDLE), enrolment))],
    [
      "an enrolment key replacing a node's key",
      () => reasonOf(sign("node/n1", trust(trustedKey(node, TrustRole.NODE)), enrolment, { v: 2 })),
    ],
    ["a node's kill", () => reasonOf(sign("global", kill(), node))],
    [
      "a node's own key, renewed by itself",
      () => reasonOf(sign("node/n1", trust(trustedKey(node, TrustRole.NODE)), node)),
    ],
    [
      "the bundle, by an operator whom only the bundle certifies",
      () => reasonOf(sign("trust", trust(...BUNDLE), secondOperator)),
    ],
  ],
};

describe("a record is refused with", () => {
  test("each refusal of the registry at least once", () => {
    expect(Object.keys(REFUSED).sort()).toEqual([...RECORD_REFUSALS].sort());
    for (const cases of Object.values(REFUSED)) expect(cases.length).toBeGreaterThan(0);
  });

  const cases = Object.entries(REFUSED).flatMap(([reason, each]) =>
    each.map(([title, run]) => ({ reason, title, run })),
  );
  test.each(cases)("$reason: $title", ({ reason, run }) => {
    expect(run()).toBe(reason);
  });
});
