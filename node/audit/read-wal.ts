/** Reads a WAL file piece by piece, so that its size never decides how much memory is used. */

import { FRAME_HEAD_BYTES, type FrameFlaw, readFrames } from "../../audit/frame.ts";
import { type Disk, readInto } from "../../ports/disk.ts";

/** Bytes that are read at once. Many times the largest frame. */
export const WAL_PIECE_BYTES = 1024 * 1024;

/** Whole frames that lie one after the other. */
export type WalPiece = {
  readonly leaves: readonly Uint8Array[];
  /** Where the frame of each leaf ends in the file. */
  readonly ends: readonly number[];
  /** Where the next piece begins. */
  readonly endsAt: number;
  /** Why nothing can be read at `endsAt`, if that is so although there are bytes. */
  readonly flaw: FrameFlaw | undefined;
};

export type WalStretch = {
  readonly at: number;
  /** Bytes of the file to look at: what lies behind is not read, as if it were not there. */
  readonly until: number;
  /** Takes what is read, at least `WAL_PIECE_BYTES` or all of the stretch. Else a new one does. */
  readonly buffer?: Buffer;
};

/** The next whole frames of a file from `at`. */
export function readPiece(
  disk: Pick<Disk, "read">,
  fd: number,
  { at, until, buffer }: WalStretch,
): WalPiece {
  const wanted = Math.min(WAL_PIECE_BYTES, until - at);
  const bytes = buffer?.subarray(0, wanted) ?? Buffer.allocUnsafe(wanted);
  const filled = readInto(disk, fd, { into: bytes, at });
  const { leaves, wholeBytes, torn, flaw } = readFrames(bytes.subarray(0, filled));
  const isCutByPiece = filled === WAL_PIECE_BYTES && wholeBytes > 0;
  const ends: number[] = [];
  for (const leaf of leaves) ends.push((ends.at(-1) ?? at) + FRAME_HEAD_BYTES + leaf.length);
  return { leaves, ends, endsAt: at + wholeBytes, flaw: torn && !isCutByPiece ? flaw : undefined };
}
