import { createHash } from "node:crypto";
import { create, fromBinary, type Message, toBinary } from "@bufbuild/protobuf";
import { errorMessage } from "../ports/error-message.ts";
import type { Keys, Signer } from "../ports/keys.ts";
import {
  type Record as RecordMessage,
  RecordSchema,
  type SignedRecord,
  SignedRecordSchema,
} from "../proto/gen/altrace/v1/record_pb.ts";
import { parseScope, type Scope } from "../proto/ids.ts";
import { isSubjectOf } from "../proto/subjects.ts";
import { distrustOf } from "./distrust-of.ts";
import {
  flawOfOp,
  isOpOfScope,
  isShortText,
  OPERATOR_BYTES_MAX,
  type RecordOp,
} from "./record-op.ts";
import { isInForce, roleMaySign, type TrustedKey, type TrustView } from "./trust.ts";

// One record of the mesh's state: how it is read, and how it is made.
//
// R1. A signature is checked over the bytes that came, before anything in them is looked at.
// R2. Nobody encodes a payload twice: what was signed is kept, stored and passed on as it came.
// R3. A field this program does not know is a refusal: it may change what the known ones mean.
// R4. A record says the same to everyone: apart from the trust view and its clock, the answer
//     depends on the bytes alone.

/** Bytes of a SignedRecord at most; the bus carries no more. */
export const RECORD_BYTES_MAX = 1_000_000;
/** Bytes of a SignedRecord that carries no policy bundle. */
export const SMALL_RECORD_BYTES_MAX = 16 * 1024;
export const SIGNATURES_MAX = 4;
/** What a coordinator may number up to, so that an operator can always go one higher. */
export const COORDINATOR_VERSION_MAX = 2 ** 40;
export const VERSION_MAX = Number.MAX_SAFE_INTEGER;

const RECORD_DOMAIN = Buffer.from("altrace/v1/record\0");
const KID_PATTERN = /^[0-9a-f]{16}$/;
const UUID_PATTERN = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/** Why bytes are not a record that counts. */
export const RECORD_REFUSALS = [
  /** Over RECORD_BYTES_MAX, or over SMALL_RECORD_BYTES_MAX without a policy bundle. */
  "record_too_large",
  /** Not the protobuf message it should be. */
  "record_malformed",
  /** A field this program does not know. */
  "field_unknown",
  /** A known field out of its bounds. */
  "field_malformed",
  /** No signature, or more than SIGNATURES_MAX. */
  "signatures_malformed",
  /** No signature names a trusted key. */
  "key_unknown",
  /** No signature by a trusted key is one over these bytes. */
  "signature_invalid",
  /** Signed well, by keys that are not valid now. */
  "key_expired",
  "mesh_mismatch",
  "scope_malformed",
  /** It came on the subject of another scope. */
  "subject_mismatch",
  /** No signer may ever put that op on that scope. */
  "op_not_allowed",
  /** The op exists for that scope, but takes another role's signature. */
  "signer_not_allowed",
] as const;
export type RecordRefusal = (typeof RECORD_REFUSALS)[number];

export type MeshRecord = {
  readonly scope: string;
  readonly parsed: Scope;
  /** Version of the scope, 1 for the first. */
  readonly v: number;
  /** Hash of the record this one was built on; empty for the first. */
  readonly prev: Uint8Array;
  /** SHA-256 of the payload. */
  readonly hash: Uint8Array;
  readonly hashHex: string;
  readonly cmdId: string;
  /** Wall clock of the issuer, ms since the Unix epoch. Nothing is decided by it. */
  readonly issuedAtMs: number;
  readonly operator: string;
  readonly op: RecordOp;
  /** The SignedRecord as it came. */
  readonly bytes: Uint8Array;
  /** Keys whose signature was verified and counts for this op; empty after `restoreRecord`. */
  readonly kids: readonly string[];
};

