/**
 * The file system, as far as the audit log writes it. Every call is synchronous, because libuv's
 * pool is one per process: a sync that queues there waits for whatever else does.
 *
 * D1. What `write` put into a file survives a power loss only after `syncData` or `sync` of it.
 * D2. A name that was made, renamed or removed survives only after `syncFolder` of its folder.
 *
 * Every member throws what the system reports.
 */
export type Disk = {
  /** A new file, for writing; throws when there is one of that name. */
  create(path: string): number;
  /** An empty file for writing, in place of what has that name. */
  recreate(path: string): number;
  /** An existing file, for reading and writing; throws with code `ENOENT` when there is none. */
  open(path: string): number;
  /** Writes at an offset; returns the bytes written, which may be fewer than were given. */
  write(fd: number, bytes: Uint8Array, at: number): number;
  /** Reads from an offset; returns the bytes read, 0 at the end. */
  read(fd: number, into: Uint8Array, at: number): number;
  /** Bytes in the file. */
  size(fd: number): number;
  truncate(fd: number, bytes: number): void;
  /** The file's data and its length reach the disk. */
  syncData(fd: number): void;
  close(fd: number): void;
  /** Names in a folder, in no order. */
  list(folder: string): readonly string[];
  /** Makes a folder and those above it that are missing, for the owner alone. */
  makeFolder(path: string): void;
  /** Replaces `to` in one step. */
  rename(from: string, to: string): void;
  remove(path: string): void;
  /** Removes an empty folder. */
  removeFolder(path: string): void;
  /** The folder's names reach the disk. */
  syncFolder(path: string): void;
  /** Bytes that this user can still write on the disk of a folder. */
  freeBytes(folder: string): number;
};

/** The bytes of a file from `at` on, as many as fit or are there; returns how many these are. */
export function readInto(
  disk: Pick<Disk, "read">,
  fd: number,
  { into, at }: { readonly into: Uint8Array; readonly at: number },
): number {
  let filled = 0;
  // A read may give less than there is.
  while (filled < into.length) {
    const count = disk.read(fd, into.subarray(filled), at + filled);
    if (count === 0) break;
    filled += count;
  }
  return filled;
}

/**
 * A whole file; `undefined` when there is none.
 *
 * @param room Memory that takes it where it fits, at its beginning; else it has memory of its own.
 */
export function readWhole(disk: Disk, path: string, room?: Buffer): Buffer | undefined {
  const fd = openIfThere(disk, path);
  if (fd === undefined) return undefined;
  try {
    const size = disk.size(fd);
    const fits = room !== undefined && size <= room.length;
    const bytes = fits ? room.subarray(0, size) : Buffer.allocUnsafe(size);
    return bytes.subarray(0, readInto(disk, fd, { into: bytes, at: 0 }));
  } finally {
    disk.close(fd);
  }
}

export function openIfThere(disk: Disk, path: string): number | undefined {
  try {
    return disk.open(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

/** Names in a folder; none when there is no such folder. */
export function listIfThere(disk: Disk, folder: string): readonly string[] {
  try {
    return disk.list(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
}
