import { type MeshRecord, restoreRecord } from "../../mesh/record.ts";
import { MeshState } from "../../mesh/state.ts";
import type { Clock } from "../../ports/clock.ts";
import type { Store, Write } from "../../ports/store.ts";
import { Backoff } from "./backoff.ts";

// The replica's copy on disk: each scope's current record as it came, and how far each stream was read.
//
// S1. A record is on disk when `onDurable` names it, and not before it was merged.
// S2. A stream's mark on disk never lies beyond a record that is not on disk.
// S3. A commit that failed is tried again until it succeeds: what was merged is never given up.
// S4. A revocation leaves the disk when the state that is there has forgotten it, and not before.

/** Records of one commit: its transaction runs in this thread, which must stay free for kills. */
export const COMMIT_RECORDS_MAX = 64;
export const RETRY_MS_MIN = 100;
export const RETRY_MS_MAX = 5_000;
const PAGE = 256;

const RECORD_PREFIX = "rec/";
const MARK_PREFIX = "mark/";

export type RecordStoreDeps = {
  readonly store: Store;
  readonly mesh: string;
  readonly clock: Clock;
  readonly nextTurn: () => Promise<void>;
  readonly onDurable: (record: MeshRecord) => void;
  readonly onFault: (detail: string) => void;
};

export class RecordStore {
  readonly #deps: RecordStoreDeps;
  readonly #durable = new MeshState({ onForgotten: ({ scope }) => this.#gone.add(scope) });
  /** Scopes whose records are to leave the disk (S4). */
  readonly #gone = new Set<string>();
  readonly #dirty = new Map<string, MeshRecord>();
  readonly #marks = new Map<string, number>();
  readonly #backoff: Backoff;
  #flushing: Promise<void> | undefined;
  #isFailing = false;
  #isClosing = false;

  constructor(deps: RecordStoreDeps) {
    this.#deps = deps;
    this.#backoff = new Backoff(deps.clock, { minMs: RETRY_MS_MIN, maxMs: RETRY_MS_MAX });
  }

  /**
   * Hands over everything on disk.
   *
   * @param take Gets each record; what cannot be read is told to `unreadable` by its key.
   */
  async load(
    take: (record: MeshRecord) => void,
    unreadable: (key: string, detail: string) => void,
  ): Promise<void> {
    const { store, mesh, nextTurn } = this.#deps;
    for (const [key, value] of store.list(MARK_PREFIX)) {
      this.#marks.set(key.slice(MARK_PREFIX.length), readMark(value));
    }
    let after: string | undefined;
    for (;;) {
      const page = store.list(
        RECORD_PREFIX,
        after === undefined ? { limit: PAGE } : { after, limit: PAGE },
      );
      for (const [key, value] of page) {
        after = key;
        const read = restoreRecord(value, { mesh });
        if (!read.ok) unreadable(key, `${read.reason}: ${read.detail}`);
        else if (RECORD_PREFIX + read.record.scope !== key) unreadable(key, read.record.scope);
        else {
          if (!this.#durable.merge(read.record).changed) this.#gone.add(read.record.scope);
          take(read.record);
        }
      }
      if (page.length < PAGE) return;
      await nextTurn();
    }
  }

  /** Notes a record that has become its scope's current one. Until it is written no mark passes it. */
  add(record: MeshRecord): void {
    this.#dirty.set(record.scope, record);
    this.#gone.delete(record.scope);
  }

  /** Writes what was added. Records that come while others are being written go together. */
  flush(): void {
    if (this.#isBehind) this.#flushing ??= this.#flush();
  }

  /** How far the stream was read when the process last wrote that down; 0 for never. */
  mark(stream: string): number {
    return this.#marks.get(stream) ?? 0;
  }

  /** Goes to disk with the next records; forgetting it costs a longer repair and nothing else. */
  setMark(stream: string, seq: number): void {
    this.#marks.set(stream, seq);
  }

  /** Hash of the state that is on disk. */
  durableHash(): Uint8Array {
    return this.#durable.hash();
  }

  isDurable(record: MeshRecord): boolean {
    return this.#durable.get(record.scope)?.hashHex === record.hashHex;
  }

  /** False while the disk takes nothing. */
  get isHealthy(): boolean {
    return !this.#isFailing;
  }

  /** Writes what is not written yet; gives up at the first fault. The store is the caller's to close. */
  async close(): Promise<void> {
    this.#isClosing = true;
    this.#backoff.close();
    this.flush();
    await this.#flushing;
    if (this.#dirty.size === 0) await this.#commit([]).catch(() => undefined);
  }

  get #isBehind(): boolean {
    return this.#dirty.size + this.#gone.size > 0;
  }

  async #flush(): Promise<void> {
    while (this.#isBehind) {
      const batch = this.#nextBatch();
      try {
        await this.#commit(batch);
        this.#backoff.reset();
        this.#isFailing = false;
      } catch (error) {
        this.#putBack(batch);
        if (!this.#isFailing) this.#deps.onFault(String(error));
        this.#isFailing = true;
        if (this.#isClosing) break;
        await this.#backoff.pause();
      }
    }
    this.#flushing = undefined;
  }

  #nextBatch(): readonly MeshRecord[] {
    const batch: MeshRecord[] = [];
    for (const record of this.#dirty.values()) {
      if (batch.length === COMMIT_RECORDS_MAX) break;
      batch.push(record);
    }
    for (const record of batch) this.#dirty.delete(record.scope);
    return batch;
  }

  async #commit(batch: readonly MeshRecord[]): Promise<void> {
    const writes: Write[] = batch.map(({ scope, bytes }) => ({
      key: RECORD_PREFIX + scope,
      value: bytes,
    }));
    if (this.#dirty.size === 0) {
      for (const [stream, seq] of this.#marks) {
        writes.push({ key: MARK_PREFIX + stream, value: writeMark(seq) });
      }
    }
    const gone =
      batch.length < COMMIT_RECORDS_MAX ? [...this.#gone].slice(0, COMMIT_RECORDS_MAX) : [];
    for (const scope of gone) writes.push({ key: RECORD_PREFIX + scope, value: undefined });
    await this.#deps.store.commit(writes);
    for (const scope of gone) this.#gone.delete(scope);
    for (const record of batch) {
      this.#durable.merge(record);
      // It may have been forgotten while it was being written.
      if (!this.#durable.get(record.scope)) this.#gone.add(record.scope);
      this.#deps.onDurable(record);
    }
    this.#durable.forgetEnded();
  }

  /** A newer record of the scope may have come in the meantime; then that one is written. */
  #putBack(batch: readonly MeshRecord[]): void {
    for (const record of batch) {
      if (!this.#dirty.has(record.scope)) this.#dirty.set(record.scope, record);
    }
  }
}

function writeMark(seq: number): Uint8Array {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(seq));
  return bytes;
}

function readMark(bytes: Uint8Array): number {
  return bytes.length === 8 ? Number(Buffer.from(bytes).readBigUInt64BE()) : 0;
}
