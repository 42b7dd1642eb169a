import { dirname, join } from "node:path";
import { type Disk, listIfThere, readWhole } from "../ports/disk.ts";
import { AuditFault } from "./audit-fault.ts";

/** What a file that is not yet in place is called. */
const UNPLACED = ".new";

/**
 * The files of one log. What is put is kept in memory until `settle` has brought it to the disk, so
 * a settle that fails can be done again, all of it.
 */
export class LogFiles {
  readonly #disk: Disk;
  readonly #home: string;
  readonly #dir: string;
  readonly #waiting = new Map<string, Uint8Array>();
  /** Folders that are there and whose own names are on the disk. */
  readonly #folders = new Set<string>();
  #waitingBytes = 0;

  /** @param home A folder above `dir` that is there and whose name is on the disk. */
  constructor(disk: Disk, { home, dir }: { readonly home: string; readonly dir: string }) {
    this.#disk = disk;
    this.#home = home;
    this.#dir = dir;
  }

  /** Bytes that wait for `settle`. */
  get waitingBytes(): number {
    return this.#waitingBytes;
  }

  /** Gives a file new content, from the next `settle` on. */
  put(path: string, bytes: Uint8Array): void {
    this.#waitingBytes += bytes.length - (this.#waiting.get(path)?.length ?? 0);
    this.#waiting.set(path, bytes);
  }

  /** Content on the disk; `undefined` when there is no such file. */
  read(path: string): Buffer | undefined {
    return readWhole(this.#disk, join(this.#dir, path));
  }

  /**
   * Brings what waits to the disk: content first, then names, then folders. A file has its old
   * content or its new one, never something between.
   *
   * @param between Called between steps, each of which waits for the disk once.
   */
  settle(between: () => void): void {
    const folders = this.#makeFolders();
    for (const [path, bytes] of this.#waiting) {
      this.#write(`${join(this.#dir, path)}${UNPLACED}`, bytes);
      between();
    }
    for (const path of this.#waiting.keys()) {
      const place = join(this.#dir, path);
      this.#disk.rename(`${place}${UNPLACED}`, place);
    }
    for (const folder of folders) {
      this.#disk.syncFolder(folder);
      between();
    }
    for (const folder of folders) this.#folders.add(folder);
    this.#waiting.clear();
    this.#waitingBytes = 0;
  }

  /** Removes files of a folder that `isSpent` names, and the folder if nothing is left in it. */
  sweep(folder: string, isSpent: (name: string) => boolean): void {
    const path = join(this.#dir, folder);
    const names = listIfThere(this.#disk, path);
    const spent = names.filter(isSpent);
    for (const name of spent) this.#disk.remove(join(path, name));
    if (spent.length === 0 || spent.length < names.length) return;
    this.#disk.removeFolder(path);
    this.#folders.delete(path);
  }

  /** Makes what folders are missing. Returns all that have, or will have, a new name in them. */
  #makeFolders(): ReadonlySet<string> {
    const changed = new Set<string>();
    for (const path of this.#waiting.keys()) {
      let folder = dirname(join(this.#dir, path));
      changed.add(folder);
      if (this.#folders.has(folder)) continue;
      this.#disk.makeFolder(folder);
      // Every name on the way may be new, up to a folder that is known: those above it are too.
      while (folder.length > this.#home.length && !this.#folders.has(folder)) {
        folder = dirname(folder);
        changed.add(folder);
      }
    }
    return changed;
  }

  #write(path: string, bytes: Uint8Array): void {
    const fd = this.#disk.recreate(path);
    try {
      const written = this.#disk.write(fd, bytes, 0);
      if (written !== bytes.length) throw new AuditFault(`${path}: written only ${written} bytes`);
      this.#disk.syncData(fd);
    } finally {
      this.#disk.close(fd);
    }
  }
}
