import type { AppendOptions, BusMessage } from "../ports/bus.ts";
import { BusFault } from "../ports/bus.ts";
import type { Clock } from "../ports/clock.ts";
import type { Store, Write } from "../ports/store.ts";
import type { StreamShape } from "./bus-subject.ts";

/** How long the id of an append is remembered, as the JetStream streams are configured. */
export const DUPLICATE_WINDOW_MS = 10 * 60_000;
/** Ids that are remembered at most. Beyond it the oldest go: versions of records catch the rest. */
export const DUPLICATE_IDS_MAX = 100_000;
/** Appends that wait for the one before them. */
export const APPENDS_WAITING_MAX = 10_000;

type Entry = {
  readonly subject: string;
  readonly seq: number;
  readonly msgId: string;
  readonly atMs: number;
  readonly bytes: Uint8Array;
};

/**
 * One stream in this process, kept in a store: the last message of each subject, or the newest of all.
 *
 * One append after another: each is on disk before the next is looked at, so what a conflict is
 * judged by is never taken back.
 */
export class BusLog {
  readonly #shape: StreamShape;
  readonly #store: Store | undefined;
  readonly #clock: Clock;
  readonly #last = new Map<string, Entry>();
  /** Every message in order of sequence. One whose subject has a newer message is dead. */
  #order: Entry[] = [];
  readonly #seqOfId = new Map<string, { readonly seq: number; readonly atNs: bigint }>();
  #lastSeq = 0;
  #queue: Promise<unknown> = Promise.resolve();
  #waiting = 0;

  constructor(shape: StreamShape, store: Store | undefined, clock: Clock) {
    this.#shape = shape;
    this.#store = store;
    this.#clock = clock;
    this.#load();
  }

