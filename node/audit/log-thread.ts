import { AuditFault } from "../../audit/audit-fault.ts";
import { encodeLeaf, RecordError } from "../../audit/leaf.ts";
import { STEP_SLACK_MS } from "../../audit/leaf-lint.ts";
import { LogFiles } from "../../audit/log-files.ts";
import { type AuditRecord, QUOTED_CHECKPOINT_CHARS_MAX } from "../../audit/record.ts";
import { standsAt } from "../../audit/scan-leaf.ts";
import { encodeVkey } from "../../audit/signed-note.ts";
import { CHECKPOINT_PATH } from "../../audit/tiles.ts";
import { WITNESSED_PATH } from "../../audit/witnessed.ts";
import type { Clock } from "../../ports/clock.ts";
import type { Disk } from "../../ports/disk.ts";
import type { Keys } from "../../ports/keys.ts";
import { AuditLog } from "./audit-log.ts";
import { type ClockStep, ClockWatch } from "./clock-watch.ts";
import {
  type EpochLimits,
  encodeOpened,
  epochEndOf,
  OPENED_PATH,
  openedMsOf,
} from "./epoch-end.ts";
import { type EpochOpening, openEpochAfter } from "./log-epoch.ts";
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
/**
 * A log that was ended waits so long for a witness, so that the next one can quote what was cosigned, ms. What
 * is decided meanwhile waits in the WAL.
 */
export const SUCCESSOR_WAIT_MS = 10_000;
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
  /** When the log is ended; left out, it is not. */
  readonly limits?: EpochLimits;
  /** A checkpoint is on the disk. */
  readonly onSigned?: (checkpoint: string) => void;
  /** Another log has begun, and the one before does not grow any more. */
  readonly onOpened?: (opened: { readonly epoch: number; readonly vkey: string }) => void;
  /** Told once when a checkpoint fails, until one succeeds. */
  readonly onFault: (fault: AuditFault) => void;
};

/** One log, as the thread has it open. */
type OpenLog = {
  readonly name: LogName;
  readonly opening: EpochOpening | undefined;
  readonly log: AuditLog;
  readonly files: LogFiles;
  readonly vkey: string;
  openedMs: number;
};

/** The log was ended by its last leaf: nothing may be added, and another one is to follow. */
type Ending = { readonly rc: string; readonly sinceNs: bigint; isCosigned: boolean };

/** Takes what is synced into the log, and signs it. */
export class LogThread implements SyncedFrames {
  readonly #options: LogThreadOptions;
  readonly #frames: WalFrames;
  readonly #watch: ClockWatch;
  readonly #damaged = new Set<string>();
  #open: OpenLog;
  /** The one before, whose last cosignature may come late. */
  #before: AuditLog | undefined;
  #ending: Ending | undefined;
  #checkpointAtNs = 0n;
  #isFailing = false;

  /** @throws AuditFault The log cannot be continued. */
  constructor(options: LogThreadOptions) {
    const { name, opening, walDir, run, disk, sync, clock } = options;
    this.#options = options;
    const { open, consumed, ended } = this.#take(name, opening);
    this.#open = open;
    if (ended !== undefined) this.#end(ended);
    if (run < consumed.doneBefore) throw new AuditFault(`the log is ahead of run ${run}`);
    const writers = sync.synced().map((writer) => writer.name);
    const marksOf = (writer: string) => sync.marksOf(writer);
    this.#frames = new WalFrames({ disk, dir: walDir, run, writers, consumed, marksOf });
    this.#watch = new ClockWatch(clock);
  }

  /** What the log's checkpoints are verified by. */
  get vkey(): string {
    return this.#open.vkey;
  }

  /** Leaves that the last checkpoint covers. */
  get signedSize(): number {
    return this.#log.signedSize;
  }

