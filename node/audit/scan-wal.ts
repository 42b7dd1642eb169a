import { type FileHandle, open, readdir, stat } from "node:fs/promises";
import { AuditFault } from "../../audit/audit-fault.ts";
import { FRAME_HEAD_BYTES, readFrames } from "../../audit/frame.ts";
import { decodeRecord, LEAF_BYTES_MAX } from "../../audit/leaf.ts";
import { WAL_PIECE_BYTES } from "./read-wal.ts";
import { listWalFiles, walPath } from "./wal-files.ts";

export type WalFileSeen = {
  readonly path: string;
  /** When it was last written, ms since the Unix epoch. */
  readonly lastMs: number;
};

export type WalScan = {
  /** Before that many more bytes are read. What it throws ends the scan. */
  readonly onBytes: (bytes: number) => void;
  /** A leaf that contains the needle. It is valid during the call. */
  readonly onLeaf: (leaf: Buffer) => void;
  /** True: a file that begins at this time holds nothing of interest. */
  readonly isBeyond?: (firstMs: number) => boolean;
};

/** The WAL files of all runs, the one written last first. */
export async function newestWalFirst(dir: string): Promise<readonly WalFileSeen[]> {
  const names = await readdir(dir).catch((cause: unknown) => {
    throw new AuditFault(`${dir} cannot be read`, { cause });
  });
  const files: WalFileSeen[] = [];
  for (const file of listWalFiles({ list: () => names }, dir)) {
    const path = walPath(dir, file);
    const seen = await unlessGone(stat(path));
    if (seen !== undefined) files.push({ path, lastMs: seen.mtimeMs });
  }
  return files.sort((a, b) => b.lastMs - a.lastMs);
}

/**
 * Finds the leaves of a file that contain `needle`, by their bytes: what does not contain it is not
 * decoded. Ends at the first bytes that are no frame, which in a file being written is its end.
 */
export async function scanWalFile(
  { path }: WalFileSeen,
  needle: string,
  scan: WalScan,
): Promise<void> {
  const file = await unlessGone(open(path, "r"));
  if (file === undefined) return;
  try {
    await scanOpenFile(file, needle, scan);
  } catch (cause) {
    if (cause instanceof AuditFault) throw cause;
    throw new AuditFault(`${path} cannot be read`, { cause });
  } finally {
    await file.close();
  }
}

async function scanOpenFile(file: FileHandle, needle: string, scan: WalScan): Promise<void> {
  const piece = Buffer.allocUnsafe(WAL_PIECE_BYTES);
  for (let at = 0; ; ) {
    scan.onBytes(piece.length);
    const { bytesRead } = await file.read(piece, 0, piece.length, at);
    const whole = wholeFrames(piece.subarray(0, bytesRead));
    if (whole.length === 0) return;
    if (at === 0 && scan.isBeyond?.(firstTimeIn(whole))) return;
    if (whole.includes(needle)) {
      for (const leaf of readFrames(whole).leaves as Buffer[]) {
        if (leaf.includes(needle)) scan.onLeaf(leaf);
      }
    }
    at += whole.length;
  }
}

/** Frames by their lengths alone: checksums are looked at where the needle is. */
function wholeFrames(bytes: Buffer): Buffer {
  let at = 0;
  while (bytes.length - at > FRAME_HEAD_BYTES) {
    const length = bytes.readUInt32BE(at);
    const end = at + FRAME_HEAD_BYTES + length;
    if (length === 0 || length > LEAF_BYTES_MAX || end > bytes.length) break;
    at = end;
  }
  return bytes.subarray(0, at);
}

function firstTimeIn(frames: Buffer): number {
  const leaf = frames.subarray(FRAME_HEAD_BYTES, FRAME_HEAD_BYTES + frames.readUInt32BE(0));
  const decoded = decodeRecord(leaf);
  return decoded.ok ? decoded.record.t : Number.NEGATIVE_INFINITY;
}

/**
 * A file may be deleted between the listing of its folder and this: the log has its records then.
 */
async function unlessGone<T>(waiting: Promise<T>): Promise<T | undefined> {
  try {
    return await waiting;
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw new AuditFault("a log file cannot be read", { cause });
  }
}
