/**
 * A thread's own write-ahead log: what it decided, on its way to the audit log.
 *
 * W1. `append` returns only after the kernel has the whole frame, and `handOver` after it has all frames: a
 *     crash of the process loses nothing that was acted upon.
 * W2. A frame that was not written whole is cut away again, so a file holds whole frames only.
 * W3. Nothing is allowed while the oldest unsynced frame is older than the bound, or after a write
 *     failed until one succeeds, or while the disk has no room. Refusals go on being written, and so
 *     find out when a write succeeds again.
 *     Nobody need come for it: after a failure the writer tries by itself, every `RETRY_MS`, with
 *     what waits, or a `gap` record.
 * W4. Refusals that could not be written are counted, and said in a `gap` record before the next
 *     one.
 * W5. What `appendSoon` took stands before whatever is appended after it. Where it cannot be written it
 *     waits for a write that succeeds.
 */

import { AuditFault } from "../../audit/audit-fault.ts";
import { FRAME_HEAD_BYTES, fillFrame } from "../../audit/frame.ts";
import { LEAF_BYTES_MAX, putLeaf } from "../../audit/leaf.ts";
import { type AuditRecord, decisionsIn, type GapRecord } from "../../audit/record.ts";
import type { LeafScan } from "../../audit/scan-leaf.ts";
import type { Cancel, Clock } from "../../ports/clock.ts";
import type { Disk } from "../../ports/disk.ts";
import type { DecisionLog } from "../decision/commit.ts";
import { syncedAtNs, type Table } from "../table/table.ts";
import { MarkWriter } from "./leaf-marks.ts";
import { unsyncedSinceNs } from "./log-writable.ts";
import { WAL_FILE_BYTES_MAX, walPath } from "./wal-files.ts";
import {
  marksOf,
  publishPosition,
  publishWrittenAt,
  roomOf,
  setFailed,
  type WalSignal,
  type WrittenAt,
} from "./wal-signal.ts";

/**
 * Bytes of a leaf without its place: `"ep":` and `"seq":` with their numbers must fit beside it.
 */
export const WAL_LEAF_BYTES_MAX = LEAF_BYTES_MAX - 64;
/** What may wait for a write, give or take a record: a turn's records are some hundred bytes each. */
const WAITING_BYTES_MAX = 64 * 1024;
const FRAME_BYTES_MAX = FRAME_HEAD_BYTES + LEAF_BYTES_MAX;
/** Time after a failed write until the writer tries by itself, and from there to the next try. */
export const RETRY_MS = 1_000;

export type Wal = DecisionLog & {
  /**
   * Hands the record to the kernel. Costs one write and no sync.
   *
   * @throws AuditFault It could not be written, or it breaks its schema; then nothing was.
   */
  append(record: AuditRecord): void;
  /**
   * Writes the record with the next one, or at the end of this turn of the event loop.
   *
   * @throws AuditFault It breaks its schema, too many wait for a disk that takes none, or the log is closed.
   */
  appendSoon(record: AuditRecord): void;
  /**
   * Writes what `appendSoon` took, if anything of that waits still.
   *
   * @throws AuditFault It could not be written, and goes on waiting.
   */
  handOver(): void;
  /** @param nowNs Monotonic now, as the clock given to `openWal` tells it. */
  canAllow(nowNs: bigint): boolean;
  /**
   * Whether all that `append` was given by an instant is on the disk.
   *
   * @param sinceNs Monotonic time, taken after the append.
   */
  isSynced(sinceNs: bigint): boolean;
  /**
   * No record can be appended any more. What was appended is synced by the audit thread.
   *
   * @throws AuditFault What `appendSoon` took could not be written. It is closed all the same.
   */
  close(): void;
};

export type WalOptions = {
  /** The folder of all WAL files; it exists. */
  readonly dir: string;
  /** Id of this start, from `recoverWal`. */
  readonly run: string;
  /** `no` is the writer's place in the table and the signal, `name` its part of file names. */
  readonly writer: { readonly no: number; readonly name: string };
  readonly table: Table;
  readonly signal: WalSignal;
  readonly clock: Clock;
  /** Longest time that a frame may be unsynced before allows stop, ms. */
  readonly syncMaxMs: number;
  readonly disk: Disk;
  /** A file is left for a new one where a frame would go beyond this. Bytes. */
  readonly fileBytesMax?: number;
};

/** @throws AuditFault The first file could not be made. */
export function openWal(options: WalOptions): Wal {
  return new WalWriter(options);
}

