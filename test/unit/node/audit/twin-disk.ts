import { dirname } from "node:path";
import type { Disk } from "../../../../ports/disk.ts";

export type StepName = Exclude<keyof Disk, "read" | "size" | "list" | "close" | "freeBytes">;

export type TwinDiskOptions = {
  /** Asked before each step that changes or syncs something. What it throws is thrown. */
  readonly onStep?: (step: StepName, path: string) => void;
  /** How many bytes of a write are taken. Default: all. */
  readonly taken?: (path: string, bytes: number) => number;
};

type Inode = { data: Buffer; durable: Buffer };
type Fd = { readonly path: string; readonly inode: Inode };

/**
 * A file system in memory that knows what is on its disk: content after `syncData`, names after
 * `syncFolder`. A loss of power keeps what is, and of what is not yet as much as it likes.
 */
export class TwinDisk implements Disk {
  options: TwinDiskOptions;
  /** Every step so far, as `step path`. */
  readonly steps: string[] = [];
  readonly #names: Map<string, Inode>;
  readonly #durableNames: Map<string, Inode>;
  readonly #folders: Set<string>;
  readonly #durableFolders: Set<string>;
  readonly #fds = new Map<number, Fd>();
  #nextFd = 100;

  constructor(options: TwinDiskOptions = {}, from?: TwinDisk) {
    this.options = options;
    const copies = new Map<Inode, Inode>();
    const copyOf = (inode: Inode): Inode => {
      const copy = copies.get(inode) ?? { data: inode.data, durable: inode.durable };
      copies.set(inode, copy);
      return copy;
    };
    const copyNames = (names: Iterable<[string, Inode]>): Map<string, Inode> =>
      new Map([...names].map(([path, inode]) => [path, copyOf(inode)]));
    this.#names = copyNames(from ? from.#names : []);
    this.#durableNames = copyNames(from ? from.#durableNames : []);
    this.#folders = new Set(from ? from.#folders : ["/home"]);
    this.#durableFolders = new Set(from ? from.#durableFolders : ["/home"]);
  }

  /** The disk as the next process finds it after a crash of this one. */
  afterCrash(options: TwinDiskOptions = {}): TwinDisk {
    return new TwinDisk(options, this);
  }

