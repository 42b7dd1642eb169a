import type { Clock } from "./clock.ts";
import { type Guard, type Store, StoreFault, type Write } from "./store.ts";

/** What becomes of a commit: after both failures the caller knows nothing about it. */
export type CommitFate = "good" | "fails_not_persisted" | "fails_but_persisted";

export type TwinStoreOptions = {
  /** Asked once for each commit that reaches the disk. Default: `good`. */
  readonly commitFate?: (writes: readonly Write[]) => CommitFate;
  /** Told of each commit once it is on the disk, whether or not its caller hears so. */
  readonly onPersisted?: (writes: readonly Write[]) => void;
  /** Bytes of keys and values that fit; a commit beyond fails, not persisted. Default: no bound. */
  readonly capacityBytes?: number;
  /** Commits reach the disk so long after their call. Without it, as soon as the caller waits. */
  readonly delay?: { readonly clock: Clock; readonly commitMs: () => number };
};

export type TwinStore = Store & {
  /**
   * Ends this store as a crash would: what has not reached the disk is gone, and its promises never
   * settle. Returns the store as the next process finds it.
   *
   * @param reached How many of the commits under way, the oldest first, had reached it all the same,
   *   though nobody will ever hear of it. Default: none.
   */
  crash(reached?: number): TwinStore;
  /** Commits that were called and have not reached the disk. */
  readonly pendingCommits: number;
  /** What is on the disk. */
  readonly durable: ReadonlyMap<string, Uint8Array>;
};

/**
 * A store in memory, whose failures a test decides.
 *
 * @param found What its disk holds already.
 */
export function twinStore(
  options: TwinStoreOptions = {},
  found: ReadonlyMap<string, Uint8Array> = new Map(),
): TwinStore {
  return new MemoryStore(options, new Map(found));
}

type Pending = {
  readonly writes: readonly Write[];
  readonly guard: Guard | undefined;
  readonly settle: PromiseWithResolvers<"committed" | "conflict">;
};

class MemoryStore implements TwinStore {
  readonly #options: TwinStoreOptions;
  readonly #durable: Map<string, Uint8Array>;
  #pending: Pending[] = [];
  #state: "open" | "closed" | "crashed" = "open";

  constructor(options: TwinStoreOptions, durable: Map<string, Uint8Array>) {
    this.#options = options;
    this.#durable = durable;
  }

  get durable(): ReadonlyMap<string, Uint8Array> {
    return this.#durable;
  }

  get(key: string): Uint8Array | undefined {
    this.#mustBeOpen();
    mustBeKey(key);
    return copyOf(this.#view(key));
  }

  list(
    prefix: string,
    options: { readonly after?: string; readonly limit?: number } = {},
  ): readonly (readonly [key: string, value: Uint8Array])[] {
    this.#mustBeOpen();
    const { after, limit } = options;
    const keys = new Set(this.#durable.keys());
    for (const { writes } of this.#pending) for (const { key } of writes) keys.add(key);
    return [...keys]
      .filter((key) => key.startsWith(prefix))
      .filter((key) => after === undefined || compareBytes(key, after) > 0)
      .sort(compareBytes)
      .flatMap((key) => {
        const value = copyOf(this.#view(key));
        return value === undefined ? [] : [[key, value] as const];
      })
      .slice(0, limit);
  }

  async commit(writes: readonly Write[], guard?: Guard): Promise<"committed" | "conflict"> {
    this.#mustBeOpen();
    const copies = writes.map(({ key, value }) => {
      mustBeKey(key);
      return { key, value: copyOf(value) };
    });
    if (guard && !isSame(this.#view(guard.key), guard.value)) return "conflict";
    const settle = Promise.withResolvers<"committed" | "conflict">();
    this.#pending.push({ writes: copies, guard, settle });
    const { delay } = this.#options;
    if (delay) delay.clock.after(delay.commitMs(), () => this.#flushFirst());
    else queueMicrotask(() => this.#flushFirst());
    return settle.promise;
  }

  async close(): Promise<void> {
    if (this.#state !== "open") return;
    while (this.#pending.length > 0) this.#flushFirst();
    this.#state = "closed";
  }

  get pendingCommits(): number {
    return this.#pending.length;
  }

  crash(reached = 0): TwinStore {
    this.#state = "crashed";
    for (const { writes, guard } of this.#pending.slice(0, reached)) {
      if (guard && !isSame(this.#durable.get(guard.key), guard.value)) continue;
      if (this.#fits(writes)) this.#write(writes);
    }
    this.#pending = [];
    return new MemoryStore(this.#options, new Map(this.#durable));
  }

  /** Commits reach the disk in the order of their calls, whichever timer was first. */
  #flushFirst(): void {
    const commit = this.#pending.shift();
    if (!commit) return;
    const { writes, guard, settle } = commit;
    if (guard && !isSame(this.#durable.get(guard.key), guard.value)) {
      settle.resolve("conflict");
      return;
    }
    if (!this.#fits(writes)) {
      settle.reject(new StoreFault("the disk is full"));
      return;
    }
    const fate = this.#options.commitFate?.(writes) ?? "good";
    if (fate !== "fails_not_persisted") this.#write(writes);
    if (fate === "good") settle.resolve("committed");
    else settle.reject(new StoreFault(`the commit ${fate}`));
  }

  #write(writes: readonly Write[]): void {
    for (const { key, value } of writes) {
      if (value === undefined) this.#durable.delete(key);
      else this.#durable.set(key, value);
    }
    this.#options.onPersisted?.(writes);
  }

  #fits(writes: readonly Write[]): boolean {
    const capacity = this.#options.capacityBytes;
    if (capacity === undefined) return true;
    const after = new Map(this.#durable);
    for (const { key, value } of writes) after.set(key, value ?? new Uint8Array(0));
    let bytes = 0;
    for (const [key, value] of after) bytes += Buffer.byteLength(key) + value.length;
    return bytes <= capacity;
  }

  #view(key: string): Uint8Array | undefined {
    for (const { writes } of this.#pending.toReversed()) {
      const write = writes.findLast((each) => each.key === key);
      if (write) return write.value;
    }
    return this.#durable.get(key);
  }

  #mustBeOpen(): void {
    if (this.#state !== "open") throw new StoreFault(`the store is ${this.#state}`);
  }
}

function mustBeKey(key: string): void {
  const length = Buffer.byteLength(key);
  if (length === 0 || length > 1024) throw new TypeError(`a key of ${length} bytes`);
}

function copyOf(value: Uint8Array | undefined): Uint8Array | undefined {
  return value && new Uint8Array(value);
}

function isSame(left: Uint8Array | undefined, right: Uint8Array | undefined): boolean {
  if (left === undefined || right === undefined) return left === right;
  return Buffer.compare(left, right) === 0;
}

function compareBytes(left: string, right: string): number {
  return Buffer.compare(Buffer.from(left), Buffer.from(right));
}
