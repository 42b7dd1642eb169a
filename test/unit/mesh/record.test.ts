import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import {
  COORDINATOR_VERSION_MAX,
  nextRecord,
  openRecord,
  RecordError,
  restoreRecord,
  signRecord,
} from "../../../mesh/record.ts";
import { type RecordRefusal, VERSION_MAX } from "../../../mesh/record-form.ts";
import type { RecordOp } from "../../../mesh/record-op.ts";
import {
  type SignedRecord,
  SignedRecordSchema,
  TrustRole,
} from "../../../proto/gen/altrace/v1/record_pb.ts";
import { parseScope } from "../../../proto/ids.ts";
import {
  COMMITTED_PREFIX,
  COMMITTED_TO_NODES,
  controlSubject,
  FAST_PATTERN,
  FAST_PREFIX,
  withPrefix,
} from "../../../proto/subjects.ts";
import {
  context,
  coordinator,
  enrolment,
  fields,
  KINDS,
  kill,
  MESH,
  NOW_MS,
  opened,
  operator,
  policy,
  reasonOf,
  revive,
  secondOperator,
  sign,
  stranger,
  trustedKey,
  trustView,
} from "./sample-mesh.ts";

const SIGNERS = { operator: secondOperator, coordinator, enrolment } as const;
const GOOD = sign("agent/payments/bot", kill("stop"));

const signed = (bytes: Uint8Array): SignedRecord => fromBinary(SignedRecordSchema, bytes);
const encoded = (record: SignedRecord): Uint8Array => toBinary(SignedRecordSchema, record);

describe("who may sign what", () => {
  const cases = KINDS.flatMap((kind) =>
    (["operator", "coordinator", "enrolment"] as const).map((role) => ({
      title: `${role}: ${kind.op.case} of ${kind.scope}`,
      kind,
      // The pinned operator alone signs bundles.
      signer: kind.scope === "trust" && role === "operator" ? operator : SIGNERS[role],
      expected: kind.signers.includes(role) ? "ok" : "signer_not_allowed",
    })),
  );
  test.each(cases)("$title is $expected", ({ kind, signer, expected }) => {
    expect(reasonOf(sign(kind.scope, kind.op, signer))).toBe(expected);
  });
});

describe("a good record", () => {
  test.each(KINDS)("is read as it was written: $op.case of $scope", ({ scope, op }) => {
    const written = fields(scope, op);
    const bytes = signRecord(written, operator);
    const parsed = parseScope(scope);
    if (!parsed) throw new Error("no scope");
    const subject = controlSubject(parsed);
    const read = opened(openRecord(bytes, context({ subject })));
    expect(read).toMatchObject({
      scope,
      parsed,
      v: 1,
      cmdId: written.cmdId,
      issuedAtMs: NOW_MS,
      operator: "alice@example.test",
      kids: [operator.kid],
    });
    expect(read.op.case).toBe(op.case);
    expect(read.prev).toHaveLength(0);
    expect(Buffer.compare(read.bytes, bytes)).toBe(0);
    expect(read.hash).toHaveLength(32);
    expect(read.hashHex).toBe(Buffer.from(read.hash).toString("hex"));
  });

  test("counts on the stream's, the fast and the committed subject of its scope", () => {
    for (const prefix of ["alt.ctl", "alt.fast", "alt.bc"]) {
      expect(reasonOf(GOOD, { subject: `${prefix}.kill.agent.payments.bot` })).toBe("ok");
    }
  });

  test.each(KINDS)(
    "of $scope with $op.case is told nodes on one of the subjects that they hear",
    ({ scope }) => {
      const parsed = parseScope(scope);
      if (!parsed) throw new Error("no scope");
      const committed = withPrefix(controlSubject(parsed), COMMITTED_PREFIX);
      const hears = (pattern: string) =>
        new RegExp(`^${pattern.replaceAll(".", "\\.").replace("*", "[^.]+").replace(">", ".+")}$`);
      const isCopied = COMMITTED_TO_NODES.some((pattern) => hears(pattern).test(committed));
      const isSaid = hears(FAST_PATTERN).test(withPrefix(controlSubject(parsed), FAST_PREFIX));
      expect([isCopied, isSaid].filter(Boolean)).toHaveLength(1);
    },
  );

  test("counts by one good signature among bad ones, and names that one alone", () => {
    const record = signed(GOOD);
    const { signatures } = signed(sign("global", kill(), coordinator));
    const both = encoded({ ...record, signatures: [...signatures, ...record.signatures] });
    const read = opened(openRecord(both, context()));
    expect(read.kids).toEqual([operator.kid]);
    expect(read.hashHex).toBe(opened(openRecord(GOOD, context())).hashHex);
  });

  test("may be signed by a key within both ends of its validity", () => {
    const validity = { notBeforeMs: BigInt(NOW_MS), notAfterMs: BigInt(NOW_MS) };
    const view = trustView([trustedKey(coordinator, TrustRole.COORDINATOR, validity)]);
    expect(reasonOf(sign("global", kill(), coordinator), { trust: view })).toBe("ok");
  });

  test("may be as large as its limits allow", () => {
    const longest = { operator: "o".repeat(128), v: VERSION_MAX, prev: Buffer.alloc(32) };
    expect(reasonOf(sign("global", kill("r".repeat(256)), operator, longest))).toBe("ok");
    expect(reasonOf(sign("policy", policy("p".repeat(512 * 1024))))).toBe("ok");
    const at = { v: COORDINATOR_VERSION_MAX };
    expect(reasonOf(sign("global", kill(), coordinator, at))).toBe("ok");
  });
});