export type OpenContext = {
  readonly mesh: string;
  /** Subject the bytes came on; absent for a record that came inside another message. */
  readonly subject?: string;
  readonly verify: Keys["verify"];
  readonly trust: TrustView;
  /** Wall clock, ms since the Unix epoch. */
  readonly nowMs: number;
};

export type OpenedRecord =
  | { readonly ok: true; readonly record: MeshRecord }
  | { readonly ok: false; readonly reason: RecordRefusal; readonly detail: string };

/** Reads a record that came from outside, by R1 to R4. Never throws for what the bytes hold. */
export function openRecord(bytes: Uint8Array, context: OpenContext): OpenedRecord {
  try {
    const signed = decodeSigned(bytes);
    const signers = verifiedSigners(signed, context);
    const record = decodeRecord(bytes, signed.payload, context);
    const kids = authorisedKids(record, signers, context);
    return { ok: true, record: hashed(signed.payload, { ...record, kids }) };
  } catch (error) {
    if (error instanceof Refusal) return { ok: false, reason: error.reason, detail: error.message };
    throw error;
  }
}

/**
 * Reads a record from this replica's own disk, where it was written after `openRecord` took it.
 *
 * Its shape is checked and its signatures are not: a key that was valid when the record was merged
 * may have expired since, and a kill must hold all the same.
 */
export function restoreRecord(bytes: Uint8Array, context: { readonly mesh: string }): OpenedRecord {
  try {
    const { payload } = decodeSigned(bytes);
    const record = decodeRecord(bytes, payload, context);
    return { ok: true, record: hashed(payload, { ...record, kids: [] }) };
  } catch (error) {
    if (error instanceof Refusal) return { ok: false, reason: error.reason, detail: error.message };
    throw error;
  }
}

export type RecordFields = {
  readonly mesh: string;
  readonly v: number;
  readonly scope: string;
  readonly prev: Uint8Array;
  readonly cmdId: string;
  readonly issuedAtMs: number;
  readonly operator: string;
  readonly op: RecordOp;
};

/** A record that cannot be made: no replica would take it, so the caller built it wrong. */
export class RecordError extends Error {
  readonly reason: RecordRefusal;
  constructor(reason: RecordRefusal, detail: string) {
    super(`${reason}: ${detail}`);
    this.name = "RecordError";
    this.reason = reason;
  }
}

/**
 * Makes a record and signs it.
 *
 * @returns The bytes of the SignedRecord.
 * @throws RecordError A field is out of bounds. Whether the signer may sign it is not looked at.
 */
export function signRecord(fields: RecordFields, signer: Signer): Uint8Array {
  const { v, issuedAtMs, ...rest } = fields;
  const message = create(RecordSchema, { ...rest, v: BigInt(v), issuedAtMs: BigInt(issuedAtMs) });
  const payload = toBinary(RecordSchema, message);
  const sig = signer.sign(signedBytes(payload));
  const signatures = [{ kid: signer.kid, sig }];
  const bytes = toBinary(SignedRecordSchema, create(SignedRecordSchema, { payload, signatures }));
  const read = restoreRecord(bytes, { mesh: fields.mesh });
  if (!read.ok) throw new RecordError(read.reason, read.detail);
  return bytes;
}

/**
 * Makes the record that follows `current` in its scope, or the scope's first.
 *
 * @throws RecordError As `signRecord`.
 */
export function nextRecord(
  current: MeshRecord | undefined,
  fields: Omit<RecordFields, "v" | "prev">,
  signer: Signer,
): Uint8Array {
  if (current && current.scope !== fields.scope) {
    throw new RecordError("scope_malformed", `${fields.scope} does not follow ${current.scope}`);
  }
  const v = (current?.v ?? 0) + 1;
  return signRecord({ ...fields, v, prev: current?.hash ?? new Uint8Array(0) }, signer);
}

