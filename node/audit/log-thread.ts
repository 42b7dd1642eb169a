import { AuditFault } from "../../audit/audit-fault.ts";
import { encodeLeaf, RecordError } from "../../audit/leaf.ts";
import { LogFiles } from "../../audit/log-files.ts";
import type { AuditRecord } from "../../audit/record.ts";
import { standsAt } from "../../audit/scan-leaf.ts";
import { encodeVkey } from "../../audit/signed-note.ts";
import type { Clock } from "../../ports/clock.ts";
import type { Disk } from "../../ports/disk.ts";
import type { Keys } from "../../ports/keys.ts";
import { AuditLog } from "./audit-log.ts";
import { type ClockStep, ClockWatch } from "./clock-watch.ts";
import type { EpochOpening } from "./log-epoch.ts";
import { type LogName, logFolder, logSigner } from "./log-origin.ts";
import { DECISION_FRAME_BYTES_MIN } from "./recover-wal.ts";
import { restoreLog } from "./restore-log.ts";
import type { SyncedFrames } from "./sync-loop.ts";
import { walFileName, walPath } from "./wal-files.ts";
import { type WalFrame, WalFrames } from "./wal-frames.ts";
import type { WalSync } from "./wal-sync.ts";

/** A checkpoint is signed at most so often. */
export const CHECKPOINT_EVERY_MS = 1_000;
/** Content that waits for a checkpoint, at most; then reading stops until there is one. Bytes. */
export const UNSIGNED_BYTES_MAX = 32 * 1024 * 1024;
/** Frames that are taken between two looks at the WAL's sync. */
const FRAMES_PER_TURN = 64;
const TURNS_MAX = 32;
/** A run's records may lie this far before the run before it without a word about the clock, ms. */
const BACKSTEP_MS_MAX = 1_000;

export type LogThreadOptions = {
  readonly name: LogName;
  /** The node's home: the log lies in `log` below it. It exists. */
  readonly home: string;
  readonly walDir: string;
  readonly run: string;
  readonly sync: WalSync;
  readonly keys: Keys;
  readonly clock: Clock;
  readonly disk: Disk;
  /** Why the epoch was opened, and the last checkpoint of the one before; absent for a first one. */
  readonly opening?: EpochOpening;
  /** A checkpoint is on the disk. */
  readonly onSigned?: (checkpoint: string) => void;
  /** Told once when a checkpoint fails, until one succeeds. */
  readonly onFault: (fault: AuditFault) => void;
};

/** Takes what is synced into the log, and signs it. */
export class LogThread implements SyncedFrames {
  /** What the log's checkpoints are verified by. */
  readonly vkey: string;
  readonly #options: LogThreadOptions;
  readonly #log: AuditLog;
  readonly #files: LogFiles;
  readonly #frames: WalFrames;
  readonly #watch: ClockWatch;
  readonly #damaged = new Set<string>();
  #checkpointAtNs = 0n;
  #isFailing = false;