class WalWriter implements Wal {
  readonly #options: WalOptions;
  readonly #disk: Disk;
  readonly #syncMaxNs: bigint;
  readonly #fileBytesMax: number;
  readonly #marks: MarkWriter;
  #fd: number | undefined;
  #fileNo = 0;
  /** Bytes of whole frames in the present file: where the next one goes. */
  #bytes = 0;
  /** When frames were in the kernel's hands: the newest, and the oldest of those that were unsynced. */
  #writtenAt: WrittenAt = { oldestNs: 0n, newestNs: 0n };
  #hasFailed = false;
  #cancelRetry: Cancel | undefined;
  /** Bytes of a failed write may lie behind `#bytes`. */
  #hasRemains = false;
  #lost: LostDecisions | undefined;
  /** Frames that go with the next write, one behind the other; after them, the one that is being written. */
  readonly #kept = Buffer.allocUnsafeSlow(WAITING_BYTES_MAX + 2 * FRAME_BYTES_MAX);
  #waiting: Frame[] = [];
  #waitingBytes = 0;
  #isWritePlanned = false;

  constructor(options: WalOptions) {
    this.#options = options;
    this.#disk = options.disk;
    this.#marks = new MarkWriter(marksOf(options.signal, options.writer.no));
    this.#fileBytesMax = options.fileBytesMax ?? WAL_FILE_BYTES_MAX;
    this.#syncMaxNs = BigInt(options.syncMaxMs) * 1_000_000n;
    try {
      this.#openNextFile();
    } catch (cause) {
      throw new AuditFault(`${options.dir} takes no log file`, { cause });
    }
  }

  append(record: AuditRecord): void {
    let frame = this.#put(record);
    try {
      if (this.#lost !== undefined && this.#lost.count > 0) {
        this.#write(this.#put(gapOf(this.#lost, record.t)));
        this.#lost = undefined;
        // The gap was put in its place.
        frame = this.#put(record);
      }
      this.#write(frame);
      this.#lost = undefined;
    } catch (cause) {
      this.#lost = withLost(this.#lost, record);
      const { name } = this.#options.writer;
      throw new AuditFault(`${name}: a record could not be written`, { cause });
    }
  }

