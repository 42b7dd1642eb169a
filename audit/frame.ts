// Frames of the write-ahead log: `u32 length | u32 CRC-32C of the leaf | leaf`, both big endian, as
// all other binary integers of the log are.
//
// F1. A frame is taken whole or not at all: what `readFrames` returns was written by `fillFrame`.
// F2. Bytes before the first flaw are whole frames; bytes from it on are not read at all.

import { crc32c } from "./crc32c.ts";
import { LEAF_BYTES_MAX } from "./leaf.ts";

/** Bytes before the leaf. */
export const FRAME_HEAD_BYTES = 8;

/**
 * Why reading stopped before the end. A crash in the middle of a write leaves `head_short` or
 * `leaf_short`, and possibly `length_zero` where a file system filled in zeros; the others are
 * damage.
 */
export type FrameFlaw =
  | "head_short"
  | "length_zero"
  | "length_too_large"
  | "leaf_short"
  | "crc_wrong";

export type Frames = {
  /** Leaves in order; they share the memory of the buffer read. */
  readonly leaves: readonly Uint8Array[];
  /** Bytes of whole frames: the file may be cut to this length. */
  readonly wholeBytes: number;
  /** True when bytes are left over, and then `flaw` says why. */
  readonly torn: boolean;
  readonly flaw?: FrameFlaw;
};

/**
 * One frame, ready for a single write.
 *
 * @throws RangeError The leaf is empty or larger than `LEAF_BYTES_MAX`: a bug of ours.
 */
export function encodeFrame(leaf: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(FRAME_HEAD_BYTES + leaf.length);
  frame.set(leaf, FRAME_HEAD_BYTES);
  fillFrame(frame, 0, leaf.length);
  return frame;
}

/**
 * Makes a frame at a place of bytes where a leaf lies behind `FRAME_HEAD_BYTES` of anything.
 *
 * @throws RangeError As `encodeFrame`.
 */
export function fillFrame(bytes: Buffer, at: number, leafBytes: number): void {
  if (leafBytes === 0 || leafBytes > LEAF_BYTES_MAX) {
    throw new RangeError(`a leaf of ${leafBytes} bytes has no frame`);
  }
  const leafAt = at + FRAME_HEAD_BYTES;
  bytes.writeUInt32BE(leafBytes, at);
  bytes.writeUInt32BE(crc32c(bytes.subarray(leafAt, leafAt + leafBytes)), at + 4);
}

/** Reads frames up to the end or the first flaw. Never throws: a WAL is what a crash left. */
export function readFrames(bytes: Uint8Array): Frames {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const leaves: Uint8Array[] = [];
  let at = 0;
  while (at < bytes.length) {
    const flaw = headFlawAt(bytes, view, at);
    if (flaw !== undefined) return { leaves, wholeBytes: at, torn: true, flaw };
    const end = at + FRAME_HEAD_BYTES + view.getUint32(at);
    const leaf = bytes.subarray(at + FRAME_HEAD_BYTES, end);
    if (crc32c(leaf) !== view.getUint32(at + 4)) {
      return { leaves, wholeBytes: at, torn: true, flaw: "crc_wrong" };
    }
    leaves.push(leaf);
    at = end;
  }
  return { leaves, wholeBytes: at, torn: false };
}

function headFlawAt(bytes: Uint8Array, view: DataView, at: number): FrameFlaw | undefined {
  if (bytes.length - at < FRAME_HEAD_BYTES) return "head_short";
  const length = view.getUint32(at);
  if (length === 0) return "length_zero";
  // Checked before the length is believed: a damaged one must not make the reader wait for more.
  if (length > LEAF_BYTES_MAX) return "length_too_large";
  return bytes.length - at - FRAME_HEAD_BYTES < length ? "leaf_short" : undefined;
}
