import { createHash } from "node:crypto";
import { create, toBinary } from "@bufbuild/protobuf";
import type { Keys, Signer } from "../ports/keys.ts";
import { RecordSchema } from "../proto/gen/altrace/v1/record_pb.ts";
import { CONTRACT_END_AHEAD_MS, contractEndOf } from "./contract-end.ts";
import { distrustOf } from "./distrust-of.ts";
import { KeptKey } from "./kept-key.ts";
import { encodeKillMessage } from "./kill-message.ts";
import {
  boundedRecord,
  checkedRecord,
  decodeRecord,
  decodeSigned,
  mustBeSigned,
  type ReadRecord,
  type RecordRefusal,
  type RecordValues,
  Refusal,
} from "./record-form.ts";
import type { RecordOp } from "./record-op.ts";
import { encodeSignedRecord, type SignedRecord } from "./signed-record.ts";
import { isInForce, roleMaySign, type TrustedKey, type TrustView } from "./trust.ts";

// One record of the mesh's state: how it is read, and how it is made.
//
// R1. A signature is checked over the bytes that came, before anything in them is looked at.
// R2. Nobody encodes a payload twice: what was signed is kept, stored and passed on as it came.
// R3. A field this program does not know is a refusal: it may change what the known ones mean.
// R4. A record says the same to everyone: apart from the trust view and its clock, the answer
//     depends on the bytes alone.

/** What a coordinator may number up to, so that an operator can always go one higher. */
export const COORDINATOR_VERSION_MAX = 2 ** 40;

const RECORD_DOMAIN = Buffer.from("altrace/v1/record\0");

export type MeshRecord = ReadRecord & {
  /** SHA-256 of the payload. */
  readonly hash: Uint8Array;
  readonly hashHex: string;
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
  /**
   * `once`: a key that is listed counts although it is not in force at that time. Only for what somebody vouches
   * for to have been taken while it was.
   */
  readonly signed?: "once";
};

export type OpenedRecord =
  | { readonly ok: true; readonly record: MeshRecord }
  | { readonly ok: false; readonly reason: RecordRefusal; readonly detail: string };

/** Reads a record that came from outside, by R1 to R4. Never throws for what the bytes hold. */
export function openRecord(bytes: Uint8Array, context: OpenContext): OpenedRecord {
  return refusalOr(() => {
    const signed = decodeSigned(bytes);
    const signers = verifiedSigners(signed, context);
    const record = decodeRecord(bytes, signed.payload, context);
    const kids = authorisedKids(record, signers, context);
    mustEndSoon(record, context);
    return hashed(signed.payload, { ...record, kids });
  });
}

/**
 * Reads a record from this replica's own disk, where it was written after `openRecord` took it.
 *
 * Its shape is checked and its signatures are not: a key that was valid when the record was merged
 * may have expired since, and a kill must hold all the same.
 */
export function restoreRecord(bytes: Uint8Array, context: { readonly mesh: string }): OpenedRecord {
  return refusalOr(() => {
    const { payload } = decodeSigned(bytes);
    const record = decodeRecord(bytes, payload, context);
    return hashed(payload, { ...record, kids: [] });
  });
}

function refusalOr(read: () => MeshRecord): OpenedRecord {
  try {
    return { ok: true, record: read() };
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
  return made(fields, signer).record.bytes;
}

/** It is checked as it was encoded, and not read again: a kill waits for it. */
function made(
  fields: RecordFields,
  signer: Signer,
): { readonly signed: SignedRecord; readonly record: ReadRecord } {
  const { v, issuedAtMs, ...rest } = fields;
  const { payload, read } = encoded({ ...rest, v: BigInt(v), issuedAtMs: BigInt(issuedAtMs) });
  const sig = signer.sign(signedBytes(payload));
  const signed = { payload, signatures: [{ kid: signer.kid, sig }] };
  const bytes = encodeSignedRecord(signed);
  try {
    mustBeSigned(signed, bytes);
    return { signed, record: read(bytes) };
  } catch (error) {
    if (error instanceof Refusal) throw new RecordError(error.reason, error.message);
    throw error;
  }
}

/** `read` throws Refusal. */
function encoded(values: RecordValues): {
  readonly payload: Uint8Array;
  readonly read: (bytes: Uint8Array) => ReadRecord;
} {
  const { op, ...rest } = values;
  const { mesh } = values;
  if (op.case === "kill") {
    const kill = { ...rest, op };
    return {
      payload: encodeKillMessage(kill),
      read: (bytes) => boundedRecord(kill, bytes, { mesh }),
    };
  }
  const message = create(RecordSchema, values);
  return {
    payload: toBinary(RecordSchema, message),
    read: (bytes) => checkedRecord(message, bytes, { mesh }),
  };
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
  return signRecord(following(current, fields), signer);
}

/**
 * Makes the record that follows `current`, and opens it as `openRecord` does what came from outside.
 *
 * @param context Its `verify` is asked of the signature that was made a moment ago.
 * @throws RecordError As `signRecord`.
 */
export function nextOpened(
  current: MeshRecord | undefined,
  fields: Omit<RecordFields, "v" | "prev">,
  signer: Signer,
  context: OpenContext,
): OpenedRecord {
  const { signed, record } = made(following(current, fields), signer);
  return refusalOr(() => {
    const kids = authorisedKids(record, verifiedSigners(signed, context), context);
    mustEndSoon(record, context);
    return hashed(signed.payload, { ...record, kids });
  });
}

function following(
  current: MeshRecord | undefined,
  fields: Omit<RecordFields, "v" | "prev">,
): RecordFields {
  if (current && current.scope !== fields.scope) {
    throw new RecordError("scope_malformed", `${fields.scope} does not follow ${current.scope}`);
  }
  return { ...fields, v: (current?.v ?? 0) + 1, prev: current?.hash ?? new Uint8Array(0) };
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

/** The hash is made when it is first asked for: a kill is in force before anybody does. */
function hashed(payload: Uint8Array, fields: ReadRecord & Pick<MeshRecord, "kids">): MeshRecord {
  if (fields.op.case === "key") return new KeptKey(fields, payload);
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

function authorisedKids(
  record: ReadRecord,
  signers: readonly TrustedKey[],
  context: OpenContext,
): readonly string[] {
  const { nowMs, signed } = context;
  const inForce = signers.filter((key) => signed === "once" || isInForce(key, nowMs));
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

/**
 * What a revocation says of its contract's end has others forgotten that have ended two days before. No contract
 * ends so late as to have one forgotten that has not ended; a coordinator's key alone must not say so either.
 */
function mustEndSoon(record: ReadRecord, { nowMs }: OpenContext): void {
  const endMs = contractEndOf(record);
  if (endMs !== undefined && endMs > nowMs + CONTRACT_END_AHEAD_MS) {
    throw new Refusal("end_too_far", `${record.scope} ends ${endMs - nowMs} ms from now`);
  }
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
function isInKnownEra(record: ReadRecord, own: OpenContext): boolean {
  // Nobody vouches for the operator's record: whoever says it again needs it to count today.
  const { subject: _own, signed: _once, ...context } = own;
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

function signedBytes(payload: Uint8Array): Uint8Array {
  return Buffer.concat([RECORD_DOMAIN, payload]);
}
