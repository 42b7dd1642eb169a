import { closeSync, fsyncSync, mkdirSync, openSync, renameSync, writeSync } from "node:fs";
import { dirname } from "node:path";

// Files and folders that are there after a loss of power: a name is on the disk only once its folder was synced.

/** Brings the names in a folder to the disk. */
export function syncFolder(path: string): void {
  const fd = openSync(path, "r");
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** Makes a folder for this user alone, and those above it that are missing. */
export function makeFolderDurably(path: string): void {
  const first = mkdirSync(path, { recursive: true, mode: 0o700 });
  // Also where it was there: whoever made it may have ended before this.
  for (let folder = path; ; folder = dirname(folder)) {
    syncIfOurs(dirname(folder));
    if (first === undefined || folder === first || folder === dirname(folder)) return;
  }
}

/** Makes a new file, or one in place of what a write before this has left unfinished. */
export function writeDurably(path: string, text: string, mode: number): void {
  const bytes = Buffer.from(text, "utf8");
  const fd = openSync(path, "w", mode);
  try {
    const written = writeSync(fd, bytes);
    if (written !== bytes.length) throw new Error(`${path}: ${written} of ${bytes.length} bytes`);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** Gives a file this content, whole or not at all. */
export function replaceDurably(path: string, text: string, mode: number): void {
  writeDurably(`${path}.new`, text, mode);
  renameSync(`${path}.new`, path);
  syncFolder(dirname(path));
}

/**
 * Why a folder above HOME is left as it is: it may be somebody else's, who lets others pass and not look, or HOME may
 * be mounted in one of a file system that is only read, which answers EINVAL (squashfs, erofs) or EROFS.
 */
const NOT_OURS_TO_SYNC: ReadonlySet<string | undefined> = new Set([
  "EACCES",
  "EPERM",
  "EINVAL",
  "EROFS",
]);

function syncIfOurs(path: string): void {
  try {
    syncFolder(path);
  } catch (error) {
    if (!NOT_OURS_TO_SYNC.has((error as NodeJS.ErrnoException).code)) throw error;
  }
}