class Refusal extends Error {
  readonly reason: RecordRefusal;
  constructor(reason: RecordRefusal, detail: string) {
    super(detail);
    this.reason = reason;
  }
}

type ReadRecord = Omit<MeshRecord, "hash" | "hashHex" | "kids">;

function decodeSigned(bytes: Uint8Array): SignedRecord {
  if (bytes.length > RECORD_BYTES_MAX) {
    throw new Refusal("record_too_large", `${bytes.length} bytes`);
  }
  const signed = decode(() => fromBinary(SignedRecordSchema, bytes));
  refuseUnknownFields(signed, "SignedRecord");
  const count = signed.signatures.length;
  if (count === 0 || count > SIGNATURES_MAX) {
    throw new Refusal("signatures_malformed", `${count} signatures`);
  }
  for (const { kid, sig } of signed.signatures) {
    if (!KID_PATTERN.test(kid)) throw new Refusal("signatures_malformed", "kid");
    if (sig.length !== 64) throw new Refusal("signatures_malformed", `${sig.length} bytes`);
  }
  return signed;
}

function verifiedSigners(signed: SignedRecord, context: OpenContext): readonly TrustedKey[] {
  const claimed = signed.signatures.flatMap(({ kid, sig }) => {
    const key = context.trust.lookup(kid);
    return key ? [{ key, sig }] : [];
  });
  if (claimed.length === 0) {
    throw new Refusal("key_unknown", signed.signatures.map(({ kid }) => kid).join(" "));
  }
  const covered = signedBytes(signed.payload);
  const good = claimed.filter(({ key, sig }) => context.verify(key.publicKey, covered, sig));
  if (good.length === 0) {
    throw new Refusal("signature_invalid", claimed.map(({ key }) => key.kid).join(" "));
  }
  return good.map(({ key }) => key);
}

function decodeRecord(
  bytes: Uint8Array,
  payload: Uint8Array,
  context: { readonly mesh: string; readonly subject?: string },
): ReadRecord {
  const message = decode(() => fromBinary(RecordSchema, payload));
  refuseUnknownFields(message, "Record");
  if (message.mesh !== context.mesh) {
    throw new Refusal("mesh_mismatch", `${message.mesh} is not ${context.mesh}`);
  }
  const parsed = parseScope(message.scope);
  if (!parsed) throw new Refusal("scope_malformed", message.scope.slice(0, 128));
  const { subject } = context;
  if (subject !== undefined && !isSubjectOf(subject, parsed)) {
    throw new Refusal("subject_mismatch", `${message.scope} on ${subject}`);
  }
  const { op } = message;
  if (op.case === undefined) throw new Refusal("field_malformed", "op: none");
  if (!isOpOfScope(parsed, op.case)) {
    throw new Refusal("op_not_allowed", `${op.case} of ${message.scope}`);
  }
  if (op.case !== "policy" && bytes.length > SMALL_RECORD_BYTES_MAX) {
    throw new Refusal("record_too_large", `${bytes.length} bytes of ${op.case}`);
  }
  const flaw = flawOfFields(message) ?? flawOfOp(parsed, op);
  if (flaw !== undefined) throw new Refusal("field_malformed", flaw);
  return {
    scope: message.scope,
    parsed,
    v: Number(message.v),
    prev: message.prev,
    cmdId: message.cmdId,
    issuedAtMs: Number(message.issuedAtMs),
    operator: message.operator,
    op,
    bytes,
  };
}

/** The hash is made when it is first asked for: a kill is in force before anybody does. */
function hashed(payload: Uint8Array, fields: ReadRecord & Pick<MeshRecord, "kids">): MeshRecord {
  let made: Buffer | undefined;
  const hash = () => {
    made ??= createHash("sha256").update(payload).digest();
    return made;
  };
  let hex: string | undefined;
  return {
    ...fields,
    get hash() {
      return hash();
    },
    get hashHex() {
      hex ??= hash().toString("hex");
      return hex;
    },
  };
}