  /** @throws AuditFault The log cannot be continued. */
  constructor(options: LogThreadOptions) {
    const { name, home, walDir, run, disk, sync } = options;
    this.#options = options;
    const signer = logSigner(options.keys, name);
    this.vkey = encodeVkey(signer.key);
    this.#files = new LogFiles(disk, { home, dir: logFolder(home, name) });
    const { state, consumed } = restoreLog(this.#files, signer.key);
    if (run < consumed.doneBefore) throw new AuditFault(`the log is ahead of run ${run}`);
    this.#log = new AuditLog({ files: this.#files, signer, epoch: name.epoch, state });
    const writers = sync.synced().map((writer) => writer.name);
    const marksOf = (writer: string) => sync.marksOf(writer);
    this.#frames = new WalFrames({ disk, dir: walDir, run, writers, consumed, marksOf });
    this.#watch = new ClockWatch(options.clock);
  }

  /** Leaves that the last checkpoint covers. */
  get signedSize(): number {
    return this.#log.signedSize;
  }

  /** A witness has cosigned a checkpoint. A line that comes too late, or cannot be kept, is dropped. */
  cosigned(text: string, line: string): void {
    try {
      this.#log.cosign(text, line, () => undefined);
    } catch (cause) {
      this.#options.onFault(new AuditFault("a cosignature could not be kept", { cause }));
    }
  }

  absorb(between: () => void): boolean {
    const isMore = this.#takeFrames(between);
    const { clock } = this.#options;
    const sinceNs = clock.monoNs() - this.#checkpointAtNs;
    if (sinceNs >= BigInt(CHECKPOINT_EVERY_MS) * 1_000_000n) this.#checkpoint(between);
    return isMore;
  }

  finish(): void {
    const nothing = (): void => undefined;
    while (this.#takeFrames(nothing)) {
      if (this.#files.waitingBytes > UNSIGNED_BYTES_MAX) this.#checkpoint(nothing);
      if (this.#isFailing) break;
    }
    this.#checkpoint(nothing);
    this.#frames.close();
  }

  /** True when there may be more to take at once. */
  #takeFrames(between: () => void): boolean {
    // Positions first, the clock after them: a frame with the new time is never before the step.
    this.#frames.allow(this.#options.sync.synced());
    const step = this.#frames.isCatchingUp ? undefined : this.#watch.look();
    if (step !== undefined) this.#takeAround(step);
    for (let turn = 0; turn < TURNS_MAX; turn++) {
      for (let i = 0; i < FRAMES_PER_TURN; i++) {
        if (this.#files.waitingBytes > UNSIGNED_BYTES_MAX) return true;
        const frame = this.#frames.take();
        if (frame === undefined) return false;
        this.#put(frame);
      }
      between();
    }
    return true;
  }

  /**
   * Frames of the same batch are from before the jump and from after it, and are put on its sides.
   */
  #takeAround({ nowMs, fromMs, stepMs }: ClockStep): void {
    const frames: WalFrame[] = [];
    for (let i = 0; i < FRAMES_PER_TURN * TURNS_MAX; i++) {
      const frame = this.#frames.take();
      if (frame === undefined) break;
      frames.push(keptFrame(frame));
    }
    const hasOldTime = ({ item }: WalFrame): boolean =>
      stepMs < 0 ? item.t > nowMs : item.t < fromMs;
    for (const frame of frames) if (hasOldTime(frame)) this.#put(frame);
    this.#putStep(fromMs, stepMs);
    for (const frame of frames) if (!hasOldTime(frame)) this.#put(frame);
  }

  #put(frame: WalFrame): void {
    const { item } = frame;
    const { leaf, scan } = item;
    const t = leaf === undefined ? Math.max(item.t, this.#log.latestMs) : item.t;
    if (this.#log.size === 0) this.#putGenesis(t);
    // A run before this one cannot be asked for its clock any more; its records can.
    const isOld = frame.isFirstOfRun || this.#frames.isCatchingUp;
    if (isOld && t < this.#log.latestMs - BACKSTEP_MS_MAX) this.#putStep(t, t - this.#log.latestMs);
    if (leaf === undefined || scan === undefined) {
      this.#noteDamage(frame, t);
      return;
    }
    // The end of a run is not the end of the log, and the next `boot` record says how it was.
    if (standsAt(leaf, scan.kindAt, RUN_END)) return;
    try {
      this.#log.append(leaf, t, frame.run === this.#options.run ? scan : undefined);
    } catch (error) {
      if (!(error instanceof RecordError)) throw error;
      // Written by another version of this program: it cannot be read, and must not block the rest.
      this.#putGap(t, "leaf_malformed", 1);
    }
  }

  #noteDamage({ run, writer, item }: WalFrame, t: number): void {
    const { fileNo, lostBytes } = item;
    this.#damaged.add(walFileName({ run, writer, no: fileNo }));
    this.#putGap(t, "wal_damaged", Math.ceil(lostBytes / DECISION_FRAME_BYTES_MIN));
    const where = `${run}-${writer}-${fileNo}`;
    this.#options.onFault(new AuditFault(`${where}: ${lostBytes} bytes cannot be read`));
  }

  #putGenesis(t: number): void {
    const { origin } = this.#log;
    const { rc, prev } = this.#options.opening ?? { rc: "first_epoch" };
    const quoted = prev === undefined || prev === "" ? {} : { prev };
    this.#append({ ...this.#head(t), k: "genesis", origin, rc, ...quoted });
  }

  #putStep(t: number, stepMs: number): void {
    if (this.#log.size === 0) return;
    this.#append({ ...this.#head(t), k: "clock", step_ms: stepMs });
    this.#log.restartTime(t);
  }

  #putGap(t: number, rc: string, n: number): void {
    const t0 = Math.min(t, this.#log.latestMs);
    const t1 = Math.max(t, this.#options.clock.nowMs());
    this.#append({ ...this.#head(t), k: "gap", n, exact: false, rc, t0, t1 });
  }

  #append(record: AuditRecord): void {
    this.#log.append(encodeLeaf(record), record.t);
  }

  #head(t: number): { readonly v: 1; readonly t: number; readonly node: string } {
    return { v: 1, t, node: this.#options.name.node };
  }

  #checkpoint(between: () => void): void {
    if (this.#log.size === this.#log.signedSize) return;
    this.#checkpointAtNs = this.#options.clock.monoNs();
    const consumed = this.#frames.consumed();
    try {
      const checkpoint = this.#log.checkpoint(consumed, between);
      this.#log.sweep();
      this.#removeSpent(consumed);
      this.#isFailing = false;
      this.#options.onSigned?.(checkpoint);
    } catch (cause) {
      const fault = new AuditFault("the log's checkpoint could not be made", { cause });
      if (!this.#isFailing) this.#options.onFault(fault);
      this.#isFailing = true;
    }
  }

  /**
   * Removes WAL files that the checkpoint has made superfluous. They may reappear, and do no harm.
   */
  #removeSpent(consumed: Parameters<typeof WalFrames.spent>[1]): void {
    const { disk, walDir, run } = this.#options;
    for (const file of WalFrames.spent({ disk, dir: walDir, run }, consumed)) {
      const path = walPath(walDir, file);
      // What could not be read is kept for whoever looks into it.
      if (this.#damaged.has(walFileName(file))) disk.rename(path, `${path}.damaged`);
      else disk.remove(path);
    }
  }
}

/** A frame whose bytes stand for good. */
function keptFrame(frame: WalFrame): WalFrame {
  const { leaf } = frame.item;
  return leaf === undefined
    ? frame
    : { ...frame, item: { ...frame.item, leaf: Buffer.from(leaf) } };
}

const RUN_END = Buffer.from('close"', "latin1");
