import { createHash } from "node:crypto";
import { create, toBinary } from "@bufbuild/protobuf";
import {
  type MeshRecord,
  nextRecord,
  type OpenContext,
  type OpenedRecord,
  openRecord,
  type RecordFields,
  signRecord,
} from "../../../mesh/record.ts";
import type { RecordOp } from "../../../mesh/record-op.ts";
import { personTag } from "../../../mesh/redaction.ts";
import { TrustView } from "../../../mesh/trust.ts";
import type { Signer } from "../../../ports/keys.ts";
import { uuidV7 } from "../../../ports/random.ts";
import { twinKeys } from "../../../ports/twin-keys.ts";
import { twinRandom } from "../../../ports/twin-random.ts";
import {
  AccountLimitSchema,
  AccountLimitsSchema,
  KeySchema,
  KillSchema,
  LimitSchema,
  PolicySchema,
  RecordSchema,
  type Redact,
  RedactSchema,
  ReviveSchema,
  SignedRecordSchema,
  type TrustedKey,
  TrustedKeySchema,
  TrustRole,
  TrustSchema,
  Unit,
} from "../../../proto/gen/altrace/v1/record_pb.ts";

/** An installation with one key of each role, and records of every op. */

export const MESH = "mesh.test";
export const NOW_MS = Date.UTC(2026, 10, 22, 9, 0, 0);
export const CONTRACT_ID = "c".repeat(43);

const random = twinRandom(1);
export const keys = twinKeys(random);
export const operator = keys.loadOrCreate("operator");
export const secondOperator = keys.loadOrCreate("second-operator");
export const coordinator = keys.loadOrCreate("coordinator");
export const enrolment = keys.loadOrCreate("enrolment");
export const node = keys.loadOrCreate("node");
export const stranger = keys.loadOrCreate("stranger");

export function trustedKey(
  signer: Signer,
  role: TrustRole,
  validity: { notBeforeMs?: bigint; notAfterMs?: bigint } = {},
): TrustedKey {
  const { kid, publicKey } = signer;
  return create(TrustedKeySchema, { kid, publicKey, role, ...validity });
}

export const BUNDLE = [
  trustedKey(secondOperator, TrustRole.OPERATOR),
  trustedKey(coordinator, TrustRole.COORDINATOR),
  trustedKey(enrolment, TrustRole.ENROLMENT),
];

export const kill = (reason = "", cause = ""): RecordOp => ({
  case: "kill",
  value: create(KillSchema, { reason, cause }),
});
export const revocation = (contractEndMs: number): RecordOp => ({
  case: "kill",
  value: create(KillSchema, { contractEndMs: BigInt(contractEndMs) }),
});
export const revive = (reason = ""): RecordOp => ({
  case: "revive",
  value: create(ReviveSchema, { reason }),
});
export const trust = (...trusted: TrustedKey[]): RecordOp => ({
  case: "trust",
  value: create(TrustSchema, { keys: trusted }),
});
export const policy = (text: string): RecordOp => {
  const body = Buffer.from(text);
  const sha256 = createHash("sha256").update(body).digest();
  return {
    case: "policy",
    value: create(PolicySchema, { sha256, size: BigInt(body.length), body }),
  };
};
export const limit = (
  amount: bigint,
  unit: Unit = Unit.USD_MICROS,
  window = "total",
): RecordOp => ({
  case: "limit",
  value: create(LimitSchema, {
    of: { case: "account", value: { unit, window, limit: amount } },
  }),
});
export const limits = (...of: readonly [Unit, string][]): RecordOp => {
  const all = of.map(([unit, window]) => ({ unit, window, limit: 1n }));
  const value = { limits: all.map((one) => create(AccountLimitSchema, one)) };
  return {
    case: "limit",
    value: create(LimitSchema, {
      of: { case: "accounts", value: create(AccountLimitsSchema, value) },
    }),
  };
};
export const distrust = (
  milli: bigint,
  of: { readonly era?: bigint; readonly since?: Uint8Array } = {},
): RecordOp => ({
  case: "limit",
  value: create(LimitSchema, { of: { case: "distrust", value: { milli, ...of } } }),
});
export const virtualKey = (agent = "payments/bot"): RecordOp => ({
  case: "key",
  value: create(KeySchema, { sha256: Buffer.alloc(32, 1), agent }),
});

export const ORDER_SCOPE = "redaction/01998f3e-0000-7000-8000-000000000001";
export const redact = (wrong: Partial<Redact> = {}): RecordOp => ({
  case: "redact",
  value: create(RedactSchema, {
    ...{ person: personTag(MESH, "user:alice"), madeByMs: BigInt(NOW_MS), reason: "asked_for" },
    ...wrong,
  }),
});

