import type { Write } from "../ports/store.ts";
import type { JournalEntry, JournalRecord } from "../proto/gen/altrace/v1/journal_pb.ts";
import type { JournalBarred } from "./journal-barred.ts";
import type { JournalPlace } from "./journal-copy.ts";
import { isSameBytes, type JournalLink, writeOf } from "./journal-record.ts";

/** Links as they are read, and what they come to. */
export class JournalReading {
  /** Undefined until the chain's first link or a whole snapshot was read. */
  place: JournalPlace | undefined;
  /** Everything there is, once a snapshot was read; otherwise `writes` are to be added. */
  base: Map<string, Uint8Array> | undefined;
  readonly writes: Write[] = [];
  linksSeen = 0;
  /** Sequence of the last message that was read, whatever it was. */
  endSeq = 0;
  /** The last link that counts. */
  newest: JournalRecord | undefined;
  readonly #barred: JournalBarred;
  #lastN: bigint;
  #before: Uint8Array | undefined;
  #parts: { readonly firstSeq: number; readonly entries: JournalEntry[][] } | undefined;

  /** @param barred Keys whose links count no more at that place. */
  constructor(place: JournalPlace | undefined, barred: JournalBarred) {
    this.place = place;
    this.#barred = barred;
    this.#before = place?.hash;
    this.#lastN = BigInt(place?.n ?? 0);
  }

  /** @returns False: it is no link of this chain, and only its sequence counts. */
  take(link: JournalLink | undefined, seq: number): boolean {
    const isTaken = link !== undefined && this.#takeLink(link, seq);
    this.endSeq = seq;
    if (this.place) this.place = { ...this.place, endSeq: seq };
    return isTaken;
  }

  #takeLink({ record, hash, kid, isOfFormer }: JournalLink, seq: number): boolean {
    if (isOfFormer && this.#barred.has(kid)) return false;
    if (!this.#isNext(record)) return false;
    const whole = this.#takeBody(record, { seq, isOfFormer });
    if (whole === "out_of_place") return false;
    this.linksSeen += 1;
    this.newest = record;
    this.#lastN = record.n;
    this.#before = hash;
    if (this.place === undefined && !whole) return true;
    this.place = {
      seq,
      n: Number(record.n),
      hash,
      epoch: Number(record.epoch),
      snapshotSeq: whole ? whole.firstSeq : Number(record.snapshotSeq),
      endSeq: seq,
      owesSnapshot: false,
    };
    return true;
  }

  /** Whether the stream was not read as far as this record: nothing may be concluded from it then. */
  isShortOf(newest: JournalRecord): boolean {
    return this.#lastN < newest.n;
  }

  #isNext({ prev, n, epoch, body }: JournalRecord): boolean {
    // A snapshot stands by itself, wherever its writer found the end of the stream; but not one that
    // is played again.
    if (body.case === "part" && body.value.no === 0) {
      return this.place === undefined || (n > this.place.n && epoch >= this.place.epoch);
    }
    return this.#before === undefined || isSameBytes(prev, this.#before);
  }

  #takeBody(
    { n, body }: JournalRecord,
    { seq, isOfFormer }: { readonly seq: number; readonly isOfFormer: boolean },
  ): { readonly firstSeq: number } | "out_of_place" | undefined {
    if (body.case === "changes") {
      this.#parts = undefined;
      if (this.place === undefined) {
        if (n !== 1n) return undefined;
        this.base = new Map();
        this.#write(body.value.entries);
        return { firstSeq: 0 };
      }
      if (Number(n) !== this.place.n + 1) return "out_of_place";
      this.#write(body.value.entries);
      return undefined;
    }
    if (body.case !== "part") return "out_of_place";
    const { no, count, entries } = body.value;
    if (no === 0) this.#parts = { firstSeq: seq, entries: [] };
    // Its start was read before this reading. It changes nothing before it is whole, and may never be.
    if (this.#parts === undefined && this.place !== undefined && no + 1 < count) return undefined;
    if (this.#parts?.entries.length !== no) return "out_of_place";
    this.#parts.entries.push(entries);
    if (no + 1 < count) return undefined;
    const { firstSeq, entries: all } = this.#parts;
    this.#parts = undefined;
    this.base = new Map();
    // Whoever may be barred itself could have left out that it is.
    if (!isOfFormer) this.#barred.replace(all.flat().map(({ key }) => key));
    this.#write(all.flat());
    return { firstSeq };
  }

  #write(entries: readonly JournalEntry[]): void {
    this.#barred.change(entries.map(writeOf));
    for (const write of entries.map(writeOf)) {
      if (!this.base) this.writes.push(write);
      else if (write.value === undefined) this.base.delete(write.key);
      else this.base.set(write.key, write.value);
    }
  }
}
