/**
 * How far each writer of the log has written, in shared memory, and the wake-up of the audit
 * thread.
 *
 * G1. A position is one 64-bit cell, so its file and its length always belong together.
 * G2. A position is published after its frame was handed to the kernel: what lies before it is
 *     whole.
 * G3. A frame published while the audit thread falls asleep keeps it awake.
 *
 * Behind the positions lie the marks of each writer's last leaves: see leaf-marks.ts.
 */

import assert from "node:assert/strict";
import type { Room } from "./disk-room.ts";
import { MARK_INTS } from "./leaf-marks.ts";

/** Where a writer stands. `fileNo` 0: it has not opened its first file. */
export type WalPosition = { readonly fileNo: number; readonly bytes: number };

export type WalSignal = {
  readonly buffer: SharedArrayBuffer;
  readonly writers: number;
  readonly ints: Int32Array<SharedArrayBuffer>;
  readonly longs: BigInt64Array<SharedArrayBuffer>;
};

const WRITERS_MAX = 512;
/** In a writer's line, beside its position: 1 from a write that failed until one succeeds. */
const FAILED = 1;
/** The same: when its newest frame was written, and the oldest that may be unsynced; monotonic ns. */
const NEWEST_AT = 2;
const OLDEST_AT = 3;
/** In `ints`: 1 while the audit thread sleeps. */
const ASLEEP = 0;
/** In `ints`: how much room the disk has, as an index into `ROOMS`. */
const ROOM = 1;
const ROOMS: readonly Room[] = ["enough", "short", "none"];
/** A writer's cell has a cache line of its own: other loops write theirs all the time. */
const LONGS_PER_LINE = 8;
const LINE_BYTES = LONGS_PER_LINE * 8;
const MARK_BYTES = MARK_INTS * 4;
const FILE_SHIFT = 32n;
const BYTES_MASK = (1n << FILE_SHIFT) - 1n;

export function createWalSignal(writers: number): WalSignal {
  assert(Number.isInteger(writers) && writers >= 1 && writers <= WRITERS_MAX, `${writers} writers`);
  return openWalSignal(new SharedArrayBuffer(LINE_BYTES + writers * (LINE_BYTES + MARK_BYTES)));
}

/** The signal in a buffer that another thread created. */
export function openWalSignal(buffer: SharedArrayBuffer): WalSignal {
  const writers = (buffer.byteLength - LINE_BYTES) / (LINE_BYTES + MARK_BYTES);
  const longs = new BigInt64Array(buffer, 0, (writers + 1) * LONGS_PER_LINE);
  return { buffer, writers, ints: new Int32Array(buffer), longs };
}

/** Where a writer's marks lie. */
export function marksOf({ buffer, longs }: WalSignal, writer: number): Int32Array {
  return new Int32Array(buffer, longs.byteLength + writer * MARK_BYTES, MARK_INTS);
}

/** Called by the writer alone, after every frame and every new file. */
export function publishPosition(signal: WalSignal, writer: number, position: WalPosition): void {
  const { fileNo, bytes } = position;
  Atomics.store(signal.longs, cellOf(signal, writer), pack(fileNo, bytes));
  if (Atomics.load(signal.ints, ASLEEP) !== 0) wake(signal);
}

export function positionOf(signal: WalSignal, writer: number): WalPosition {
  const packed = Atomics.load(signal.longs, cellOf(signal, writer));
  return { fileNo: Number(packed >> FILE_SHIFT), bytes: Number(packed & BYTES_MASK) };
}

/** When a writer's frames were written that may be unsynced, monotonic ns; 0 before the first. */
export type WrittenAt = { readonly oldestNs: bigint; readonly newestNs: bigint };

/** Called by the writer alone, when its newest frame is in the kernel's hands. */
export function publishWrittenAt(signal: WalSignal, writer: number, at: WrittenAt): void {
  const cell = cellOf(signal, writer);
  Atomics.store(signal.longs, cell + OLDEST_AT, at.oldestNs);
  Atomics.store(signal.longs, cell + NEWEST_AT, at.newestNs);
}

export function writtenAtOf(signal: WalSignal, writer: number): WrittenAt {
  const cell = cellOf(signal, writer);
  const newestNs = Atomics.load(signal.longs, cell + NEWEST_AT);
  return { oldestNs: Atomics.load(signal.longs, cell + OLDEST_AT), newestNs };
}

/** Called by the writer alone: its last write failed, or succeeded again. */
export function setFailed(signal: WalSignal, writer: number, hasFailed: boolean): void {
  Atomics.store(signal.longs, cellOf(signal, writer) + FAILED, hasFailed ? 1n : 0n);
}

export function hasFailed(signal: WalSignal, writer: number): boolean {
  return Atomics.load(signal.longs, cellOf(signal, writer) + FAILED) !== 0n;
}

/** How much room the log's disk has, as the audit thread saw it last. */
export function roomOf(signal: WalSignal): Room {
  return ROOMS[Atomics.load(signal.ints, ROOM)] ?? "none";
}

export function setRoom(signal: WalSignal, room: Room): void {
  Atomics.store(signal.ints, ROOM, ROOMS.indexOf(room));
}

/** Ends a sleep, whether there are frames or not. */
export function wake(signal: WalSignal): void {
  Atomics.store(signal.ints, ASLEEP, 0);
  Atomics.notify(signal.ints, ASLEEP);
}

/**
 * Resolves when a writer published a position or somebody called `wake`, and after `timeoutMs` in
 * any case. Only one thread may sleep on a signal.
 *
 * @param hasNews Whether a position differs from what the caller has dealt with: asked once more
 *   after writers can see that this thread sleeps.
 */
export async function sleepUntilFrames(
  signal: WalSignal,
  hasNews: () => boolean,
  timeoutMs: number,
): Promise<void> {
  Atomics.store(signal.ints, ASLEEP, 1);
  if (!hasNews()) {
    const waiting = Atomics.waitAsync(signal.ints, ASLEEP, 1, timeoutMs);
    if (waiting.async) await waiting.value;
  }
  Atomics.store(signal.ints, ASLEEP, 0);
}

function pack(fileNo: number, bytes: number): bigint {
  return (BigInt(fileNo) << FILE_SHIFT) | BigInt(bytes);
}

function cellOf(signal: WalSignal, writer: number): number {
  if (!(writer >= 0 && writer < signal.writers)) assert.fail(`writer ${writer}`);
  return (writer + 1) * LONGS_PER_LINE;
}