describe("making records", () => {
  test("the next record of a scope counts on from the current one and names its hash", () => {
    const first = opened(openRecord(GOOD, context()));
    const { v, prev, ...rest } = fields(first.scope, revive());
    const second = opened(openRecord(nextRecord(first, rest, operator), context()));
    expect(second.v).toBe(2);
    expect(Buffer.compare(second.prev, first.hash)).toBe(0);
    const alone = opened(openRecord(nextRecord(undefined, rest, operator), context()));
    expect([alone.v, alone.prev.length]).toEqual([1, 0]);
  });

  test("a record cannot follow one of another scope", () => {
    const first = opened(openRecord(GOOD, context()));
    const { v, prev, ...rest } = fields("global", kill());
    expect(() => nextRecord(first, rest, operator)).toThrow(RecordError);
  });

  test("what no replica would take is not made", () => {
    const wrong: readonly [string, RecordOp, Partial<ReturnType<typeof fields>>, RecordRefusal][] =
      [
        ["nowhere", kill(), {}, "scope_malformed"],
        ["policy", kill(), {}, "op_not_allowed"],
        ["global", kill("x".repeat(257)), {}, "field_malformed"],
        ["global", kill(), { v: 2 }, "field_malformed"],
        ["global", kill(), { cmdId: "" }, "field_malformed"],
      ];
    for (const [scope, op, overrides, reason] of wrong) {
      try {
        signRecord(fields(scope, op, overrides), operator);
        expect.unreachable(`${scope} was signed`);
      } catch (error) {
        expect(error).toBeInstanceOf(RecordError);
        expect((error as RecordError).reason).toBe(reason);
      }
    }
  });
});

describe("restoring from disk", () => {
  test("keeps what was merged, though its key has gone since", () => {
    const bytes = sign("global", kill("still"), stranger);
    expect(reasonOf(bytes)).toBe("key_unknown");
    const outcome = restoreRecord(bytes, { mesh: MESH });
    expect(outcome).toMatchObject({ ok: true, record: { scope: "global", kids: [] } });
  });

  test("refuses what is damaged or of another mesh", () => {
    const reason = (bytes: Uint8Array, mesh = MESH): string => {
      const outcome = restoreRecord(bytes, { mesh });
      return outcome.ok ? "ok" : outcome.reason;
    };
    expect(reason(GOOD)).toBe("ok");
    expect(reason(GOOD, "other")).toBe("mesh_mismatch");
    expect(reason(GOOD.subarray(3))).not.toBe("ok");
    expect(reason(Buffer.concat([GOOD, Buffer.from([0x7a, 0x01, 0x00])]))).toBe("field_unknown");
  });
});