function flawOfFields(message: RecordMessage): string | undefined {
  if (message.v < 1n || message.v > BigInt(VERSION_MAX)) return "v";
  // The first record of a scope follows nothing, every other one follows something.
  if (message.prev.length !== (message.v === 1n ? 0 : 32)) return "prev";
  if (!UUID_PATTERN.test(message.cmdId)) return "cmd_id";
  if (message.issuedAtMs < 0n || message.issuedAtMs > BigInt(Number.MAX_SAFE_INTEGER)) {
    return "issued_at_ms";
  }
  return isShortText(message.operator, OPERATOR_BYTES_MAX) ? undefined : "operator";
}

function authorisedKids(
  record: ReadRecord,
  signers: readonly TrustedKey[],
  context: OpenContext,
): readonly string[] {
  const inForce = signers.filter((key) => isInForce(key, context.nowMs));
  if (inForce.length === 0) {
    throw new Refusal("key_expired", signers.map((key) => key.kid).join(" "));
  }
  const allowed = inForce.filter((key) => maySignRecord(key, record, context));
  if (allowed.length === 0) {
    const roles = inForce.map((key) => key.role).join(" ");
    throw new Refusal("signer_not_allowed", `${record.op.case} of ${record.scope} by ${roles}`);
  }
  return allowed.map((key) => key.kid);
}

/** Whether a key's role suffices for what a record says; its validity is looked at elsewhere. */
export function maySignRecord(key: TrustedKey, record: ReadRecord, context: OpenContext): boolean {
  if (!roleMaySign(key, record.op.case, record.parsed)) return false;
  switch (key.role) {
    case "coordinator":
      return record.v <= COORDINATOR_VERSION_MAX && isInKnownEra(record, context);
    case "enrolment":
      // A node's key is put in once; whoever replaces it must be an operator.
      return record.v === 1;
    default:
      // Who begins an era points back at nobody.
      return (distrustOf(record.op)?.since.length ?? 0) === 0;
  }
}

/**
 * R4: whether an operator has begun the era of a distrust is shown by the record itself. A coordinator's
 * key could otherwise begin one, and so make it smaller.
 */
function isInKnownEra(record: ReadRecord, { subject: _own, ...context }: OpenContext): boolean {
  const distrust = distrustOf(record.op);
  if (distrust === undefined || distrust.era === 0n) return true;
  // Looked at before its signature is: one that points back again would be read without end.
  const read = restoreRecord(distrust.since, context);
  const began =
    read.ok && read.record.scope === record.scope ? distrustOf(read.record.op) : undefined;
  if (began?.era !== distrust.era || began.since.length > 0) return false;
  const opened = openRecord(distrust.since, context);
  const kids = opened.ok ? opened.record.kids : [];
  return kids.some((kid) => context.trust.lookup(kid)?.role === "operator");
}

function decode<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw new Refusal("record_malformed", errorMessage(error));
  }
}

/** R3, at every level of the message. */
function refuseUnknownFields(message: Message, path: string): void {
  if (message.$unknown && message.$unknown.length > 0) {
    throw new Refusal("field_unknown", `${path}, field ${message.$unknown[0]?.no}`);
  }
  for (const [name, value] of Object.entries(message)) {
    for (const inner of Array.isArray(value) ? value : [value]) {
      refuseUnknownInside(inner, `${path}.${name}`);
    }
  }
}

function refuseUnknownInside(value: unknown, path: string): void {
  if (typeof value !== "object" || value === null || value instanceof Uint8Array) return;
  if ("$typeName" in value) refuseUnknownFields(value as Message, path);
  // A oneof is an object that is no message: its value may be one.
  else if ("case" in value && "value" in value) refuseUnknownInside(value.value, path);
}

function signedBytes(payload: Uint8Array): Uint8Array {
  return Buffer.concat([RECORD_DOMAIN, payload]);
}
