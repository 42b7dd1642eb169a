/**
 * How many refusals a thread has counted and not yet written: 16 bytes in a file, written anew with
 * each of them. They are overwritten in place, so a full disk does not stop it.
 */

import { join } from "node:path";
import { type Disk, readWhole } from "../../ports/disk.ts";

const SUFFIX = ".flood";
const NAME = /^([0-9]{8}\.[0-9a-f]{8})-[a-z0-9-]{1,32}\.flood$/;
const BYTES = 16;

export type FloodCountFile = {
  /** One more. @param t Its time, ms since the Unix epoch. */
  add(t: number): void;
  /** All of them are in records now. */
  clear(): void;
  close(): void;
};

/** @throws What the disk reports: the file could not be made. */
export function openFloodCountFile(
  disk: Disk,
  { dir, run, writer }: { readonly dir: string; readonly run: string; readonly writer: string },
): FloodCountFile {
  const fd = disk.create(join(dir, `${run}-${writer}${SUFFIX}`));
  const cell = Buffer.alloc(BYTES);
  let count = 0;
  const write = (): void => {
    cell.writeBigUInt64BE(BigInt(count), 0);
    try {
      disk.write(fd, cell, 0);
    } catch {
      // The count still goes into its record within a second; only a crash before that loses it.
    }
  };
  // Now, while there is room: later writes need no more of it.
  write();
  return {
    add: (t) => {
      count++;
      if (count === 1) cell.writeBigUInt64BE(BigInt(t), 8);
      write();
    },
    clear: () => {
      count = 0;
      write();
    },
    close: () => disk.close(fd),
  };
}

export type FloodCountLeft = {
  readonly count: number;
  /** Time of the first one, ms since the Unix epoch. */
  readonly fromMs: number;
};

/** What runs before `run` had counted and not written; `undefined` when that is nothing. */
export function floodCountLeft(disk: Disk, dir: string, run: string): FloodCountLeft | undefined {
  let left: FloodCountLeft | undefined;
  for (const name of namesBefore(disk, dir, run)) {
    const bytes = readWhole(disk, join(dir, name));
    if (bytes?.length !== BYTES) continue;
    const count = Number(bytes.readBigUInt64BE(0));
    if (count === 0 || !Number.isSafeInteger(count)) continue;
    const fromMs = Number(bytes.readBigUInt64BE(8));
    left = {
      count: count + (left?.count ?? 0),
      fromMs: Math.min(fromMs, left?.fromMs ?? fromMs),
    };
  }
  return left;
}

/** Removes the files of runs before `run`, once a record says what stood in them. */
export function removeFloodCounts(disk: Disk, dir: string, run: string): void {
  for (const name of namesBefore(disk, dir, run)) disk.remove(join(dir, name));
}

function namesBefore(disk: Disk, dir: string, run: string): readonly string[] {
  return disk.list(dir).filter((name) => (NAME.exec(name)?.[1] ?? run) < run);
}