  appendSoon(record: AuditRecord): void {
    // It would wait for a write that nothing makes any more, and be missed by nobody.
    if (this.#fd === undefined) throw new AuditFault("the log is closed");
    if (this.#waitingBytes >= WAITING_BYTES_MAX) this.handOver();
    const frame = this.#put(record);
    this.#waiting.push(frame);
    this.#waitingBytes += frame.bytes;
    if (this.#isWritePlanned) return;
    this.#isWritePlanned = true;
    setImmediate(() => {
      this.#isWritePlanned = false;
      try {
        this.#write();
      } catch {
        // It goes on waiting, and until a write succeeds nothing is allowed.
      }
    });
  }

  handOver(): void {
    if (this.#waitingBytes === 0) return;
    try {
      this.#write();
    } catch (cause) {
      const { name } = this.#options.writer;
      throw new AuditFault(`${name}: what waits could not be written`, { cause });
    }
  }

  canAllow(nowNs: bigint): boolean {
    if (this.#hasFailed || roomOf(this.#options.signal) === "none") return false;
    const sinceNs = unsyncedSinceNs(this.#writtenAt, this.#syncedNs());
    return sinceNs === undefined || nowNs - sinceNs < this.#syncMaxNs;
  }

  isSynced(sinceNs: bigint): boolean {
    return this.#syncedNs() >= sinceNs;
  }

  close(): void {
    if (this.#fd === undefined) return;
    try {
      this.#write();
    } finally {
      this.#cancelRetry?.();
      this.#disk.close(this.#fd);
      this.#fd = undefined;
    }
  }

  /** Makes the record a frame behind all that waits, where the next one goes too unless it is kept. */
  #put(record: AuditRecord): Frame {
    const at = this.#waitingBytes;
    try {
      const { bytes: leafBytes, scan } = putLeaf(record, this.#kept, at + FRAME_HEAD_BYTES);
      if (leafBytes > WAL_LEAF_BYTES_MAX) throw new RangeError(`a leaf of ${leafBytes} bytes`);
      fillFrame(this.#kept, at, leafBytes);
      return { bytes: FRAME_HEAD_BYTES + leafBytes, scan };
    } catch (cause) {
      throw new AuditFault(`a ${record.k} record cannot be written down`, { cause });
    }
  }

  /** Writes what waits, and behind it the frame that was put there. */
  #write(frame?: Frame): void {
    const bytes = this.#waitingBytes + (frame?.bytes ?? 0);
    if (bytes === 0) return;
    if (this.#fd === undefined) throw new AuditFault("the log is closed");
    try {
      this.#writeFrames(bytes, frame);
    } catch (fault) {
      this.#setFailed(true);
      this.#cancelRetry ??= this.#options.clock.after(RETRY_MS, this.#retry);
      throw fault;
    }
    if (this.#hasFailed) this.#setFailed(false);
    this.#waiting.length = 0;
    this.#waitingBytes = 0;
  }

  /** A node that says that it is not ready is sent nothing that would try the disk again. */
  readonly #retry = (): void => {
    this.#cancelRetry = undefined;
    if (!this.#hasFailed) return;
    try {
      const hasWaited = this.#waitingBytes > 0;
      this.#write();
      const lost = this.#lost;
      if (lost === undefined || (hasWaited && lost.count === 0)) return;
      this.#write(this.#put(gapOf(lost, this.#options.clock.nowMs())));
      this.#lost = undefined;
    } catch {
      // The next try is planned.
    }
  };

  #setFailed(hasFailed: boolean): void {
    this.#hasFailed = hasFailed;
    setFailed(this.#options.signal, this.#options.writer.no, hasFailed);
  }

  #writeFrames(bytes: number, last: Frame | undefined): void {
    // First of all: remains in a file that is left behind would look torn when it is read again.
    if (this.#hasRemains) this.#cutRemains();
    if (this.#bytes + bytes > this.#fileBytesMax) this.#openNextFile();
    this.#writeWhole(this.#kept.subarray(0, bytes));
    for (const frame of this.#waiting) this.#tell(frame);
    if (last !== undefined) this.#tell(last);
    this.#publish();
    // After the write and its publication: a sync that began before this instant counts neither.
    const nowNs = this.#options.clock.monoNs();
    const isAllSynced = this.#writtenAt.newestNs <= this.#syncedNs();
    const oldestNs = isAllSynced ? nowNs : this.#writtenAt.oldestNs;
    this.#writtenAt = { oldestNs, newestNs: nowNs };
    publishWrittenAt(this.#options.signal, this.#options.writer.no, this.#writtenAt);
  }

  #tell({ bytes, scan }: Frame): void {
    this.#bytes += bytes;
    this.#marks.tell({ fileNo: this.#fileNo, bytes: this.#bytes }, scan);
  }

  #writeWhole(frame: Uint8Array): void {
    this.#hasRemains = true;
    try {
      const written = this.#disk.write(this.#fd as number, frame, this.#bytes);
      if (written === frame.length) {
        this.#hasRemains = false;
        return;
      }
      throw new AuditFault(`${written} of ${frame.length} bytes were written`);
    } catch (fault) {
      this.#cutRemains();
      throw fault;
    }
  }

  /** When this fails too, the remains are cut before the next write. */
  #cutRemains(): void {
    this.#disk.truncate(this.#fd as number, this.#bytes);
    this.#hasRemains = false;
  }

  #openNextFile(): void {
    const { dir, run, writer } = this.#options;
    const no = this.#fileNo + 1;
    const fd = this.#disk.create(walPath(dir, { run, writer: writer.name, no }));
    const left = this.#fd;
    this.#fd = fd;
    this.#fileNo = no;
    this.#bytes = 0;
    this.#publish();
    if (left !== undefined) this.#disk.close(left);
  }

  #publish(): void {
    const { signal, writer } = this.#options;
    publishPosition(signal, writer.no, { fileNo: this.#fileNo, bytes: this.#bytes });
  }

  #syncedNs(): bigint {
    return syncedAtNs(this.#options.table, this.#options.writer.no);
  }
}

/** Decisions that were made and could not be written; 0 after an allow, which then did not happen. */
type LostDecisions = {
  readonly count: number;
  readonly node: string;
  readonly t0: number;
  readonly t1: number;
};

/** An allow that is not written does not happen; a refusal stands, and is missing from the log. */
function withLost(lost: LostDecisions | undefined, record: AuditRecord): LostDecisions {
  const isRefusal = record.k === "flood" || (record.k === "decision" && record.dec === "deny");
  const { node, t } = record;
  if (!isRefusal) return lost ?? { count: 0, node, t0: t, t1: t };
  const isFirst = lost === undefined || lost.count === 0;
  const t0 = isFirst ? (record.k === "flood" ? record.t0 : t) : lost.t0;
  return { count: (lost?.count ?? 0) + decisionsIn(record), node, t0, t1: t };
}

function gapOf({ count, node, t0, t1 }: LostDecisions, t: number): GapRecord {
  return { v: 1, k: "gap", t, node, n: count, exact: true, rc: "audit_unavailable", t0, t1 };
}

/** How long a frame is, and where things stand in its leaf. */
type Frame = { readonly bytes: number; readonly scan: LeafScan };
