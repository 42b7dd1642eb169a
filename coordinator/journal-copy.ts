import { type Store, StoreFault, type Write } from "../ports/store.ts";
import { JournalBarred } from "./journal-barred.ts";
import { bytesOf, divided } from "./journal-parts.ts";

/** Where in the journal a coordinator stands. */
export type JournalPlace = {
  /** Sequence in the stream of the last link that was taken in; 0 before the first. */
  readonly seq: number;
  /** That link's number; more than the stream's where the stream has lost its end. */
  readonly n: number;
  readonly hash: Uint8Array;
  readonly epoch: number;
  /** First part of the newest whole snapshot; 0 where there is none. */
  readonly snapshotSeq: number;
  /** Sequence of the stream's last message as far as it was read, link or not. */
  readonly endSeq: number;
  /** The stream has lost links that are remembered here: the next one written is a snapshot. */
  readonly owesSnapshot: boolean;
};

const PREFIX = "journal/";
const PLACE_KEY = `${PREFIX}place`;
const ENTRY_PREFIX = `${PREFIX}entry/`;
/** Bytes of one commit: a store takes no more than 64 MiB in one, and wants four times as much room for it. */
const COMMIT_BYTES = 8 * 1024 * 1024;
const START: JournalPlace = {
  seq: 0,
  n: 0,
  hash: new Uint8Array(),
  epoch: 0,
  snapshotSeq: 0,
  endSeq: 0,
  owesSnapshot: false,
};

/** What the journal comes to, in memory and on this coordinator's own disk. */
export class JournalCopy {
  readonly #store: Store;
  #place: JournalPlace;
  #entries: Map<string, Uint8Array>;
  #bytes: number;
  /** Keys whose links count no more behind this place. */
  readonly barred = new JournalBarred();
  /** What a disk that failed may not hold yet: a place without it would be a lie. */
  readonly #unsaved = new Map<string, Uint8Array | undefined>();

  /** @throws StoreFault What is stored is not what this class writes. */
  constructor(store: Store) {
    this.#store = store;
    const stored = store.get(PLACE_KEY);
    this.#place = stored === undefined ? START : decodePlace(stored);
    const found = store
      .list(ENTRY_PREFIX)
      .map(([key, value]) => [key.slice(ENTRY_PREFIX.length), value] as const);
    const isWhole = this.#place.n > 0;
    if (!isWhole) for (const [key] of found) this.#unsaved.set(key, undefined);
    this.#entries = new Map(isWhole ? found : []);
    this.#bytes = bytesOfAll(this.#entries);
    this.barred.replace(this.#entries.keys());
  }

  get place(): JournalPlace {
    return this.#place;
  }

  get entries(): ReadonlyMap<string, Uint8Array> {
    return this.#entries;
  }

  /** Of all entries, keys and values. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * Takes in writes that are in the stream at `place`. They count at once, whatever the disk does.
   * Rejects with StoreFault when it fails: after a restart they are read from the stream again.
   */
  async apply(writes: readonly Write[], place: JournalPlace): Promise<void> {
    this.barred.change(writes);
    for (const { key, value } of writes) {
      const before = this.#entries.get(key);
      if (before !== undefined) this.#bytes -= bytesOf({ key, value: before });
      if (value === undefined) this.#entries.delete(key);
      else {
        this.#entries.set(key, value);
        this.#bytes += bytesOf({ key, value });
      }
    }
    await this.#save(writes, place);
  }

  /** Takes everything over from a snapshot at `place`. */
  async replace(entries: Map<string, Uint8Array>, place: JournalPlace): Promise<void> {
    const gone = [...this.#entries.keys()].filter((key) => !entries.has(key));
    this.#entries = entries;
    this.#bytes = bytesOfAll(entries);
    this.barred.replace(entries.keys());
    const writes = [...entries].map(([key, value]) => ({ key, value }));
    await this.#save([...writes, ...gone.map((key) => ({ key, value: undefined }))], place);
  }

  async #save(writes: readonly Write[], place: JournalPlace): Promise<void> {
    this.#place = place;
    for (const { key, value } of writes) this.#unsaved.set(key, value);
    const all = [...this.#unsaved].map(([key, value]) => ({ key: ENTRY_PREFIX + key, value }));
    const commits = divided(all, COMMIT_BYTES);
    // Some of it is neither what was nor what is: whoever finds that on the disk has read nothing yet.
    if (commits.length > 1) await this.#store.commit([placed(START)]);
    for (const some of commits.slice(0, -1)) await this.#store.commit(some);
    await this.#store.commit([...(commits.at(-1) ?? []), placed(place)]);
    this.#unsaved.clear();
  }
}

function bytesOfAll(entries: ReadonlyMap<string, Uint8Array>): number {
  let bytes = 0;
  for (const [key, value] of entries) bytes += bytesOf({ key, value });
  return bytes;
}

function placed(place: JournalPlace): Write {
  const hash = Buffer.from(place.hash).toString("hex");
  return { key: PLACE_KEY, value: Buffer.from(JSON.stringify({ ...place, hash })) };
}

function decodePlace(bytes: Uint8Array): JournalPlace {
  try {
    const stored = JSON.parse(Buffer.from(bytes).toString()) as JournalPlace & { hash: string };
    const { seq, n, epoch, snapshotSeq, endSeq, owesSnapshot } = stored;
    if (![seq, n, epoch, snapshotSeq, endSeq].every(Number.isSafeInteger)) {
      throw new TypeError("not whole numbers");
    }
    const hash = Buffer.from(stored.hash, "hex");
    return { seq, n, hash, epoch, snapshotSeq, endSeq, owesSnapshot: owesSnapshot === true };
  } catch (cause) {
    throw new StoreFault(`${PLACE_KEY} is not what the journal writes`, { cause });
  }
}
