/**
 * Where things stand in the leaves that writers wrote last, told to the audit thread in shared memory, so that
 * it need not read through each leaf for what its writer knew when it made it.
 *
 * A1. It is advice. What is not told, was told of another frame or does not fit the bytes is looked for
 *     there: see `scanLeaf`.
 * A2. A slot's key is taken away before its members change and put back after it, and read before and after
 *     them: members of two leaves are never taken for one leaf's.
 */

import { LEAF_BYTES_MAX } from "../../audit/leaf.ts";
import type { LeafScan } from "../../audit/scan-leaf.ts";

/**
 * Leaves of one writer that are remembered: what 10,000 records a second write in four fifths of one. A
 * checkpoint waits a dozen times for the disk, which may take a tenth of a second each time.
 */
export const MARKS_KEPT = 8_192;
/** Numbers of a slot, in their order: the key, then what it is the key of. */
const MEMBERS = 8;
const [END, FILE, EP, SEQ, KIND, RID, T_LOW, T_HIGH] = [0, 1, 2, 3, 4, 5, 6, 7] as const;
/** 4-byte numbers in the marks of one writer. */
export const MARK_INTS = MARKS_KEPT * MEMBERS;

const QUOTE = 0x22;

/** Where a frame ends: the file's number, and the bytes of it up to there. */
type FrameEnd = { readonly fileNo: number; readonly bytes: number };

/** Tells of one leaf after the other, in the order in which they are written. One for each writer. */
export class MarkWriter {
  readonly #ints: Int32Array;
  #no = 0;

  /** @param ints Shared memory of `MARK_INTS`, this writer's own. */
  constructor(ints: Int32Array) {
    this.#ints = ints;
  }

  /** Called after the frame was written and before its position is published, and once for each. */
  tell({ fileNo, bytes: end }: FrameEnd, scan: LeafScan): void {
    const at = (this.#no % MARKS_KEPT) * MEMBERS;
    const ints = this.#ints;
    this.#no += 1;
    Atomics.store(ints, at + END, 0);
    ints[at + FILE] = fileNo;
    ints[at + EP] = scan.epAt;
    ints[at + SEQ] = scan.seqAt;
    ints[at + KIND] = scan.kindAt;
    ints[at + RID] = scan.ridAt;
    ints[at + T_LOW] = (scan.t % 2 ** 32) | 0;
    ints[at + T_HIGH] = Math.floor(scan.t / 2 ** 32);
    // A place that was not told is none that a leaf begins with.
    if (scan.epAt > 0) Atomics.store(ints, at + END, end);
  }
}

/** Reads what one writer told, for frame after frame from its first of this run. */
export class MarkReader {
  readonly #ints: Int32Array;
  #no = 0;

  constructor(ints: Int32Array) {
    this.#ints = ints;
  }

  /**
   * What was told of the next frame.
   *
   * @returns Undefined: nothing that is certain to be about it.
   */
  next(leaf: Uint8Array, { fileNo, bytes: end }: FrameEnd): LeafScan | undefined {
    const at = (this.#no % MARKS_KEPT) * MEMBERS;
    const ints = this.#ints;
    this.#no += 1;
    if (Atomics.load(ints, at + END) !== end || Atomics.load(ints, at + FILE) !== fileNo) {
      return undefined;
    }
    const low = Atomics.load(ints, at + T_LOW) >>> 0;
    const scan: LeafScan = {
      epAt: Atomics.load(ints, at + EP),
      seqAt: Atomics.load(ints, at + SEQ),
      isPlaced: false,
      kindAt: Atomics.load(ints, at + KIND),
      ridAt: Atomics.load(ints, at + RID),
      t: Atomics.load(ints, at + T_HIGH) * 2 ** 32 + low,
    };
    return Atomics.load(ints, at + END) === end && fits(leaf, scan) ? scan : undefined;
  }
}

/** Both places are where a member begins. */
function fits(leaf: Uint8Array, { epAt, seqAt }: LeafScan): boolean {
  if (leaf.length > LEAF_BYTES_MAX || epAt >= seqAt) return false;
  return leaf[epAt] === QUOTE && leaf[seqAt] === QUOTE;
}
