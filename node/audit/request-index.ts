/** The index by request id as it lies beside a log: kept by the audit thread, used by readers. */

import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { join } from "node:path";
import { type LeafScan, scanLeaf } from "../../audit/scan-leaf.ts";
import {
  LARGE_SEGMENT_LEAVES,
  lookUp,
  mergeSegments,
  SegmentBuilder,
  type SegmentName,
  SMALL_SEGMENT_LEAVES,
  segmentPath,
} from "./index-segment.ts";

export type IndexFiles = {
  put(path: string, bytes: Uint8Array): void;
  read(path: string): Buffer | undefined;
};

/**
 * Leaves of before that are taken in with each that is appended: a start waits for none of them, and no sync for many. More
 * of them where fewer are to come, so that as few as can be are left for the segment's last.
 */
const EARLIER_AT_ONCE = 16;

/** `next` of `end` were taken in. */
type Earlier = { readonly leaves: Iterator<Uint8Array>; readonly end: number; next: number };

/** Indexes leaves as they are appended. What it writes need not be safe: it can be made again. */
export class IndexWriter {
  readonly #files: IndexFiles;
  #segment: SegmentBuilder | undefined;
  #largeEnd = 0;
  /** Small segments of the present large one, where all of them were written by this writer. */
  #parts: Buffer[] = [];
  /** Those of the segment at the log's edge that were there before this writer, as far as they are not taken in. */
  #earlier: Earlier | undefined;

  /**
   * @param size Leaves of the log so far.
   * @param leaves Its last ones, from where a small segment begins, read when they are asked for. Fewer: that segment is left out.
   */
  constructor(files: IndexFiles, size: number, leaves: Iterator<Uint8Array>) {
    this.#files = files;
    const end = size % SMALL_SEGMENT_LEAVES;
    this.#segment = new SegmentBuilder(size - end);
    if (end > 0) this.#earlier = { leaves, end, next: 0 };
  }

  /** @param index The leaf's place in the log. Places are given in order. */
  add(leaf: Uint8Array, index: number, scan: LeafScan = scanLeaf(leaf)): void {
    const at = index % SMALL_SEGMENT_LEAVES;
    if (at === 0) this.#segment = new SegmentBuilder(index);
    this.#segment?.add(leaf, scan, at);
    if (this.#earlier !== undefined) this.#takeEarlier(this.#earlier, SMALL_SEGMENT_LEAVES - at);
    if (this.#segment?.leaves === SMALL_SEGMENT_LEAVES) this.#endSegment(this.#segment);
  }

  /** @param left Leaves of the segment that are appended from now on, the present one among them. */
  #takeEarlier(earlier: Earlier, left: number): void {
    const count = Math.max(EARLIER_AT_ONCE, Math.ceil((earlier.end - earlier.next) / left));
    const until = Math.min(earlier.end, earlier.next + count);
    while (earlier.next < until) {
      const leaf: Uint8Array | undefined = ifReadable(() => earlier.leaves.next().value);
      if (leaf === undefined) {
        this.#segment = undefined;
        this.#earlier = undefined;
        return;
      }
      this.#segment?.add(leaf, scanLeaf(leaf), earlier.next++);
    }
    if (until === earlier.end) this.#earlier = undefined;
  }

  /** Small segments with a number below this one are in a large one. 0: none became so. */
  takeSmallSpent(): number {
    const spent = this.#largeEnd / SMALL_SEGMENT_LEAVES;
    this.#largeEnd = 0;
    return spent;
  }

  #endSegment(segment: SegmentBuilder): void {
    const { first } = segment;
    const bytes = segment.encode();
    this.#segment = undefined;
    this.#files.put(segmentPath({ first, leaves: SMALL_SEGMENT_LEAVES }), bytes);
    if (first % LARGE_SEGMENT_LEAVES === 0) this.#parts = [];
    this.#parts.push(bytes);
    const end = first + SMALL_SEGMENT_LEAVES;
    if (end % LARGE_SEGMENT_LEAVES === 0) this.#endLarge(end - LARGE_SEGMENT_LEAVES);
  }

  #endLarge(first: number): void {
    const wanted = LARGE_SEGMENT_LEAVES / SMALL_SEGMENT_LEAVES;
    const parts = this.#parts.length === wanted ? this.#parts : this.#readParts(first, wanted);
    this.#parts = [];
    const merged = parts && mergeSegments(parts);
    if (merged === undefined) return;
    this.#files.put(segmentPath({ first, leaves: LARGE_SEGMENT_LEAVES }), merged);
    this.#largeEnd = first + LARGE_SEGMENT_LEAVES;
  }

  /** Some were written by a run before this one. */
  #readParts(first: number, count: number): Buffer[] | undefined {
    const parts: Buffer[] = [...this.#parts];
    for (let no = count - parts.length - 1; no >= 0; no--) {
      const at = first + no * SMALL_SEGMENT_LEAVES;
      const path = segmentPath({ first: at, leaves: SMALL_SEGMENT_LEAVES });
      const part = ifReadable(() => this.#files.read(path));
      if (part === undefined) return undefined;
      parts.unshift(part);
    }
    return parts;
  }
}

/** What the disk does not give is left out: the log goes on without its index, which can be made again. */
function ifReadable<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}

export type IndexAnswer = {
  /** Leaves that may mention the id, in rising order. */
  readonly leaves: readonly number[];
  /** Stretches that no segment covers: look through them. */
  readonly uncovered: readonly SegmentName[];
};

/**
 * Which leaves of a log may mention an id, by its index alone.
 *
 * @param dir Folder of the log.
 * @param span Leaves `from` to `to` (excluded) are asked for.
 */
export function indexedLeaves(
  dir: string,
  requestId: string,
  span: { readonly from: number; readonly to: number },
): IndexAnswer {
  const leaves: number[] = [];
  const uncovered: SegmentName[] = [];
  const look = (name: SegmentName): boolean => {
    const found = lookUpFile(join(dir, segmentPath(name)), requestId);
    leaves.push(...(found ?? []));
    return found !== undefined;
  };
  for (let at = span.from - (span.from % LARGE_SEGMENT_LEAVES); at < span.to; ) {
    const large = { first: at, leaves: LARGE_SEGMENT_LEAVES };
    if (at + large.leaves <= span.to && look(large)) {
      at += large.leaves;
      continue;
    }
    const end = Math.min(at + LARGE_SEGMENT_LEAVES, span.to);
    for (; at < end; at += SMALL_SEGMENT_LEAVES) {
      const small = { first: at, leaves: SMALL_SEGMENT_LEAVES };
      if (at + small.leaves <= span.from || look(small)) continue;
      uncovered.push({ first: at, leaves: Math.min(SMALL_SEGMENT_LEAVES, end - at) });
    }
  }
  return { leaves: leaves.sort((a, b) => a - b), uncovered };
}

function lookUpFile(path: string, requestId: string): readonly number[] | undefined {
  let fd: number;
  try {
    fd = openSync(path, "r");
  } catch {
    return undefined;
  }
  try {
    if (!fstatSync(fd).isFile()) return undefined;
    return lookUp((into, at) => readSync(fd, into, 0, into.length, at), requestId);
  } catch {
    // An index that cannot be read is one that is not there.
    return undefined;
  } finally {
    closeSync(fd);
  }
}
