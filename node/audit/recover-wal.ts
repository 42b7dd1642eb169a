import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { AuditFault } from "../../audit/audit-fault.ts";
import { crc32c } from "../../audit/crc32c.ts";
import { FRAME_HEAD_BYTES, type FrameFlaw, readFrames } from "../../audit/frame.ts";
import { decodeRecord, LEAF_BYTES_MAX } from "../../audit/leaf.ts";
import type { AuditRecord, BootRecord, CloseRecord, GapRecord } from "../../audit/record.ts";
import type { Clock } from "../../ports/clock.ts";
import { type Disk, readInto } from "../../ports/disk.ts";
import type { Random } from "../../ports/random.ts";
import { type FloodCountLeft, floodCountLeft } from "./flood-count-file.ts";
import { readPiece, WAL_PIECE_BYTES } from "./read-wal.ts";
import { CONTROL_WRITER, listWalFiles, nextRun, type WalFile, walPath } from "./wal-files.ts";

/** A crash in the middle of an append leaves less than this; more is damage, and is kept. Bytes. */
const TORN_FRAME_BYTES_MAX = FRAME_HEAD_BYTES + LEAF_BYTES_MAX;
/** A decision's frame is longer than this, so it bounds how many can have been lost. Bytes. */
export const DECISION_FRAME_BYTES_MIN = 128;
const KERNEL_BOOT_FILE = "/proc/sys/kernel/random/boot_id";

/** What the runs before this one left behind. */
export type WalRecovery = {
  /** Id of this start: for `openWal`, the audit thread and the `boot` record. */
  readonly run: string;
  /** Id of the start before, if its files are there. */
  readonly lastRun: string | undefined;
  /** The last run said that it ended, and all that is there is whole. True for a first start. */
  readonly clean: boolean;
  /** Bytes at the ends of files that were no whole frame. They were cut away. */
  readonly tornBytes: number;
  /** Of those, bytes that no append leaves behind which was cut off: what was whole had been changed. */
  readonly alteredBytes: number;
  /** Bytes that cannot be read in files that were complete. They are left as they are. */
  readonly damagedBytes: number;
  /** A start before this one cut bytes of the last run away, and ended before it had a run of its own. */
  readonly wasCut: boolean;
  /** Id of the kernel's present boot; undefined where the system has none to give. */
  readonly kernelBootId: string | undefined;
  /** The last run was under the same boot: the kernel kept what the process had written. */
  readonly sameKernelBoot: boolean;
  /** Refusals that the runs before had counted and not yet written. */
  readonly floodsLeft: FloodCountLeft | undefined;
  /** Time of the last run's latest record that was looked at, ms since the Unix epoch. */
  readonly lastMs: number | undefined;
};

export type RecoverWalOptions = {
  /** The folder of the WAL files. It is made when it is not there. */
  readonly dir: string;
  readonly random: Random;
  /** Without it, a run's number only follows from the files that are there. */
  readonly clock?: Pick<Clock, "nowMs">;
  readonly disk: Disk;
  readonly kernelBootId?: string | undefined;
};

/**
 * Puts the WAL files of earlier runs in order and says in which state they were. Call it before
 * anybody opens a WAL.
 *
 * Money may be given back only if nothing can be missing: `sameKernelBoot`, neither torn nor damaged
 * bytes, and none that were cut away before.
 *
 * @throws AuditFault The folder cannot be read or put in order.
 */
export function recoverWal(options: RecoverWalOptions): WalRecovery {
  const { dir, random } = options;
  const disk = options.disk;
  const kernelBootId = "kernelBootId" in options ? options.kernelBootId : readKernelBootId();
  let left: Left;
  try {
    disk.makeFolder(dir);
    disk.syncFolder(dirname(dir));
    left = putInOrder(disk, dir);
  } catch (cause) {
    throw new AuditFault(`${dir} cannot be put in order`, { cause });
  }
  const { lastRun, tornBytes, damagedBytes, bootId, endKind, lastMs } = left;
  const isWhole = tornBytes === 0 && damagedBytes === 0;
  const run = nextRun(lastRun, options.clock?.nowMs() ?? 0, random.bytes(4));
  return {
    run,
    floodsLeft: floodsLeftIn(disk, dir, run),
    lastRun,
    clean: lastRun === undefined || (isWhole && endKind === "close"),
    tornBytes,
    alteredBytes: left.alteredBytes,
    damagedBytes,
    wasCut: left.wasCut,
    kernelBootId,
    sameKernelBoot: bootId !== undefined && bootId === kernelBootId,
    lastMs,
  };
}