  get #log(): AuditLog {
    return this.#open.log;
  }

  get #files(): LogFiles {
    return this.#open.files;
  }

  /** A witness has cosigned a checkpoint. A line that comes too late, or cannot be kept, is dropped. */
  cosigned(text: string, line: string): void {
    try {
      this.#before?.cosign(text, line, () => undefined);
      const isLast = this.#log.cosign(text, line, () => undefined);
      if (isLast && this.#ending !== undefined) this.#ending.isCosigned = true;
    } catch (cause) {
      this.#options.onFault(new AuditFault("a cosignature could not be kept", { cause }));
    }
  }

  /** Witnesses outside of the mesh have cosigned a checkpoint: it is kept beside that log's own, for receipts. */
  witnessed(epoch: number, note: string): void {
    const { home, disk, name } = this.#options;
    const files = new LogFiles(disk, { home, dir: logFolder(home, { ...name, epoch }) });
    try {
      // Of a log that was removed meanwhile nothing is made anew.
      if (files.read(CHECKPOINT_PATH) === undefined) return;
      files.put(WITNESSED_PATH, Buffer.from(note, "utf8"));
      files.settle(() => undefined);
    } catch (cause) {
      const message = "what witnesses outside have cosigned could not be kept";
      this.#options.onFault(new AuditFault(message, { cause }));
    }
  }

  absorb(between: () => void): boolean {
    // What was ended must not grow: frames wait for the log that follows.
    const isMore = this.#ending === undefined && this.#takeFrames(between);
    const sinceNs = this.#options.clock.monoNs() - this.#checkpointAtNs;
    if (sinceNs >= BigInt(CHECKPOINT_EVERY_MS) * 1_000_000n) {
      this.#endIfDue();
      this.#checkpoint(between);
    }
    return isMore || this.#followIfDue();
  }

  finish(): void {
    const nothing = (): void => undefined;
    // No witness is heard any more, and what waits for the log that follows is not to wait for another start.
    if (this.#ending !== undefined) {
      this.#checkpoint(nothing);
      this.#openNext(this.#ending);
    }
    while (this.#ending === undefined && this.#takeFrames(nothing)) {
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
    const { rc, prev } = this.#open.opening ?? { rc: "first_epoch" };
    const quoted = prev === undefined || prev === "" ? {} : { prev };
    this.#open.openedMs = t;
    this.#files.put(OPENED_PATH, encodeOpened(t));
    this.#append({ ...this.#head(t), k: "genesis", origin, rc, ...quoted });
  }

  /** Takes up a log where it was left. */
  #take(name: LogName, opening: EpochOpening | undefined) {
    const { home, keys, disk, clock } = this.#options;
    const signer = logSigner(keys, name);
    const files = new LogFiles(disk, { home, dir: logFolder(home, name) });
    const { state, consumed, ended } = restoreLog(files, signer.key);
    const log = new AuditLog({ files, signer, epoch: name.epoch, state });
    const openedMs = openedMsOf(files) ?? clock.nowMs();
    // One that a program before this kept does not say it: it counts from here on, over restarts too.
    if (log.size > 0) files.put(OPENED_PATH, encodeOpened(openedMs));
    const open: OpenLog = { name, opening, log, files, vkey: encodeVkey(signer.key), openedMs };
    // Before its first checkpoint it stands where the one before was ended.
    const isNew = log.size === 0 && opening?.consumed !== undefined;
    return { open, ended, consumed: isNew ? opening.consumed : consumed };
  }

  #end(rc: string): void {
    this.#ending = { rc, sinceNs: this.#options.clock.monoNs(), isCosigned: false };
  }

  #endIfDue(): void {
    const { limits, clock } = this.#options;
    if (limits === undefined || this.#ending !== undefined) return;
    const { name, openedMs } = this.#open;
    const nowMs = clock.nowMs();
    const rc = epochEndOf({ epoch: name.epoch, size: this.#log.size, openedMs }, limits, nowMs);
    if (rc === undefined) return;
    this.#append({ ...this.#head(Math.max(nowMs, this.#log.latestMs)), k: "close", rc });
    this.#end(rc);
  }

  /** Opens the log that follows an ended one, once that is cosigned, or was not in time. */
  #followIfDue(): boolean {
    const ending = this.#ending;
    if (ending === undefined) return false;
    const waitedNs = this.#options.clock.monoNs() - ending.sinceNs;
    const isLate = waitedNs >= BigInt(SUCCESSOR_WAIT_MS) * 1_000_000n;
    return (ending.isCosigned || isLate) && this.#openNext(ending);
  }

  /** @returns False: the ended log is not signed, or the one that follows cannot be opened. */
  #openNext(ending: Ending): boolean {
    if (this.#log.signedSize < this.#log.size) return false;
    try {
      return this.#follow(ending);
    } catch (cause) {
      const fault = new AuditFault("the log that follows could not be opened", { cause });
      if (!this.#isFailing) this.#options.onFault(fault);
      this.#isFailing = true;
      return false;
    }
  }

  /** @returns False when a witness disowned this log meanwhile: the next start opens what follows. */
  #follow({ rc }: Ending): boolean {
    const { disk, home } = this.#options;
    const { epoch } = this.#open.name;
    const note = this.#files.read(CHECKPOINT_PATH)?.toString("utf8") ?? "";
    const prev = note.length <= QUOTED_CHECKPOINT_CHARS_MAX ? note : "";
    const opening = { rc, prev, consumed: this.#frames.consumed() };
    const { open } = this.#take({ ...this.#open.name, epoch: epoch + 1 }, opening);
    if (!openEpochAfter(disk, home, { epoch, opening })) return false;
    this.#before = this.#log;
    this.#open = open;
    this.#ending = undefined;
    this.#isFailing = false;
    this.#options.onOpened?.({ epoch: epoch + 1, vkey: open.vkey });
    return true;
  }

  #putStep(t: number, stepMs: number): void {
    if (this.#log.size === 0) return;
    // Where nobody looked for long, time leads further back than the clock was set, and a verifier wants it said.
    const backMs = t - this.#log.latestMs;
    const isFurther = backMs < Math.min(0, stepMs) - STEP_SLACK_MS;
    this.#append({ ...this.#head(t), k: "clock", step_ms: isFurther ? backMs : stepMs });
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
