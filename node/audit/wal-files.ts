/** Names of the write-ahead log's files: `<run>-<writer>-<n>.log`, all in one folder. */

import { join } from "node:path";
import type { Disk } from "../../ports/disk.ts";

/** A writer begins a new file where a frame would not fit any more. Bytes. */
export const WAL_FILE_BYTES_MAX = 64 * 1024 * 1024;
/** The writer whose first record of a run is `boot`, and whose last one is `close`. */
export const CONTROL_WRITER = "control";

/** `29833333.0a1b2c3d`: a count, so that runs sort, and chance, so that no two are the same. */
const RUN = /^[0-9]{8}\.[0-9a-f]{8}$/;
const WRITER = /^[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?$/;
const FILE = /^([0-9]{8}\.[0-9a-f]{8})-([a-z0-9-]{1,32})-([1-9][0-9]{0,8})\.log$/;

export type WalFile = {
  /** Id of the start that wrote it. Later starts sort after earlier ones. */
  readonly run: string;
  readonly writer: string;
  /** Counts a writer's files in a run, from 1. */
  readonly no: number;
};

/** @throws RangeError A part of the name is malformed. */
export function walFileName({ run, writer, no }: WalFile): string {
  if (!RUN.test(run)) throw new RangeError(`${run} is not a run`);
  if (!WRITER.test(writer)) throw new RangeError(`${writer} does not name a writer`);
  return `${run}-${writer}-${no}.log`;
}

export function walPath(dir: string, file: WalFile): string {
  return join(dir, walFileName(file));
}

/**
 * Files of the folder in the order of runs, then writers, then numbers; other names are left out.
 */
export function listWalFiles(disk: Pick<Disk, "list">, dir: string): readonly WalFile[] {
  return disk
    .list(dir)
    .flatMap((name) => parseWalFileName(name) ?? [])
    .sort(byRunWriterAndNumber);
}

/**
 * Id of the start after `last`. It counts minutes since the Unix epoch, and on from `last` where
 * that is not enough: so it sorts after runs whose files are gone, too.
 *
 * @param nowMs Wall clock, ms since the Unix epoch.
 * @param chance 4 random bytes.
 */
export function nextRun(last: string | undefined, nowMs: number, chance: Uint8Array): string {
  const count = last === undefined ? 1 : Number(last.slice(0, 8)) + 1;
  const minutes = Math.floor(nowMs / 60_000);
  const no = String(Math.max(count, minutes)).padStart(8, "0");
  return `${no}.${Buffer.from(chance).toString("hex")}`;
}

function parseWalFileName(name: string): WalFile | undefined {
  const [, run, writer, no] = FILE.exec(name) ?? [];
  if (run === undefined || writer === undefined || !WRITER.test(writer)) return undefined;
  return { run, writer, no: Number(no) };
}

function byRunWriterAndNumber(a: WalFile, b: WalFile): number {
  if (a.run !== b.run) return a.run < b.run ? -1 : 1;
  if (a.writer !== b.writer) return a.writer < b.writer ? -1 : 1;
  return a.no - b.no;
}
