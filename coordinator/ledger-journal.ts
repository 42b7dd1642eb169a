// The ledger's store where coordinators are many: a chain of links in a stream, and a copy of what it
// comes to on this coordinator's own disk.
//
// J1. Each link is appended on the condition that the one before it is the last. So the chain is one,
//     and whoever did not write its last link has lost the right to write the next.
// J2. A commit resolves once its link is in the stream and on this disk. What became of a link whose
//     answer was lost is found out before anything else is written.
// J3. The stream may lose its end (a power cut, a restored disk). Whoever remembers more than it
//     writes everything anew, as a snapshot, before it lends again.
// J4. A link counts by its seal and its place: its `prev` is the hash of the link before. What others
//     wrote between is passed over and told.
// J5. A snapshot is written long before the stream forgets the last one. Whoever has read half of one
//     reads it again from its start.
// J6. Before anything is passed over for its seal, the mesh's newest trust bundle is taken in: a link
//     may be of a coordinator that was added while this one heard nothing. Passing over such a link and
//     writing behind it would be two ledgers in one chain.
// J7. What a coordinator wrote counts after its key was taken out of use too, until one in force has
//     written that it knows (journal-barred.ts). What it lent meanwhile is lent; and it lends no more then,
//     although it may not have heard of its removal.
// J8. Changes that one link does not hold are written as a snapshot of what they come to.
// J9. A snapshot is bounded. Long before a ledger is more than it holds, nothing more is lent, and no contract opened.

import { type Bus, BusFault, type BusMessage } from "../ports/bus.ts";
import type { Clock } from "../ports/clock.ts";
import { backoffMs, pause } from "../ports/pause.ts";
import type { Random } from "../ports/random.ts";
import { type Guard, type Store, StoreFault, type Write } from "../ports/store.ts";
import type { JournalRecord } from "../proto/gen/altrace/v1/journal_pb.ts";
import { JOURNAL_STREAM, JOURNAL_SUBJECT } from "../proto/subjects.ts";
import type { Tell } from "./events.ts";
import { barring, JournalBarred } from "./journal-barred.ts";
import { JournalCopy, type JournalPlace } from "./journal-copy.ts";
import { entriesAfter, fitsLink, JOURNAL_LIMITS, partsOf } from "./journal-parts.ts";
import { JournalReading } from "./journal-reading.ts";
import {
  entryOf,
  isInForceNow,
  isSameBytes,
  type JournalLink,
  type JournalTrust,
  linkHash,
  openLink,
  sealLink,
} from "./journal-record.ts";
import type { LedgerStore } from "./ledger-actor.ts";
import { SnapshotPace } from "./snapshot-pace.ts";
import { EPOCH_KEY } from "./store-keys.ts";

export type LedgerJournalOptions = JournalTrust & {
  readonly bus: Bus;
  readonly clock: Clock;
  readonly random: Random;
  /** This coordinator's own store, which keeps the copy. */
  readonly store: Store;
  readonly tell: Tell;
  /** Takes in the mesh's newest trust bundle. Rejects with BusFault. */
  readonly learnTrust: () => Promise<void>;
  /** Links from one snapshot to the next, of a small ledger; default 1,024. */
  readonly snapshotEvery?: number;
};

/** The stream does not hold what a ledger can be made of. */
export class JournalFault extends Error {
  constructor(message: string) {
    super(message);
    this.name = "JournalFault";
  }
}

const NONCE_BYTES = 16;
const PAGE_COUNT = 256;
const RETRY_MS = { min: 50, max: 2_000 };

type Body = Exclude<JournalRecord["body"], { case: undefined }>;

export class LedgerJournal implements LedgerStore {
  readonly #options: LedgerJournalOptions;
  readonly #copy: JournalCopy;
  readonly #pace: SnapshotPace;
  readonly #closing = new AbortController();
  #queue: Promise<unknown> = Promise.resolve();
  #hasLearntTrust = false;

  /** @throws StoreFault The copy on disk cannot be read. */
  constructor(options: LedgerJournalOptions) {
    this.#options = options;
    this.#copy = new JournalCopy(options.store);
    this.#pace = new SnapshotPace(options.snapshotEvery);
  }

  /** Share of what the journal takes before nothing is lent any more; 1 and above: it is full. */
  get fill(): number {
    return this.#copy.bytes / JOURNAL_LIMITS.journalBytesMax;
  }

