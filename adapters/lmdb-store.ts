import { chmodSync, statfsSync } from "node:fs";
import { join } from "node:path";
import { open, type RootDatabase } from "lmdb";
import { type Guard, type Store, StoreFault, type Write } from "../ports/store.ts";
import { CHECKSUM_BYTES, checkedValue, withChecksum } from "./checked-entry.ts";
import { makeFolderDurably, syncFolder } from "./durable-file.ts";
import { underNote } from "./opening-note.ts";
import { WriteProbe } from "./write-probe.ts";

/** Bytes of a key at most; LMDB's own limit is 1,978. */
export const KEY_BYTES_MAX = 1024;
/** Bytes of one commit at most. */
export const COMMIT_BYTES_MAX = 64 * 1024 * 1024;
/** Bytes of commits that wait for others of the same go; with so many the transaction begins. */
const GATHERED_BYTES_MAX = 1024 * 1024;
/**
 * Free bytes on the disk below which nothing is written, beyond four times the commit itself.
 *
 * A write that fails inside the library may corrupt the process's heap: it formats its message into too small
 * a buffer (`mdb_page_flush` in its mdb.c). So no write may get there that the disk would not take.
 */
export const FREE_BYTES_MIN = 16 * 1024 * 1024;
/** In what the library says of such a write. */
const WRITE_FAILED_WITHIN = "Attempting to write page";
/** Says that values have checksums. No entry of anybody's: their keys begin with a printable character. */
const FORM_KEY = Buffer.from([0]);
const CHECKED_FORM = Buffer.from("1");
/** Of a damaged entry's key, in what is said of it. */
const SHOWN_CHARS_MAX = 120;

/**
 * Opens the folder `path` as a store, and makes it when there is none.
 *
 * One environment belongs to one thread of one process. A commit is an fdatasync: the library's
 * mode in which a commit is visible before it is on disk is off. Keys sort by their UTF-8 bytes.
 * The folder and its files are for this user alone, also where they were not before.
 *
 * All that is there is read once, and what is not as it was written is a fault: of a limit, a lease or a
 * key nobody else may know what it was. What an earlier version wrote gets its checksums here.
 *
 * @throws StoreFault The folder cannot be opened as a store, or is damaged.
 */
export function openLmdbStore(
  path: string,
  options: { readonly freeBytesMin?: number } = {},
): Store {
  try {
    makeFolderDurably(path);
    chmodSync(path, 0o700);
    return underNote(path, () => openEnvironment(path, options.freeBytesMin ?? FREE_BYTES_MIN));
  } catch (cause) {
    if (cause instanceof StoreFault) throw cause;
    throw new StoreFault(`${path} cannot be opened`, { cause });
  }
}

function openEnvironment(path: string, freeBytesMin: number): Store {
  const db = open<Buffer, Buffer>({
    path,
    noSubdir: false,
    encoding: "binary",
    keyEncoding: "binary",
    compression: false,
    cache: false,
    overlappingSync: false,
    // Commits are gathered here. The library's own way of it makes a promise of each batch that it lets nobody
    // have, so that a disk's fault would end the process as a rejection that nobody handles.
    eventTurnBatching: false,
  });
  // The library makes them readable by all, and a copy or an archive would keep that.
  for (const file of ["data.mdb", "lock.mdb"]) chmodSync(join(path, file), 0o600);
  // The library syncs what is in its file, and not that there is one.
  syncFolder(path);
  return new LmdbStore(path, db, freeBytesMin).checked();
}

/** What a commit that has not resolved makes of a key. */
type Pending = { readonly value: Buffer | undefined; readonly commitNo: number };

/** A write as the library takes it. */
type Copy = { readonly key: Buffer; readonly stored: Buffer | undefined };

/** Commits that were called in one go. */
type Gathered = {
  readonly copies: Copy[];
  bytes: number;
  readonly done: PromiseWithResolvers<"committed" | "conflict">;
};

class LmdbStore implements Store {
  readonly #path: string;
  readonly #db: RootDatabase<Buffer, Buffer>;
  readonly #freeBytesMin: number;
  readonly #probe: WriteProbe;
  /** Reads look here first: a commit counts from its call, and its transaction runs later. */
  readonly #pending = new Map<string, Pending>();
  readonly #running = new Set<Promise<unknown>>();
  /** False only until a disk has room for the checksums that an earlier version did not write. */
  #isChecked = false;
  #gathered: Gathered | undefined;
  #commitNo = 0;
  #closing: Promise<void> | undefined;

  constructor(path: string, db: RootDatabase<Buffer, Buffer>, freeBytesMin: number) {
    this.#path = path;
    this.#db = db;
    this.#freeBytesMin = freeBytesMin;
    this.#probe = new WriteProbe(path);
  }