  /** As `Bus.append`; `duplicate` tells that nothing new was stored. */
  append(
    subject: string,
    bytes: Uint8Array,
    options: AppendOptions,
  ): Promise<{ readonly seq: number; readonly duplicate: boolean } | "conflict"> {
    if (this.#waiting >= APPENDS_WAITING_MAX) {
      const fault = new BusFault("timeout", `${this.#waiting} appends wait for the disk`);
      return Promise.reject(fault);
    }
    this.#waiting += 1;
    const turn = this.#queue.then(() => this.#append(subject, bytes, options));
    this.#queue = turn.then(
      () => this.#leave(),
      () => this.#leave(),
    );
    return turn;
  }

  /** Resolves once no append is under way. */
  async idle(): Promise<void> {
    await this.#queue;
  }

  read(fromSeq: number, count: number): readonly BusMessage[] {
    const found: BusMessage[] = [];
    for (let at = this.#firstFrom(fromSeq); at < this.#order.length; at += 1) {
      if (found.length >= count) break;
      const entry = this.#order[at] as Entry;
      if (this.#isCurrent(entry)) found.push(messageOf(entry));
    }
    return found;
  }

  last(subject: string): BusMessage | undefined {
    const entry = this.#lastOf(subject);
    return entry && messageOf(entry);
  }

  /** What had to make room for newer messages is nobody's last any more. */
  #lastOf(subject: string): Entry | undefined {
    const entry = this.#last.get(subject);
    return entry && this.#isCurrent(entry) ? entry : undefined;
  }

  #leave(): void {
    this.#waiting -= 1;
  }

  async #append(
    subject: string,
    bytes: Uint8Array,
    { msgId, expectSeq }: AppendOptions,
  ): Promise<{ readonly seq: number; readonly duplicate: boolean } | "conflict"> {
    this.#forgetOldIds();
    const known = this.#seqOfId.get(msgId);
    if (known) return { seq: known.seq, duplicate: true };
    if ((this.#lastOf(subject)?.seq ?? 0) !== expectSeq) return "conflict";
    const seq = this.#lastSeq + 1;
    const atMs = this.#clock.nowMs();
    const entry = { subject, seq, msgId, atMs, bytes: new Uint8Array(bytes) };
    try {
      await this.#store?.commit(this.#writesOf(entry));
    } catch (cause) {
      this.#reload(subject, seq);
      throw new BusFault("unknown", `${subject} may or may not be stored`, { cause });
    }
    this.#take(entry);
    return { seq, duplicate: false };
  }

  #take(entry: Entry): void {
    this.#lastSeq = Math.max(this.#lastSeq, entry.seq);
    this.#last.set(entry.subject, entry);
    this.#order.push(entry);
    this.#seqOfId.set(entry.msgId, { seq: entry.seq, atNs: this.#clock.monoNs() });
    const { keeps } = this.#shape;
    const kept = keeps === "last" ? this.#last.size : keeps;
    if (this.#order.length > 2 * kept + 64) {
      this.#order = this.#order.filter((each) => this.#isCurrent(each));
      for (const [each, last] of this.#last) if (!this.#isCurrent(last)) this.#last.delete(each);
    }
  }

  /** The entry, and the removal of the one that has to make room for it. */
  #writesOf(entry: Entry): Write[] {
    const writes: Write[] = [{ key: this.#entryKey(entry), value: encodeEntry(entry) }];
    if (this.#shape.keeps === "last") return writes;
    const oldest = this.#order[this.#firstFrom(entry.seq - this.#shape.keeps)];
    if (oldest && oldest.seq <= entry.seq - this.#shape.keeps) {
      writes.push({ key: this.#entryKey(oldest), value: undefined });
    }
    return writes;
  }

  /** After a failed commit the store alone knows whether it took place. */
  #reload(subject: string, seq: number): void {
    const value = this.#store?.get(this.#entryKey({ subject, seq }));
    const entry = value && decodeEntry(subject, value);
    if (entry && entry.seq > this.#lastSeq) this.#take(entry);
  }

  #load(): void {
    const prefix = `bus/${this.#shape.name}/`;
    const stored = this.#store?.list(prefix) ?? [];
    const entries = stored.map(([key, value]) => {
      const name = key.slice(prefix.length);
      return decodeEntry(name.slice(name.indexOf("/") + 1), value);
    });
    entries.sort((left, right) => left.seq - right.seq);
    // The message with the highest sequence is its subject's last, so it is always among these.
    for (const entry of entries) this.#take(entry);
    this.#forgetIdsFromBefore(this.#clock.nowMs() - DUPLICATE_WINDOW_MS);
  }

  #forgetIdsFromBefore(atMs: number): void {
    for (const entry of this.#order) {
      if (entry.atMs < atMs) this.#seqOfId.delete(entry.msgId);
    }
  }

  #forgetOldIds(): void {
    const oldestNs = this.#clock.monoNs() - BigInt(DUPLICATE_WINDOW_MS) * 1_000_000n;
    for (const [msgId, { atNs }] of this.#seqOfId) {
      if (atNs >= oldestNs && this.#seqOfId.size <= DUPLICATE_IDS_MAX) return;
      this.#seqOfId.delete(msgId);
    }
  }

  #isCurrent(entry: Entry): boolean {
    const { keeps } = this.#shape;
    if (keeps !== "last") return entry.seq > this.#lastSeq - keeps;
    return this.#last.get(entry.subject)?.seq === entry.seq;
  }

  #firstFrom(seq: number): number {
    let low = 0;
    let high = this.#order.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#order[middle] as Entry).seq < seq) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Where a subject's older messages are kept too, each has a key of its own. */
  #entryKey({ subject, seq }: Pick<Entry, "subject" | "seq">): string {
    const { name, keeps } = this.#shape;
    return `bus/${name}/${keeps === "last" ? "" : `${seq.toString(16).padStart(14, "0")}/`}${subject}`;
  }
}

function messageOf(entry: Entry): BusMessage {
  return { subject: entry.subject, bytes: entry.bytes, seq: entry.seq };
}

/** Sequence, time, length of the id, id, payload. */
function encodeEntry(entry: Entry): Uint8Array {
  const head = Buffer.alloc(17);
  head.writeBigUInt64BE(BigInt(entry.seq), 0);
  head.writeBigUInt64BE(BigInt(entry.atMs), 8);
  head.writeUInt8(entry.msgId.length, 16);
  return Buffer.concat([head, Buffer.from(entry.msgId, "latin1"), entry.bytes]);
}

function decodeEntry(subject: string, value: Uint8Array): Entry {
  const buffer = Buffer.from(value);
  const idEnd = 17 + buffer.readUInt8(16);
  return {
    subject,
    seq: Number(buffer.readBigUInt64BE(0)),
    atMs: Number(buffer.readBigUInt64BE(8)),
    msgId: buffer.toString("latin1", 17, idEnd),
    bytes: new Uint8Array(buffer.subarray(idEnd)),
  };
}