/** One good record of every kind: its scope, its op, and the roles that may sign it. */
export const KINDS: readonly {
  readonly scope: string;
  readonly op: RecordOp;
  readonly signers: readonly ("operator" | "coordinator" | "enrolment")[];
}[] = [
  { scope: "global", op: kill(), signers: ["operator", "coordinator"] },
  { scope: "team/payments", op: kill(), signers: ["operator", "coordinator"] },
  { scope: "agent/payments/bot", op: kill(), signers: ["operator", "coordinator"] },
  { scope: `contract/${CONTRACT_ID}`, op: kill(), signers: ["operator", "coordinator"] },
  { scope: "key/abcdefgh", op: kill(), signers: ["operator"] },
  { scope: "node/n1", op: kill(), signers: ["operator"] },
  { scope: "global", op: revive(), signers: ["operator"] },
  { scope: "team/payments", op: revive(), signers: ["operator"] },
  { scope: "agent/payments/bot", op: revive(), signers: ["operator"] },
  { scope: "policy", op: policy("{}"), signers: ["operator"] },
  { scope: "budget/team/payments", op: limit(1n), signers: ["operator"] },
  { scope: "distrust/openai/gpt-4.1", op: distrust(1_200n), signers: ["operator", "coordinator"] },
  { scope: "key/abcdefgh", op: virtualKey(), signers: ["operator"] },
  { scope: ORDER_SCOPE, op: redact(), signers: ["operator"] },
  { scope: "trust", op: trust(...BUNDLE), signers: ["operator"] },
  {
    scope: "node/n1",
    op: trust(trustedKey(node, TrustRole.NODE)),
    signers: ["operator", "enrolment"],
  },
];

/** The view of a replica that has merged the bundle, and node n1 if asked to. */
export function trustView(bundle = BUNDLE, withNode = true): TrustView {
  const view = new TrustView({ mesh: MESH, operatorPublicKey: operator.publicKey });
  view.learn({ parsed: { kind: "trust" }, op: trust(...bundle) });
  if (withNode) {
    const op = trust(trustedKey(node, TrustRole.NODE));
    view.learn({ parsed: { kind: "node", id: "n1" }, op });
  }
  return view;
}

export function context(overrides: Partial<OpenContext> = {}): OpenContext {
  return { mesh: MESH, verify: keys.verify, trust: trustView(), nowMs: NOW_MS, ...overrides };
}

export function fields(
  scope: string,
  op: RecordOp,
  overrides: Partial<RecordFields> = {},
): RecordFields {
  return {
    mesh: MESH,
    v: 1,
    scope,
    prev: new Uint8Array(0),
    cmdId: uuidV7(NOW_MS, random),
    issuedAtMs: NOW_MS,
    operator: "alice@example.test",
    op,
    ...overrides,
  };
}

export function sign(
  scope: string,
  op: RecordOp,
  signer: Signer = operator,
  overrides: Partial<RecordFields> = {},
): Uint8Array {
  const prev = (overrides.v ?? 1) > 1 ? Buffer.alloc(32, 9) : new Uint8Array(0);
  return signRecord(fields(scope, op, { prev, ...overrides }), signer);
}

/** The record, or an error that says why it is none. */
export function opened(outcome: OpenedRecord): MeshRecord {
  if (!outcome.ok) throw new Error(`${outcome.reason}: ${outcome.detail}`);
  return outcome.record;
}

/** A signed and opened record. */
export function record(
  scope: string,
  op: RecordOp,
  overrides: Partial<RecordFields> = {},
  signer: Signer = operator,
): MeshRecord {
  return opened(openRecord(sign(scope, op, signer, overrides), context()));
}

/** The record that follows another of its scope. */
export function after(current: MeshRecord, op: RecordOp): MeshRecord {
  const { v, prev, ...rest } = fields(current.scope, op);
  return opened(openRecord(nextRecord(current, rest, operator), context()));
}

/** Why bytes are no record, or `ok`. */
export function reasonOf(bytes: Uint8Array, overrides: Partial<OpenContext> = {}): string {
  const outcome = openRecord(bytes, context(overrides));
  return outcome.ok ? "ok" : outcome.reason;
}

/** Signs a payload as it is, whatever it holds. */
export function signPayload(payload: Uint8Array, signer: Signer = operator): Uint8Array {
  const sig = signer.sign(Buffer.concat([Buffer.from("altrace/v1/record\0"), payload]));
  const signatures = [{ kid: signer.kid, sig }];
  return toBinary(SignedRecordSchema, create(SignedRecordSchema, { payload, signatures }));
}

/** Signs a record that `signRecord` would not make. */
export function signLoosely(
  scope: string,
  op: RecordOp,
  overrides: Partial<ReturnType<typeof fields>> & { vBig?: bigint } = {},
): Uint8Array {
  const { v, vBig, issuedAtMs, ...rest } = {
    ...fields(scope, op, overrides),
    vBig: overrides.vBig,
  };
  const message = create(RecordSchema, {
    ...rest,
    v: vBig ?? BigInt(v),
    issuedAtMs: BigInt(issuedAtMs),
  });
  return signPayload(toBinary(RecordSchema, message));
}
