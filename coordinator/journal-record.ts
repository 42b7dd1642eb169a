import { createHash } from "node:crypto";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { openSealed, seal } from "../mesh/sealed.ts";
import { coordinatorKey, formerCoordinatorKey, type TrustView } from "../mesh/trust.ts";
import type { Clock } from "../ports/clock.ts";
import type { Keys, Signer } from "../ports/keys.ts";
import type { Write } from "../ports/store.ts";
import {
  type JournalEntry,
  JournalEntrySchema,
  type JournalRecord,
  JournalRecordSchema,
} from "../proto/gen/altrace/v1/journal_pb.ts";

/** Whose word counts between coordinators, and with which key this one signs. */
export type JournalTrust = {
  readonly mesh: string;
  readonly trust: TrustView;
  readonly signer: Signer;
  readonly verify: Keys["verify"];
  readonly clock: Clock;
};

/** A record as it lies in the stream. */
export type JournalLink = {
  readonly record: JournalRecord;
  readonly hash: Uint8Array;
  /** Key that sealed it. */
  readonly kid: string;
  /** That key is in force no more: whether the link counts is for the chain before it to say. */
  readonly isOfFormer: boolean;
};

/** Seals a record. The bytes are what the next record's `prev` is the hash of. */
export function sealLink(record: JournalRecord, { signer }: JournalTrust): Uint8Array {
  return seal("journal", toBinary(JournalRecordSchema, record), signer);
}

/** Undefined for anything but a record of this mesh that a coordinator has sealed, of now or before. */
export function openLink(bytes: Uint8Array, trust: JournalTrust): JournalLink | undefined {
  const opened = openSealed("journal", bytes, formerCoordinatorKey(trust.trust), trust.verify);
  if (!opened) return undefined;
  const { kid } = opened;
  try {
    const record = fromBinary(JournalRecordSchema, opened.payload);
    const isOurs = record.mesh === trust.mesh && record.body.case !== undefined;
    if (!isOurs || record.$unknown) return undefined;
    return { record, hash: linkHash(bytes), kid, isOfFormer: !isInForceNow(kid, trust) };
  } catch {
    return undefined;
  }
}

/** Whether this key seals for a coordinator now. */
export function isInForceNow(kid: string, { trust, clock }: JournalTrust): boolean {
  return coordinatorKey(trust, clock.nowMs())(kid) !== undefined;
}

export function linkHash(bytes: Uint8Array): Uint8Array {
  return createHash("sha256").update(bytes).digest();
}

/** Whether two values are the same, byte for byte, or both absent. */
export function isSameBytes(left: Uint8Array | undefined, right: Uint8Array | undefined): boolean {
  if (left === undefined || right === undefined) return left === right;
  return Buffer.compare(left, right) === 0;
}

export function entryOf({ key, value }: Write): JournalEntry {
  return create(JournalEntrySchema, value === undefined ? { key } : { key, value });
}

export function writeOf({ key, value }: JournalEntry): Write {
  return { key, value };
}
