import { closeSync, fdatasyncSync, openSync, statfsSync, unlinkSync, writeSync } from "node:fs";
import { join } from "node:path";
import type { Clock } from "../ports/clock.ts";

export type DiskProbe = {
  /** Of one small write until the disk says that it has it, milliseconds. */
  readonly syncMs: { readonly p50: number; readonly max: number };
  readonly freeBytes: number;
};

const WRITES = 20;
const BLOCK = new Uint8Array(4_096);

/**
 * Writes and syncs a small file of its own in a folder, which is gone afterwards.
 *
 * @throws What the file system says.
 */
export function probeDisk(folder: string, clock: Clock): DiskProbe {
  const path = join(folder, `.doctor-${process.pid}`);
  const file = openSync(path, "wx", 0o600);
  const tookMs: number[] = [];
  try {
    for (let i = 0; i < WRITES; i++) {
      const fromNs = clock.monoNs();
      writeSync(file, BLOCK);
      fdatasyncSync(file);
      tookMs.push(Number(clock.monoNs() - fromNs) / 1e6);
    }
  } finally {
    closeSync(file);
    unlinkSync(path);
  }
  tookMs.sort((left, right) => left - right);
  const { bavail, bsize } = statfsSync(folder);
  const p50 = tookMs[WRITES >> 1] ?? 0;
  return { syncMs: { p50, max: tookMs.at(-1) ?? 0 }, freeBytes: bavail * bsize };
}