  /** Before anything else. @throws StoreFault Something is not as it was written; it is closed then. */
  checked(): this {
    try {
      this.#isChecked = this.#db.get(FORM_KEY)?.equals(CHECKED_FORM) ?? false;
      if (this.#isChecked) this.#mustBeWhole();
      else this.#addChecksums();
      return this;
    } catch (error) {
      void this.close();
      throw error;
    }
  }

  get(key: string): Uint8Array | undefined {
    this.#mustBeOpen();
    const pending = this.#pending.get(key);
    return pending ? pending.value : this.#stored(keyBytes(key));
  }

  list(
    prefix: string,
    options: { readonly after?: string; readonly limit?: number } = {},
  ): readonly (readonly [key: string, value: Uint8Array])[] {
    this.#mustBeOpen();
    const first = Buffer.from(prefix);
    const after = options.after === undefined ? undefined : Buffer.from(options.after);
    const limit = options.limit ?? Number.POSITIVE_INFINITY;
    const isPast = (key: Buffer): boolean => after === undefined || key.compare(after) > 0;
    const pending = [...this.#pending].filter(
      ([key]) => key.startsWith(prefix) && isPast(Buffer.from(key)),
    );
    // Each pending removal may take one stored entry away, so so many more are read.
    const enough = limit + pending.length;
    const found = new Map<string, Buffer>();
    const start = after && after.compare(first) > 0 ? after : first;
    for (const { key, value } of this.#db.getRange({ start })) {
      if (found.size >= enough || !key.subarray(0, first.length).equals(first)) break;
      if (isPast(key) && !key.equals(FORM_KEY))
        found.set(key.toString(), this.#valueOf(key, value));
    }
    for (const [key, { value }] of pending) {
      if (value === undefined) found.delete(key);
      else found.set(key, value);
    }
    const entries = [...found];
    if (pending.length > 0) entries.sort(([left], [right]) => compareBytes(left, right));
    return entries.length > limit ? entries.slice(0, limit) : entries;
  }

  async commit(writes: readonly Write[], guard?: Guard): Promise<"committed" | "conflict"> {
    this.#mustBeOpen();
    const copies = writes.map((write) => {
      const key = keyBytes(write.key);
      return { key, stored: write.value && withChecksum(key, write.value) };
    });
    const bytes = bytesOf(copies);
    if (bytes > COMMIT_BYTES_MAX) throw new StoreFault(`a commit of ${bytes} bytes is too large`);
    if (guard) this.#mustHaveRoom(bytes);
    if (guard && !isSame(this.get(guard.key), guard.value)) return "conflict";
    this.#commitNo += 1;
    const commitNo = this.#commitNo;
    for (const [index, { key }] of writes.entries()) {
      this.#pending.set(key, { value: unchecked(copies[index]?.stored), commitNo });
    }
    try {
      if (guard === undefined) return await this.#together(copies, bytes);
      // What was called before is written before.
      this.#writeGathered();
      return await this.#run(() => this.#write(copies, guard));
    } catch (cause) {
      throw cause instanceof StoreFault ? cause : faultOf(this.#path, cause);
    } finally {
      for (const { key } of writes) {
        if (this.#pending.get(key)?.commitNo === commitNo) this.#pending.delete(key);
      }
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.#finish();
    return this.#closing;
  }

  /**
   * Commits that are called in one go are one transaction: each of its own costs a look at the disk, a call
   * from the thread that writes and back, and a turn for each that is told, several times the write.
   * Which of them failed is not known, and so all did.
   */
  #together(copies: readonly Copy[], bytes: number): Promise<"committed" | "conflict"> {
    // One for which there is no room must not keep small ones, a kill among them, from being written.
    if (bytes >= GATHERED_BYTES_MAX) this.#writeGathered();
    if (this.#gathered === undefined) {
      this.#gathered = { copies: [], bytes: 0, done: Promise.withResolvers() };
      queueMicrotask(() => this.#writeGathered());
    }
    const { done } = this.#gathered;
    this.#gathered.copies.push(...copies);
    this.#gathered.bytes += bytes;
    if (this.#gathered.bytes >= GATHERED_BYTES_MAX) this.#writeGathered();
    return done.promise;
  }

  #writeGathered(): void {
    const gathered = this.#gathered;
    if (gathered === undefined) return;
    this.#gathered = undefined;
    try {
      this.#mustHaveRoom(gathered.bytes);
      gathered.done.resolve(this.#run(() => this.#write(gathered.copies, undefined)));
    } catch (error) {
      gathered.done.reject(error);
    }
  }

  /** The library refuses the writes of transactions that were queued when it is told to close. */
  async #finish(): Promise<void> {
    this.#writeGathered();
    await Promise.allSettled(this.#running);
    await this.#db.close();
    this.#probe.close();
  }

  async #run<T>(action: () => T): Promise<T> {
    // A child of the batch's transaction: if a write fails, none of this commit stays.
    const running = this.#db.childTransaction(action);
    this.#running.add(running);
    try {
      return await running;
    } finally {
      this.#running.delete(running);
    }
  }

  #write(copies: readonly Copy[], guard: Guard | undefined): "committed" | "conflict" {
    // Looked at again: an earlier commit that the first look counted on may have failed since.
    if (guard && !isSame(this.#stored(keyBytes(guard.key)), guard.value)) return "conflict";
    for (const { key, stored } of copies) {
      const value = this.#isChecked ? stored : unchecked(stored);
      if (value === undefined) void this.#db.remove(key);
      else void this.#db.put(key, value);
    }
    return "committed";
  }

  #stored(key: Buffer): Buffer | undefined {
    const stored = this.#db.get(key);
    return stored && this.#valueOf(key, stored);
  }

  #valueOf(key: Buffer, stored: Buffer): Buffer {
    if (!this.#isChecked) return stored;
    const value = checkedValue(key, stored);
    if (value === undefined) throw this.#damage(`${shown(key)} is not what was written`);
    return value;
  }

  #damage(what: string): StoreFault {
    return new StoreFault(`${this.#path} is damaged: ${what}`);
  }

  #mustBeWhole(): void {
    const { entryCount } = this.#db.getStats() as { readonly entryCount: number };
    let found = 0;
    let before: Buffer | undefined;
    for (const { key, value } of this.#db.getRange({})) {
      found += 1;
      if (!key.equals(FORM_KEY)) this.#valueOf(key, value);
      // One that is there twice stands in another one's place, and is whole by its checksum.
      if (before && before.compare(key) >= 0) throw this.#damage(`${shown(key)} is out of order`);
      before = key;
    }
    if (found !== entryCount) throw this.#damage(`${found} of ${entryCount} entries are there`);
  }

  /** Of all that is there in one transaction, or of none of it. */
  #addChecksums(): void {
    const entries = [...this.#db.getRange({})];
    const hasSome = entries.some(({ key, value }) => checkedValue(key, value) !== undefined);
    if (hasSome) throw this.#damage("its form is not what was written");
    const copies = entries.map(({ key, value }) => ({ key, stored: withChecksum(key, value) }));
    if (!this.#hasRoom(bytesOf(copies))) return;
    this.#db.transactionSync(() => {
      for (const { key, stored } of copies) void this.#db.put(key, stored);
      void this.#db.put(FORM_KEY, CHECKED_FORM);
    });
    this.#isChecked = true;
  }

  #mustHaveRoom(bytes: number): void {
    if (!this.#hasRoom(bytes)) {
      const freeBytes = freeBytesAt(this.#path);
      throw new StoreFault(`${this.#path} has ${freeBytes} bytes free, too few to write safely`);
    }
    try {
      this.#probe.mustTake(pagesOf(bytes));
    } catch (cause) {
      throw new StoreFault(`the disk takes no write to ${this.#path}`, { cause });
    }
  }

  #hasRoom(bytes: number): boolean {
    return freeBytesAt(this.#path) >= this.#freeBytesMin + pagesOf(bytes);
  }

  #mustBeOpen(): void {
    if (this.#closing) throw new StoreFault(`${this.#path} is closed`);
  }
}

function freeBytesAt(path: string): number {
  const { bavail, bsize } = statfsSync(path);
  return bavail * bsize;
}

/** By how much the library's file may grow with a commit of `bytes`: its pages are copied, not written over. */
function pagesOf(bytes: number): number {
  return 4 * bytes;
}

function bytesOf(copies: readonly Copy[]): number {
  return copies.reduce((sum, { key, stored }) => sum + key.length + (stored?.length ?? 0), 0);
}

function unchecked(stored: Buffer | undefined): Buffer | undefined {
  return stored?.subarray(0, stored.length - CHECKSUM_BYTES);
}

/** One whose length has changed runs into the entries beside it: neither they nor control characters belong in a log. */
function shown(key: Buffer): string {
  const text = key.toString().replace(/[^ -~]/g, "?");
  return text.length <= SHOWN_CHARS_MAX ? text : `${text.slice(0, SHOWN_CHARS_MAX)}...`;
}

function keyBytes(key: string): Buffer {
  const bytes = Buffer.from(key);
  if (bytes.length === 0 || bytes.length > KEY_BYTES_MAX) {
    throw new TypeError(`a key has 1 to ${KEY_BYTES_MAX} bytes, this one ${bytes.length}`);
  }
  return bytes;
}

function isSame(left: Uint8Array | undefined, right: Uint8Array | undefined): boolean {
  if (left === undefined || right === undefined) return left === right;
  return Buffer.compare(left, right) === 0;
}

function compareBytes(left: string, right: string): number {
  return Buffer.compare(Buffer.from(left), Buffer.from(right));
}

function faultOf(path: string, cause: unknown): StoreFault {
  const { commitError } = cause as { commitError?: Promise<unknown> };
  // The library hands over the true cause as a promise that it rejects later.
  commitError?.catch((error: unknown) => {
    // Nothing that this process would do from now on can be relied on: that nobody handles it ends it.
    if (String(error).includes(WRITE_FAILED_WITHIN)) throw error;
  });
  return new StoreFault(`a commit to ${path} failed`, { cause });
}
