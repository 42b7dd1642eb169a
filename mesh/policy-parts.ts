import { createHash } from "node:crypto";
import { deflateRawSync, inflateRawSync } from "node:zlib";
import { create } from "@bufbuild/protobuf";
import { type Policy, PolicySchema } from "../proto/gen/altrace/v1/record_pb.ts";

// A policy that is too large for one message of the bus: its record names parts, and they travel by themselves.
//
// P1. A part is what has its hash, so it matters to nobody who sends or keeps it.
// P2. Each part is packed by itself and opened by itself: a step of opening is one of them, and the room that it
//     may take is known before.
// P3. What comes out is the bundle that the record names by hash and size, or nothing.

/** A bundle up to this size travels in its record, as it always has. */
export const BODY_BYTES_MAX = 512 * 1024;
/** Bytes of the bundle in each part but the last: a millisecond to open, a quarter of what the bus carries. */
export const PART_BYTES = 256 * 1024;
/** 32 MiB of bundle: 100,000 agents with 300 bytes each. */
export const PARTS_MAX = 128;
/** Of a packed part: what cannot be packed is stored as it is, with five bytes for each 16 KiB. */
export const PACKED_BYTES_MAX = PART_BYTES + 1024;

/** By which a part is named where it is kept: the hash of what is packed, in hexadecimal. */
export function partHash(part: Uint8Array): string {
  return hexOf(sha256(part));
}

/** The hashes of a policy's parts in their order, in hexadecimal. */
export function partHashes({ parts }: Policy): readonly string[] {
  return parts.map(hexOf);
}

/** Parts that are not what the record says. Their hashes are signed, so whoever signed it made it so. */
export class PartsMalformed extends Error {
  constructor(message: string, options?: { cause: unknown }) {
    super(message, options);
    this.name = "PartsMalformed";
  }
}

/** What a bundle's record says, and the parts that have to be handed over before it; often none. */
export function packPolicy(bundle: Uint8Array): {
  readonly policy: Policy;
  readonly parts: readonly Uint8Array[];
} {
  const of = { sha256: sha256(bundle), size: BigInt(bundle.length) };
  if (bundle.length <= BODY_BYTES_MAX) {
    return { policy: create(PolicySchema, { ...of, body: bundle }), parts: [] };
  }
  const parts: Uint8Array[] = [];
  for (let from = 0; from < bundle.length; from += PART_BYTES) {
    parts.push(deflateRawSync(bundle.subarray(from, from + PART_BYTES), { level: 9 }));
  }
  return { policy: create(PolicySchema, { ...of, parts: parts.map(sha256) }), parts };
}

/** A bundle in parts, by the hash and the size that its record gives. */
export type PackedBundle = {
  /** Hexadecimal. */
  readonly sha256: string;
  readonly size: number;
  /** In their order, each of the hash that the record gives it. */
  readonly parts: readonly Uint8Array[];
};

export function packedBundle({ sha256, size }: Policy, parts: readonly Uint8Array[]): PackedBundle {
  return { sha256: hexOf(sha256), size: Number(size), parts };
}

/**
 * Opens the parts into memory that threads can share, one a step.
 *
 * @throws PartsMalformed
 */
export function* openParts(
  packed: PackedBundle,
): Generator<void, Uint8Array<SharedArrayBuffer>, void> {
  const bundle = new Uint8Array(new SharedArrayBuffer(packed.size));
  const hash = createHash("sha256");
  for (const [no, part] of packed.parts.entries()) {
    const from = no * PART_BYTES;
    const opened = openPart(part, Math.min(PART_BYTES, packed.size - from));
    bundle.set(opened, from);
    hash.update(opened);
    yield;
  }
  if (hash.digest("hex") !== packed.sha256) throw new PartsMalformed("not the bundle of that hash");
  return bundle;
}

function openPart(part: Uint8Array, size: number): Uint8Array {
  let opened: Uint8Array;
  try {
    opened = inflateRawSync(part, { maxOutputLength: Math.max(1, size) });
  } catch (cause) {
    throw new PartsMalformed("a part is not deflate, or more than it may be", { cause });
  }
  if (opened.length !== size) throw new PartsMalformed(`a part of ${opened.length} bytes`);
  return opened;
}

/** Of a record's policy: why its parts cannot be what it says; `undefined` when they may be. */
export function flawOfParts({ size, parts, body }: Policy): string | undefined {
  if (body.length > 0) return "policy: body and parts";
  if (size <= BigInt(BODY_BYTES_MAX) || size > BigInt(PARTS_MAX * PART_BYTES)) return "policy.size";
  if (parts.length !== Math.ceil(Number(size) / PART_BYTES)) return "policy.parts";
  return parts.every((part) => part.length === 32) ? undefined : "policy.parts";
}

function sha256(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return new Uint8Array(createHash("sha256").update(bytes).digest());
}

function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}