/** The first record of a run, for the control thread's WAL. */
export function bootRecord(
  recovery: WalRecovery,
  now: { readonly t: number; readonly node: string; readonly version: string },
): BootRecord {
  const { run, clean, tornBytes, damagedBytes, kernelBootId } = recovery;
  return {
    v: 1,
    k: "boot",
    t: now.t,
    node: now.node,
    run,
    boot: kernelBootId ?? "unknown",
    clean,
    torn: tornBytes + damagedBytes,
    sw: now.version,
  };
}

/**
 * What was cut away, for the record after `boot`; `undefined` when nothing can be missing. Damage
 * in files that are complete is said by whoever reads them into the log.
 *
 * A frame torn by the end of the process is not: its append never returned, so nothing was done
 * upon it. It ends before its time, and never has another checksum than its own: that is a whole one that was
 * changed, and takes with it what lies behind it. Frames that a power loss took without a trace cannot be
 * counted here.
 */
export function gapRecord(
  recovery: WalRecovery,
  now: { readonly t: number; readonly node: string },
): GapRecord | undefined {
  const { tornBytes, alteredBytes, sameKernelBoot, lastMs } = recovery;
  const isExplained = sameKernelBoot && alteredBytes === 0;
  if (tornBytes === 0 || isExplained) return undefined;
  const rc = sameKernelBoot ? "wal_damaged" : "power_loss";
  const n = Math.ceil(tornBytes / DECISION_FRAME_BYTES_MIN);
  const t0 = Math.min(lastMs ?? now.t, now.t);
  return { v: 1, k: "gap", ...now, n, exact: false, rc, t0, t1: now.t };
}

/**
 * What a flood had come to when the last run died, for the record after `boot`: refusals that were
 * counted and in no record yet. The last of them may have been written just before.
 */
export function floodGapRecord(
  { floodsLeft }: WalRecovery,
  now: { readonly t: number; readonly node: string },
): GapRecord | undefined {
  if (floodsLeft === undefined) return undefined;
  const { count: n, fromMs } = floodsLeft;
  const t0 = Math.min(fromMs, now.t);
  return { v: 1, k: "gap", ...now, n, exact: false, rc: "flood_cut_off", t0, t1: now.t };
}

/** The last record of a run that ends in order, for the control thread's WAL. */
export function runEndRecord(now: { readonly t: number; readonly node: string }): CloseRecord {
  return { v: 1, k: "close", t: now.t, node: now.node, rc: "stopped" };
}

type Left = {
  lastRun: string | undefined;
  tornBytes: number;
  alteredBytes: number;
  damagedBytes: number;
  wasCut: boolean;
  /** Of the last run: the boot it was under, and the kind of its control thread's last record. */
  bootId: string | undefined;
  endKind: string | undefined;
  lastMs: number | undefined;
};

function putInOrder(disk: Disk, dir: string): Left {
  const files = listWalFiles(disk, dir);
  const lastRun = files.at(-1)?.run;
  const left: Left = {
    lastRun,
    wasCut: wasCut(disk, dir, lastRun),
    tornBytes: 0,
    alteredBytes: 0,
    damagedBytes: 0,
    bootId: undefined,
    endKind: undefined,
    lastMs: undefined,
  };
  for (const [i, file] of files.entries()) {
    const found = lookAt(disk, dir, file);
    const next = files[i + 1];
    const isLast = next?.run !== file.run || next.writer !== file.writer;
    const strayBytes = found.bytes - found.wholeBytes;
    if (strayBytes > 0 && isLast) {
      noteCut(disk, dir, file.run);
      cutTail(disk, dir, file, found);
      left.tornBytes += strayBytes;
      if (found.isAltered) left.alteredBytes += strayBytes;
    } else {
      left.damagedBytes += strayBytes;
    }
    if (file.run === left.lastRun) noteRun(left, file, found);
  }
  return left;
}

function floodsLeftIn(disk: Disk, dir: string, run: string): FloodCountLeft | undefined {
  try {
    return floodCountLeft(disk, dir, run);
  } catch (cause) {
    throw new AuditFault(`${dir}: what a flood had come to cannot be read`, { cause });
  }
}

function noteRun(left: Left, file: WalFile, { first, last }: Found): void {
  if (last !== undefined) left.lastMs = Math.max(left.lastMs ?? 0, last.t);
  if (file.writer !== CONTROL_WRITER) return;
  if (first?.k === "boot") left.bootId ??= first.boot;
  // A file that was begun and not written to has no last record: the run's is in the one before.
  left.endKind = last?.k ?? left.endKind;
}