  get(key: string): Uint8Array | undefined {
    return this.#copy.entries.get(key);
  }

  list(
    prefix: string,
    options: { readonly after?: string; readonly limit?: number } = {},
  ): readonly (readonly [key: string, value: Uint8Array])[] {
    const { after, limit } = options;
    return [...this.#copy.entries]
      .filter(([key]) => key.startsWith(prefix))
      .filter(
        ([key]) => after === undefined || Buffer.compare(Buffer.from(key), Buffer.from(after)) > 0,
      )
      .sort(([left], [right]) => Buffer.compare(Buffer.from(left), Buffer.from(right)))
      .slice(0, limit);
  }

  /** Rejects with StoreFault: the disk failed, or `close` was called before the outcome was known. */
  commit(writes: readonly Write[], guard?: Guard): Promise<"committed" | "conflict"> {
    return this.#inTurn(async () => {
      if (guard && !isSameBytes(this.get(guard.key), guard.value)) return "conflict";
      const all = [...writes, ...this.#barring()];
      if (!fitsLink(all)) return this.#snapshot(all);
      const body: Body = {
        case: "changes",
        value: { $typeName: "altrace.v1.JournalChanges", entries: all.map(entryOf) },
      };
      if (this.#copy.place.owesSnapshot && (await this.#snapshot()) === "conflict")
        return "conflict";
      if ((await this.#append(body, all)) === "conflict") return "conflict";
      if (this.#pace.isDue) await this.#snapshot();
      return "committed";
    });
  }

  /**
   * Reads what other coordinators wrote. Afterwards entries are what the stream comes to, or, where it
   * has lost its end, what this coordinator remembers.
   *
   * Rejects with BusFault where the stream cannot be read, and with JournalFault where it holds no
   * whole ledger; nothing has changed then.
   */
  catchUp(): Promise<void> {
    return this.#inTurn(() => this.#catchUp());
  }

  /**
   * Writes everything as a snapshot: the first deed of a leader, so that all that follows is under
   * its own key, and what the stream has lost is in it again. `conflict`: another leads.
   */
  snapshot(): Promise<"committed" | "conflict"> {
    return this.#inTurn(() => this.#snapshot());
  }

  /** J7: links of ours would count for nobody. Who is listed anew is not barred, and nobody may have written so. */
  async isBarred(): Promise<boolean> {
    const { signer, learnTrust } = this.#options;
    if (!this.#copy.barred.has(signer.kid)) return false;
    await learnTrust();
    return !isInForceNow(signer.kid, this.#options);
  }

  /** Ends what is under way. The store and the bus are the caller's. */
  async close(): Promise<void> {
    this.#closing.abort();
    await this.#queue.catch(() => undefined);
  }

  #inTurn<T>(turn: () => Promise<T>): Promise<T> {
    const result = this.#queue.then(turn);
    this.#queue = result.catch(() => undefined);
    return result;
  }

  /** @param writes Count, as all of it does, with its last part. */
  async #snapshot(writes: readonly Write[] = []): Promise<"committed" | "conflict"> {
    const parts = partsOf(entriesAfter(this.#copy.entries, writes));
    let firstSeq = 0;
    for (const [no, entries] of parts.entries()) {
      const isLast = no === parts.length - 1;
      const body: Body = {
        case: "part",
        value: {
          $typeName: "altrace.v1.JournalSnapshotPart",
          ...{ no, count: parts.length, entries: [...entries] },
        },
      };
      const outcome = await this.#append(body, isLast ? writes : [], (seq) => {
        firstSeq ||= seq;
        return isLast ? firstSeq : undefined;
      });
      if (outcome === "conflict") return "conflict";
    }
    this.#pace.wroteSnapshot(parts.length);
    return "committed";
  }

  /** @param snapshotAt The snapshot that is whole with this link, when it has got that sequence. */
  async #append(
    body: Body,
    writes: readonly Write[],
    snapshotAt: (seq: number) => number | undefined = () => undefined,
  ): Promise<"committed" | "conflict"> {
    const { place } = this.#copy;
    const n = place.n + 1;
    const record: JournalRecord = {
      $typeName: "altrace.v1.JournalRecord",
      mesh: this.#options.mesh,
      n: BigInt(n),
      prev: place.hash,
      snapshotSeq: BigInt(place.snapshotSeq),
      epoch: BigInt(epochAfter(writes) ?? this.#epoch()),
      nonce: this.#options.random.bytes(NONCE_BYTES),
      body,
    };
    const bytes = sealLink(record, this.#options);
    const seq = await this.#store(bytes, place);
    if (seq === "conflict") return "conflict";
    this.#pace.wroteLink(bytes.length);
    const whole = snapshotAt(seq);
    await this.#copy.apply(writes, {
      seq,
      n,
      hash: linkHash(bytes),
      epoch: Number(record.epoch),
      snapshotSeq: whole ?? place.snapshotSeq,
      endSeq: seq,
      owesSnapshot: place.owesSnapshot && whole === undefined,
    });
    return "committed";
  }

  /** J2: asks until it is known what became of the link. */
  async #store(
    bytes: Uint8Array,
    { endSeq: expectSeq }: JournalPlace,
  ): Promise<number | "conflict"> {
    const { bus, clock, tell } = this.#options;
    const { signal } = this.#closing;
    const msgId = `journal-${Buffer.from(linkHash(bytes)).toString("hex")}`;
    for (let attempt = 0; !signal.aborted; attempt += 1) {
      try {
        const outcome = await bus.append(JOURNAL_SUBJECT, bytes, { msgId, expectSeq });
        if (outcome !== "conflict") return outcome.seq;
        // An earlier attempt of ours may be what is in the way.
        const last = await bus.last(JOURNAL_STREAM, JOURNAL_SUBJECT);
        const isOurs = last?.seq !== undefined && Buffer.compare(last.bytes, bytes) === 0;
        return isOurs ? (last.seq as number) : "conflict";
      } catch (error) {
        if (!(error instanceof BusFault)) throw error;
        if (attempt === 0) tell("journal_unreachable", { error: String(error) });
        await pause(clock, backoffMs(attempt, RETRY_MS), signal);
      }
    }
    throw new StoreFault("the journal was closed before it answered");
  }

  /** J7. What the next link says of keys. A coordinator that is not in force itself says nothing. */
  #barring(): readonly Write[] {
    const { trust, clock, signer } = this.#options;
    if (!isInForceNow(signer.kid, this.#options)) return [];
    const former = trust.formerCoordinators(clock.nowMs());
    return barring(this.#copy.barred, former, (kid) => isInForceNow(kid, this.#options));
  }

  async #catchUp(): Promise<void> {
    const { bus } = this.#options;
    this.#hasLearntTrust = false;
    const last = await bus.last(JOURNAL_STREAM, JOURNAL_SUBJECT);
    const link = last && (await this.#openLink(last.bytes));
    // Whether a link of a former coordinator counts is known only once what is before it was read.
    const told = link?.isOfFormer ? undefined : link?.record;
    const { place } = this.#copy;
    if (!place.owesSnapshot && (await this.#isAt(place))) return this.#readOn(told);
    // Our place is not in the stream. It has moved on, or it has lost what we remember.
    const newest = told ?? (last && (await this.#newestLink()));
    if (place.n > 0 && !(newest && isAhead(newest, place))) return this.#stayAhead(last, newest);
    await this.#reload(newest, told === undefined ? this.#barred() : new JournalBarred());
  }

  /** The newest link that counts, where the last message tells nothing: anybody may write behind it. */
  async #newestLink(): Promise<JournalRecord | undefined> {
    const reading = new JournalReading(undefined, this.#barred());
    await this.#readInto(reading, 1);
    return reading.newest;
  }

  #barred(): JournalBarred {
    return new JournalBarred(this.#copy.barred.kids);
  }

  /** Whether the stream still holds the link that we stand on. */
  async #isAt({ seq, n, hash }: JournalPlace): Promise<boolean> {
    if (n === 0) return false;
    const [message] = await this.#options.bus.read(JOURNAL_STREAM, seq, 1);
    return message?.seq === seq && isSameBytes(linkHash(message.bytes), hash);
  }

  /** J3: keeps what we remember, and goes on from wherever the stream ends now. */
  async #stayAhead(last: BusMessage | undefined, newest: JournalRecord | undefined): Promise<void> {
    const { place } = this.#copy;
    const seq = last?.seq ?? 0;
    const hash = last === undefined ? new Uint8Array() : linkHash(last.bytes);
    // A replica that lags did not have our place, and the leader has.
    if (seq === place.seq && isSameBytes(hash, place.hash)) return;
    if (!place.owesSnapshot) {
      this.#options.tell("journal_rolled_back", { seq: place.seq, found: seq });
    }
    const snapshotSeq = Number(newest?.snapshotSeq ?? 0n);
    await this.#copy.apply([], {
      ...place,
      seq,
      hash,
      endSeq: seq,
      snapshotSeq,
      owesSnapshot: true,
    });
  }

  async #readOn(newest: JournalRecord | undefined): Promise<void> {
    const { place } = this.#copy;
    const reading = new JournalReading(place, this.#barred());
    await this.#readInto(reading, place.endSeq + 1);
    // Half of a snapshot was read before, and nothing joins on to its other half: from its start, then.
    if (newest !== undefined && reading.isShortOf(newest)) {
      return this.#reload(newest, new JournalBarred());
    }
    await this.#take(reading);
  }

  /**
   * @param barred Keys that count for nothing from the first link on. None where one in force wrote the newest
   *   link and so says where to begin: what a key sealed before it was barred counts there, as for anybody new.
   */
  async #reload(newest: JournalRecord | undefined, barred: JournalBarred): Promise<void> {
    const reading = new JournalReading(undefined, barred);
    await this.#readInto(reading, Math.max(1, Number(newest?.snapshotSeq ?? 0n)));
    if (newest !== undefined && reading.isShortOf(newest)) throw lagging();
    if (!reading.place) {
      if (reading.linksSeen > 0) throw new JournalFault("the journal has lost its beginning");
      // Nobody has begun it, but somebody has written there: the first link comes behind that.
      const { place } = this.#copy;
      if (reading.endSeq > place.endSeq) {
        await this.#copy.apply([], { ...place, endSeq: reading.endSeq });
      }
      return;
    }
    if (this.#copy.place.n > 0) {
      this.#options.tell("journal_reloaded", { from: this.#copy.place.n, to: reading.place.n });
    }
    await this.#take(reading);
  }

  async #readInto(reading: JournalReading, fromSeq: number): Promise<void> {
    let page = await this.#options.bus.read(JOURNAL_STREAM, fromSeq, PAGE_COUNT);
    for (let end = page.at(-1)?.seq; end !== undefined; end = page.at(-1)?.seq) {
      for (const message of page) await this.#readLink(reading, message);
      page = await this.#options.bus.read(JOURNAL_STREAM, end + 1, PAGE_COUNT);
    }
  }

  async #readLink(reading: JournalReading, message: BusMessage): Promise<void> {
    const { seq = 0, subject, bytes } = message;
    const link = subject === JOURNAL_SUBJECT ? await this.#openLink(bytes) : undefined;
    const isTaken = reading.take(link, seq);
    if (!isTaken) this.#options.tell("journal_link_refused", { seq });
  }

  /** J6: asks once in each reading, whatever it meets. */
  async #openLink(bytes: Uint8Array): Promise<JournalLink | undefined> {
    const link = openLink(bytes, this.#options);
    if ((link !== undefined && !link.isOfFormer) || this.#hasLearntTrust) return link;
    await this.#options.learnTrust();
    this.#hasLearntTrust = true;
    return openLink(bytes, this.#options);
  }

  async #take({ place, base, writes }: JournalReading): Promise<void> {
    if (!place || place.endSeq === this.#copy.place.endSeq) return;
    await (base ? this.#copy.replace(base, place) : this.#copy.apply(writes, place));
  }

  #epoch(): number {
    return epochAfter([{ key: EPOCH_KEY, value: this.get(EPOCH_KEY) }]) ?? 0;
  }
}

/** Direct reads may be answered by a replica that lags: then nothing can be said now. */
function lagging(): BusFault {
  return new BusFault("timeout", "a replica that lags has answered");
}

function isAhead({ epoch, n }: JournalRecord, place: JournalPlace): boolean {
  if (Number(epoch) !== place.epoch) return Number(epoch) > place.epoch;
  return Number(n) > place.n;
}

function epochAfter(writes: readonly Write[]): number | undefined {
  const write = writes.find(({ key }) => key === EPOCH_KEY);
  return write?.value === undefined ? undefined : Number(Buffer.from(write.value).toString());
}
