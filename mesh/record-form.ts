import { fromBinary, type Message } from "@bufbuild/protobuf";
import { errorMessage } from "../ports/error-message.ts";
import { type Record as RecordMessage, RecordSchema } from "../proto/gen/altrace/v1/record_pb.ts";
import { parseScope, type Scope } from "../proto/ids.ts";
import { isSubjectOf } from "../proto/subjects.ts";
import { decodeKillMessage } from "./kill-message.ts";
import {
  flawOfOp,
  isOpOfScope,
  isShortText,
  OPERATOR_BYTES_MAX,
  type RecordOp,
} from "./record-op.ts";
import { decodeSignedRecord, type SignedRecord, UnknownField } from "./signed-record.ts";

// What bytes must be to be a record at all, whoever has signed them.

/** Bytes of a SignedRecord at most; the bus carries no more. */
export const RECORD_BYTES_MAX = 1_000_000;
/** Bytes of a SignedRecord that carries no policy bundle. */
export const SMALL_RECORD_BYTES_MAX = 16 * 1024;
export const SIGNATURES_MAX = 4;
export const VERSION_MAX = Number.MAX_SAFE_INTEGER;

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
  /** It revokes a contract that would end later than any contract can, by this reader's clock. */
  "end_too_far",
] as const;
export type RecordRefusal = (typeof RECORD_REFUSALS)[number];

/** These bytes are no record that counts. */
export class Refusal extends Error {
  readonly reason: RecordRefusal;
  constructor(reason: RecordRefusal, detail: string) {
    super(detail);
    this.reason = reason;
  }
}

/** The fields of the message. */
export type RecordValues = Omit<RecordMessage, "$typeName" | "$unknown">;

type RecordContext = { readonly mesh: string; readonly subject?: string };

/** What a record says. */
export type ReadRecord = {
  readonly scope: string;
  readonly parsed: Scope;
  /** Version of the scope, 1 for the first. */
  readonly v: number;
  /** Hash of the record this one was built on; empty for the first. */
  readonly prev: Uint8Array;
  readonly cmdId: string;
  /** Wall clock of the issuer, ms since the Unix epoch. Nothing is decided by it but `contractEndOf`. */
  readonly issuedAtMs: number;
  readonly operator: string;
  readonly op: RecordOp;
  /** The SignedRecord as it came. */
  readonly bytes: Uint8Array;
};

export function decodeSigned(bytes: Uint8Array): SignedRecord {
  if (bytes.length > RECORD_BYTES_MAX) {
    throw new Refusal("record_too_large", `${bytes.length} bytes`);
  }
  const signed = decode(() => decodeSignedRecord(bytes));
  mustBeSigned(signed, bytes);
  return signed;
}

export function mustBeSigned(signed: SignedRecord, bytes: Uint8Array): void {
  if (bytes.length > RECORD_BYTES_MAX) {
    throw new Refusal("record_too_large", `${bytes.length} bytes`);
  }
  const count = signed.signatures.length;
  if (count === 0 || count > SIGNATURES_MAX) {
    throw new Refusal("signatures_malformed", `${count} signatures`);
  }
  for (const { kid, sig } of signed.signatures) {
    if (!KID_PATTERN.test(kid)) throw new Refusal("signatures_malformed", "kid");
    if (sig.length !== 64) throw new Refusal("signatures_malformed", `${sig.length} bytes`);
  }
}

export function decodeRecord(
  bytes: Uint8Array,
  payload: Uint8Array,
  context: RecordContext,
): ReadRecord {
  const kill = decodeKillMessage(payload);
  if (kill) return boundedRecord(kill, bytes, context);
  return checkedRecord(
    decode(() => fromBinary(RecordSchema, payload)),
    bytes,
    context,
  );
}

export function checkedRecord(
  message: RecordMessage,
  bytes: Uint8Array,
  context: RecordContext,
): ReadRecord {
  refuseUnknownFields(message, "Record");
  return boundedRecord(message, bytes, context);
}

/** A record whose fields are all known, once each of them is within its bounds. @throws Refusal */
export function boundedRecord(
  message: RecordValues,
  bytes: Uint8Array,
  context: RecordContext,
): ReadRecord {
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

function flawOfFields(message: RecordValues): string | undefined {
  if (message.v < 1n || message.v > BigInt(VERSION_MAX)) return "v";
  // The first record of a scope follows nothing, every other one follows something.
  if (message.prev.length !== (message.v === 1n ? 0 : 32)) return "prev";
  if (!UUID_PATTERN.test(message.cmdId)) return "cmd_id";
  if (message.issuedAtMs < 0n || message.issuedAtMs > BigInt(Number.MAX_SAFE_INTEGER)) {
    return "issued_at_ms";
  }
  return isShortText(message.operator, OPERATOR_BYTES_MAX) ? undefined : "operator";
}

function decode<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    const reason = error instanceof UnknownField ? "field_unknown" : "record_malformed";
    throw new Refusal(reason, errorMessage(error));
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
