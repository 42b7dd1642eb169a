import { RecordError } from "./leaf.ts";
import type { Place } from "./record.ts";
import { type LeafScan, scanLeaf } from "./scan-leaf.ts";

/** Bytes that a place adds to a leaf, at most. */
export const PLACE_BYTES_MAX = '"ep":,"seq":,'.length + 2 * String(Number.MAX_SAFE_INTEGER).length;

/**
 * Gives a leaf its place by writing two members into its bytes, without reading it.
 *
 * Only for bytes that `encodeLeaf` of this very program gave and a checksum has kept; what anybody else
 * wrote goes through `sealLeaf`, which gives the same for every leaf and refuses what is none.
 *
 * @param into Has room for the leaf and `PLACE_BYTES_MAX` from `at` on.
 * @returns Where the placed leaf ends in it.
 * @throws RecordError There is no object with members beyond `ep` and `seq`, or it has a place already.
 */
export function placeLeafInto(
  into: Buffer,
  at: number,
  {
    leaf,
    scan,
    place,
  }: { readonly leaf: Uint8Array; readonly scan: LeafScan; readonly place: Place },
): number {
  const { epAt, seqAt } = scan;
  if (scan.isPlaced) throw new RecordError("the leaf already has a place");
  if (epAt < 0 || seqAt < 0) throw new RecordError("is not a leaf");
  const [epBytes, seqBytes] = [EP.length + digitsOf(place.ep), SEQ.length + digitsOf(place.seq)];
  const shift = epBytes + seqBytes;
  // The whole leaf where its end belongs; then what stands before the two members moves back.
  into.set(leaf, at + shift);
  into.copyWithin(at, at + shift, at + shift + epAt);
  into.copyWithin(at + epAt + epBytes, at + shift + epAt, at + shift + seqAt);
  writeMember(into, at + epAt, EP, place.ep);
  writeMember(into, at + epBytes + seqAt, SEQ, place.seq);
  return at + shift + leaf.length;
}

/** The same into a buffer of its own. */
export function placeLeaf(leaf: Uint8Array, place: Place): Buffer {
  const placed = Buffer.allocUnsafe(leaf.length + PLACE_BYTES_MAX);
  return placed.subarray(0, placeLeafInto(placed, 0, { leaf, scan: scanLeaf(leaf), place }));
}

const EP = Buffer.from('"ep":,', "latin1");
const SEQ = Buffer.from('"seq":,', "latin1");

function digitsOf(value: number): number {
  let digits = 1;
  for (let bound = 10; bound <= value; bound *= 10) digits++;
  return digits;
}

/** The member with its comma; the value's digits are written from the last to the first. */
function writeMember(into: Buffer, at: number, member: Buffer, value: number): void {
  const comma = at + member.length - 1 + digitsOf(value);
  into.set(member, at);
  into[comma] = COMMA;
  let left = value;
  for (let digitAt = comma - 1; digitAt >= at + member.length - 1; digitAt--) {
    into[digitAt] = ZERO + (left % 10);
    left = Math.floor(left / 10);
  }
}

const [COMMA, ZERO] = [0x2c, 0x30];