type Found = {
  readonly bytes: number;
  readonly wholeBytes: number;
  /** What is behind the whole frames is more than an append that was cut off leaves. */
  readonly isAltered: boolean;
  readonly first: AuditRecord | undefined;
  readonly last: AuditRecord | undefined;
};

function lookAt(disk: Disk, dir: string, file: WalFile): Found {
  const fd = disk.open(walPath(dir, file));
  try {
    const bytes = disk.size(fd);
    let at = 0;
    let first: Uint8Array | undefined;
    let last: Uint8Array | undefined;
    let flaw: FrameFlaw | undefined;
    while (at < bytes) {
      const piece = readPiece(disk, fd, { at, until: bytes });
      const { leaves, endsAt } = piece;
      flaw = piece.flaw;
      first ??= leaves[0];
      last = leaves.at(-1) ?? last;
      if (flaw !== undefined || endsAt === at) {
        at = endsAt;
        break;
      }
      at = endsAt;
    }
    const remains = Buffer.alloc(Math.min(bytes - at, TORN_FRAME_BYTES_MAX));
    readInto(disk, fd, { into: remains, at });
    return {
      bytes,
      wholeBytes: at,
      isAltered: isAltered(flaw, remains),
      first: recordIn(first),
      last: recordIn(last),
    };
  } finally {
    disk.close(fd);
  }
}

/**
 * An append that was cut off leaves the beginning of one frame, and nothing behind it.
 *
 * @param remains What is behind the whole frames, as far as a crash can have left it.
 */
function isAltered(flaw: FrameFlaw | undefined, remains: Buffer): boolean {
  if (flaw !== "head_short" && flaw !== "leaf_short") return flaw !== undefined;
  if (isWholeLeaf(remains)) return true;
  for (let at = 1; at + FRAME_HEAD_BYTES < remains.length; at++) {
    if (readFrames(remains.subarray(at)).leaves.length > 0) return true;
  }
  return false;
}

/** Whether a frame's leaf is all there, and it is the length that says otherwise. */
function isWholeLeaf(frame: Buffer): boolean {
  const leaf = frame.subarray(FRAME_HEAD_BYTES);
  return leaf.length > 0 && frame.readUInt32BE(4) === crc32c(leaf);
}

const CUT_SUFFIX = ".was-cut";

/**
 * Whether a start has cut bytes of that run away. What it left looks whole to the next, so it says so in a
 * file of its own first; of runs that are no longer the last nobody asks any more.
 */
function wasCut(disk: Disk, dir: string, lastRun: string | undefined): boolean {
  const noted = disk.list(dir).filter((name) => name.endsWith(CUT_SUFFIX));
  for (const name of noted) if (name !== `${lastRun}${CUT_SUFFIX}`) disk.remove(join(dir, name));
  return noted.includes(`${lastRun}${CUT_SUFFIX}`);
}

function noteCut(disk: Disk, dir: string, run: string): void {
  disk.close(disk.recreate(join(dir, `${run}${CUT_SUFFIX}`)));
  disk.syncFolder(dir);
}

/** Cuts what is behind the last whole frame. */
function cutTail(disk: Disk, dir: string, file: WalFile, { wholeBytes, isAltered }: Found): void {
  const path = walPath(dir, file);
  const fd = disk.open(path);
  try {
    if (isAltered) keep(disk, `${path}.cut`, fd, wholeBytes);
    disk.truncate(fd, wholeBytes);
    disk.syncData(fd);
  } finally {
    disk.close(fd);
  }
}

/** Copies a file from `at` to its end: whole frames may lie behind the damage. */
function keep(disk: Disk, path: string, from: number, at: number): void {
  const to = disk.recreate(path);
  try {
    const piece = Buffer.alloc(WAL_PIECE_BYTES);
    for (let done = 0; ; ) {
      const count = disk.read(from, piece, at + done);
      if (count === 0) break;
      if (disk.write(to, piece.subarray(0, count), done) !== count) {
        throw new AuditFault(`${path} could not be written`);
      }
      done += count;
    }
    disk.syncData(to);
  } finally {
    disk.close(to);
  }
  disk.syncFolder(dirname(path));
}

function recordIn(leaf: Uint8Array | undefined): AuditRecord | undefined {
  const decoded = leaf && decodeRecord(leaf);
  return decoded?.ok ? decoded.record : undefined;
}

function readKernelBootId(): string | undefined {
  try {
    return readFileSync(KERNEL_BOOT_FILE, "utf8").trim();
  } catch {
    // Only Linux has the file. Without it no two runs are known to share a boot.
    return undefined;
  }
}
