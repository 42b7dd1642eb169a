// Leaf bytes: a record as canonical JSON, checked by one closed schema in both directions.
//
// L1. Bytes that `decodeRecord` takes are the only spelling of what it returns.
// L2. `encodeLeaf` and `sealLeaf` write nothing that `decodeRecord` would refuse.
// L3. Only `sealLeaf` gives a record its place; a leaf of the WAL has none.

import { LEAF_MARKS, LEAF_WRITERS } from "./leaf-schema.ts";
import { MemberError } from "./member-codec.ts";
import type { AuditRecord, Place, SealedRecord } from "./record.ts";
import type { LeafScan } from "./scan-leaf.ts";

/** Bytes of one leaf at most. The tile format itself could carry 65,535. */
export const LEAF_BYTES_MAX = 16 * 1024;

/** A record that cannot be written: the caller built it wrong, which is a bug of ours. */
export class RecordError extends Error {
  override readonly name = "RecordError";
}

/** Why bytes are not a leaf. */
export type LeafFlaw =
  | "leaf_too_large"
  | "leaf_not_utf8"
  | "leaf_not_json"
  | "leaf_kind_unknown"
  | "leaf_schema"
  | "leaf_not_canonical";

export type DecodedLeaf =
  | { readonly ok: true; readonly record: AuditRecord & Partial<Place> }
  | { readonly ok: false; readonly flaw: LeafFlaw; readonly detail: string };

/**
 * Writes a record as a leaf without a place, for the WAL.
 *
 * @throws RecordError The record breaks its schema, already has a place, or exceeds
 *   `LEAF_BYTES_MAX`. Nothing may be allowed on a record that could not be written.
 */
export function encodeLeaf(record: AuditRecord): Buffer {
  if ("seq" in record || "ep" in record) throw new RecordError("the record already has a place");
  return leafOf(record);
}

/**
 * Puts such a leaf where it is to lie, which costs less than memory of its own, and says what `scanLeaf` would
 * find in it.
 *
 * @param into Has room for `LEAF_BYTES_MAX` bytes from `at` on.
 * @throws RecordError As `encodeLeaf`; then nothing was put.
 */
export function putLeaf(record: AuditRecord, into: Buffer, at: number): PutLeaf {
  if ("seq" in record || "ep" in record) throw new RecordError("the record already has a place");
  LEAF_MARKS.rid.isThere = false;
  const text = textOf(record);
  // No character takes more than three bytes: mostly there is room for whatever it is, and it is not measured before.
  if (3 * text.length > LEAF_BYTES_MAX) bytesOf(text);
  const bytes = into.write(text, at, "utf8");
  return { bytes, scan: bytes === text.length ? scanOf(record) : NOT_SCANNED };
}

function scanOf(record: AuditRecord): LeafScan {
  const { ep, seq, k, rid } = LEAF_MARKS;
  return {
    epAt: ep.at,
    seqAt: seq.at,
    isPlaced: false,
    kindAt: k.at + '"k":"'.length,
    ridAt: rid.isThere ? rid.at + '"rid":"'.length : -1,
    t: record.t,
  };
}

export type PutLeaf = {
  readonly bytes: number;
  /** `epAt` -1: its characters are not all bytes of their own, so nothing is known of their places. */
  readonly scan: LeafScan;
};

const NOT_SCANNED: LeafScan = {
  epAt: -1,
  seqAt: -1,
  isPlaced: false,
  kindAt: -1,
  ridAt: -1,
  t: -1,
};

/**
 * Gives a leaf of the WAL its place in the log. The result is canonical again.
 *
 * @throws RecordError The bytes are not a leaf, or it has a place already.
 */
export function sealLeaf(leaf: Uint8Array, place: Place): Buffer {
  const decoded = decodeRecord(leaf);
  if (!decoded.ok) throw new RecordError(`${decoded.flaw}: ${decoded.detail}`);
  if (decoded.record.seq !== undefined) throw new RecordError("the leaf already has a place");
  return leafOf({ ...decoded.record, ep: place.ep, seq: place.seq });
}

/** Reads a leaf with or without a place. Anything but the one canonical spelling is refused. */
export function decodeRecord(leaf: Uint8Array): DecodedLeaf {
  if (leaf.length > LEAF_BYTES_MAX) return flaw("leaf_too_large", `${leaf.length} bytes`);
  let text: string;
  try {
    text = UTF8.decode(leaf);
  } catch {
    return flaw("leaf_not_utf8", "invalid UTF-8");
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return flaw("leaf_not_json", "does not parse");
  }
  const writer = LEAF_WRITERS.get((value as { k?: unknown } | null)?.k);
  if (writer === undefined) return flaw("leaf_kind_unknown", "no such kind of record");
  try {
    // Also finds a duplicate key, which parsing forgets and writing therefore shortens.
    if (writer(value) !== text) return flaw("leaf_not_canonical", "is not in canonical form");
  } catch (error) {
    if (!(error instanceof MemberError)) throw error;
    return flaw("leaf_schema", error.message);
  }
  return { ok: true, record: value as AuditRecord & Partial<Place> };
}

/** True when the record has its place in a log. */
export function isSealed(record: AuditRecord & Partial<Place>): record is SealedRecord {
  return record.seq !== undefined;
}

function leafOf(record: AuditRecord & Partial<Place>): Buffer {
  const text = textOf(record);
  const leaf = Buffer.allocUnsafe(bytesOf(text));
  leaf.write(text, "utf8");
  return leaf;
}

/** @throws RecordError It is too large for a leaf. */
function bytesOf(text: string): number {
  const bytes = Buffer.byteLength(text);
  if (bytes > LEAF_BYTES_MAX) throw new RecordError(`a leaf of ${bytes} bytes`);
  return bytes;
}

function textOf(record: AuditRecord & Partial<Place>): string {
  const writer = LEAF_WRITERS.get(record.k);
  if (writer === undefined) throw new RecordError(`no kind of record is called ${record.k}`);
  try {
    return writer(record);
  } catch (error) {
    if (!(error instanceof MemberError)) throw error;
    throw new RecordError(`${record.k}: ${error.message}`, { cause: error });
  }
}

function flaw(name: LeafFlaw, detail: string): DecodedLeaf {
  return { ok: false, flaw: name, detail };
}

// A byte order mark would be a second spelling: it is kept, so that JSON.parse refuses it.
const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