  /**
   * The disk after a loss of power.
   *
   * @param draw A number in 0..1, for each thing that may or may not have reached the disk.
   */
  afterPowerLoss(draw: () => number): TwinDisk {
    const after = new TwinDisk({}, this);
    for (const folder of after.#folders) {
      if (!after.#durableFolders.has(folder) && draw() < 0.5) after.#folders.delete(folder);
    }
    // In the order of their lengths, a folder comes after the one it is in.
    for (const folder of [...after.#folders].sort((a, b) => a.length - b.length)) {
      if (folder !== "/home" && !after.#folders.has(dirname(folder))) after.#folders.delete(folder);
    }
    for (const [path, inode] of after.#durableNames) {
      if (after.#names.get(path) !== inode && draw() < 0.5) after.#names.set(path, inode);
    }
    for (const [path, inode] of after.#names) {
      const isGone = after.#durableNames.get(path) === undefined && draw() < 0.5;
      if (isGone || !after.#folders.has(dirname(path))) after.#names.delete(path);
      inode.data = contentAfterPowerLoss(inode, draw);
    }
    for (const inode of new Set(after.#names.values())) inode.durable = inode.data;
    after.#durableNames.clear();
    for (const [path, inode] of after.#names) after.#durableNames.set(path, inode);
    after.#durableFolders.clear();
    for (const folder of after.#folders) after.#durableFolders.add(folder);
    return after;
  }

  /** Bytes that are left; a test sets them. */
  free = Number.POSITIVE_INFINITY;

  freeBytes(): number {
    return this.free;
  }

  contentOf(path: string): Buffer | undefined {
    const inode = this.#names.get(path);
    return inode && Buffer.from(inode.data);
  }

  /** Changes a file behind everybody's back. */
  spoil(path: string, change: (data: Buffer) => Buffer): void {
    const inode = this.#names.get(path) as Inode;
    inode.data = change(Buffer.from(inode.data));
    inode.durable = inode.data;
  }

  paths(): readonly string[] {
    return [...this.#names.keys()].sort();
  }

  get openFiles(): number {
    return this.#fds.size;
  }

  create(path: string): number {
    this.#step("create", path);
    if (this.#names.has(path)) throw errno("EEXIST", path);
    return this.#openNew(path);
  }

  recreate(path: string): number {
    this.#step("recreate", path);
    const inode = this.#names.get(path);
    if (inode === undefined) return this.#openNew(path);
    inode.data = Buffer.alloc(0);
    return this.#openFd(path, inode);
  }

  open(path: string): number {
    this.#step("open", path);
    const inode = this.#names.get(path);
    if (inode === undefined) throw errno("ENOENT", path);
    return this.#openFd(path, inode);
  }

  write(fd: number, bytes: Uint8Array, at: number): number {
    const { path, inode } = this.#fd(fd);
    this.#step("write", path);
    const taken = this.options.taken?.(path, bytes.length) ?? bytes.length;
    const data = Buffer.alloc(Math.max(inode.data.length, at + taken));
    inode.data.copy(data);
    data.set(bytes.subarray(0, taken), at);
    inode.data = data;
    return taken;
  }

  read(fd: number, into: Uint8Array, at: number): number {
    const { data } = this.#fd(fd).inode;
    const part = data.subarray(at, at + into.length);
    into.set(part);
    return part.length;
  }

  size(fd: number): number {
    return this.#fd(fd).inode.data.length;
  }

  truncate(fd: number, bytes: number): void {
    const { path, inode } = this.#fd(fd);
    this.#step("truncate", path);
    inode.data = inode.data.subarray(0, bytes);
  }

  syncData(fd: number): void {
    const { path, inode } = this.#fd(fd);
    this.#step("syncData", path);
    inode.durable = inode.data;
  }

  close(fd: number): void {
    if (!this.#fds.delete(fd)) throw errno("EBADF", String(fd));
  }

  list(folder: string): readonly string[] {
    if (!this.#folders.has(folder)) throw errno("ENOENT", folder);
    return [...this.#names.keys(), ...this.#folders]
      .filter((path) => path !== folder && dirname(path) === folder)
      .map((path) => path.slice(folder.length + 1));
  }

  makeFolder(path: string): void {
    this.#step("makeFolder", path);
    for (let one = path; one.length > "/home".length; one = dirname(one)) this.#folders.add(one);
  }

  rename(from: string, to: string): void {
    this.#step("rename", to);
    const inode = this.#names.get(from);
    if (inode === undefined) throw errno("ENOENT", from);
    this.#names.delete(from);
    this.#names.set(to, inode);
  }

  remove(path: string): void {
    this.#step("remove", path);
    if (!this.#names.delete(path)) throw errno("ENOENT", path);
  }

  removeFolder(path: string): void {
    this.#step("removeFolder", path);
    if (this.list(path).length > 0) throw errno("ENOTEMPTY", path);
    this.#folders.delete(path);
  }

  syncFolder(path: string): void {
    this.#step("syncFolder", path);
    if (!this.#folders.has(path)) throw errno("ENOENT", path);
    const isIn = (other: string): boolean => dirname(other) === path;
    for (const [name] of [...this.#durableNames].filter(([one]) => isIn(one))) {
      if (!this.#names.has(name)) this.#durableNames.delete(name);
    }
    for (const [name, inode] of this.#names) if (isIn(name)) this.#durableNames.set(name, inode);
    for (const one of [...this.#durableFolders].filter(isIn)) {
      if (!this.#folders.has(one)) this.#durableFolders.delete(one);
    }
    for (const one of this.#folders) if (isIn(one)) this.#durableFolders.add(one);
  }

  #step(step: StepName, path: string): void {
    this.options.onStep?.(step, path);
    this.steps.push(`${step} ${path}`);
  }

  #openNew(path: string): number {
    if (!this.#folders.has(dirname(path))) throw errno("ENOENT", path);
    const inode = { data: Buffer.alloc(0), durable: Buffer.alloc(0) };
    this.#names.set(path, inode);
    return this.#openFd(path, inode);
  }

  #openFd(path: string, inode: Inode): number {
    const fd = this.#nextFd++;
    this.#fds.set(fd, { path, inode });
    return fd;
  }

  #fd(fd: number): Fd {
    const open = this.#fds.get(fd);
    if (open === undefined) throw errno("EBADF", String(fd));
    return open;
  }
}

/** The durable bytes, and of what follows them a part: its beginning, or pages of zeros. */
function contentAfterPowerLoss({ data, durable }: Inode, draw: () => number): Buffer {
  if (data.equals(durable)) return data;
  const fate = draw();
  if (fate < 0.4) return durable;
  if (fate < 0.6) return data;
  const isGrown = data.subarray(0, durable.length).equals(durable);
  const safe = isGrown ? durable.length : 0;
  const kept = safe + Math.floor(draw() * (data.length - safe));
  if (fate < 0.8) return data.subarray(0, kept);
  return Buffer.concat([data.subarray(0, kept), Buffer.alloc(data.length - kept)]);
}

function errno(code: string, what: string): NodeJS.ErrnoException {
  return Object.assign(new Error(`${code}: ${what}`), { code });
}
