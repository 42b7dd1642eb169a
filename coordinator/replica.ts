// This coordinator's copy of the mesh's state.
//
// It hears records on the committed broadcast, on the fast path (kills alone) and from nodes that
// have newer ones than the stream; it merges them all alike and keeps the current one of each scope
// on disk. The stream is transport: what it lost it gets back from here.
//
// R1. A record counts by its signatures, whatever channel brought it.
// R2. A subscription comes before the replay, so nothing falls in between.
// R3. No message is dropped for its sequence: a stream that was rolled back numbers anew.

import {
  type MeshRecord,
  type OpenContext,
  type OpenedRecord,
  openRecord,
  restoreRecord,
} from "../mesh/record.ts";
import { isGreater, MeshState } from "../mesh/state.ts";
import { stillCounts } from "../mesh/still-counts.ts";
import { type TrustPin, TrustView } from "../mesh/trust.ts";
import { type Bus, BusFault, type BusMessage } from "../ports/bus.ts";
import type { Clock } from "../ports/clock.ts";
import type { Keys, Signer } from "../ports/keys.ts";
import { backoffMs, pause } from "../ports/pause.ts";
import { type Store, StoreFault, type Write } from "../ports/store.ts";
import {
  COMMITTED_PATTERN,
  CONTROL_STREAM,
  controlSubject,
  FAST_PATTERN,
  HEAL_PATTERN,
  REVOCATION_STREAM,
  REVOKED_COPIES_PREFIX,
} from "../proto/subjects.ts";
import type { Tell } from "./events.ts";
import { HeardKills } from "./heard-kills.ts";
import { openKept } from "./kept-records.ts";
import { readOn } from "./read-on.ts";
import { RecordSubjects } from "./record-subjects.ts";
import { Reoffers } from "./reoffers.ts";
import { RECORD_PREFIX, recordKey } from "./store-keys.ts";
import { StreamView } from "./stream-view.ts";
import { tellCommitted } from "./tell-committed.ts";

export type ReplicaOptions = {
  readonly pin: TrustPin;
  readonly store: Store;
  readonly bus: Bus;
  readonly clock: Clock;
  readonly verify: Keys["verify"];
  readonly signer: Signer;
  readonly tell: Tell;
};

/** Called after a record has become its scope's current one. */
export type OnRecord = (record: MeshRecord, before: MeshRecord | undefined) => void;

const RETRY_MS = { min: 100, max: 2_000 };
/** A disk that failed is tried again this often. */
const PERSIST_RETRY_MS = 1_000;

export class Replica {
  readonly state = new MeshState({ onForgotten: (record) => this.#forgotten(record) });
  readonly stream = new StreamView();
  readonly trust: TrustView;
  readonly #options: ReplicaOptions;
  readonly #onRecord: OnRecord[] = [];
  readonly #onKept: (() => void)[] = [];
  readonly #subjects = new RecordSubjects();
  readonly #unsaved = new Set<string>();
  /** Scopes whose records the disk is to forget, as the state has. */
  readonly #gone = new Set<string>();
  readonly #heard: HeardKills;
  readonly #stops: (() => void)[] = [];
  readonly #stopping = new AbortController();
  #cancelRetry: () => void = () => undefined;
  readonly #reoffers: Reoffers;
  #saving: Promise<void> = Promise.resolve();
  #repairing: Promise<void> | undefined;
  #repairAgain = false;
  #fromStart = false;
  #lastSeq = 0;
  #isReplayed = false;

  constructor(options: ReplicaOptions) {
    this.#options = options;
    this.trust = new TrustView(options.pin);
    this.#reoffers = new Reoffers({
      ...options,
      state: this.state,
      stream: this.stream,
      counts: (record) => this.counts(record),
      adopt: (message) => this.adopt(message),
      noteStored: (record, seq) => this.noteStored(record, seq),
      signal: this.#stopping.signal,
    });
    this.#heard = new HeardKills({ ...options, store: (scope) => void this.reoffer(scope) });
    this.#restore();
  }

  /** Highest sequence up to which the control stream was merged whole. */
  get lastSeq(): number {
    return this.#lastSeq;
  }

  /** Whether the control stream was read to its end at least once. */
  get isReplayed(): boolean {
    return this.#isReplayed;
  }

  onRecord(fn: OnRecord): void {
    this.#onRecord.push(fn);
  }

  /** Calls `fn` while a record is current that counts by a node's word alone: nobody else takes it. */
  onKept(fn: () => void): void {
    this.#onKept.push(fn);
  }

  /** Listens, then reads the stream in the background until that has succeeded. */
  start(): void {
    const { bus } = this.#options;
    this.#stops.push(
      bus.listen(COMMITTED_PATTERN, (message) => this.#onCommitted(message)),
      bus.listen(FAST_PATTERN, (message) => this.#onFast(message)),
      bus.listen(HEAL_PATTERN, (message) => this.#onHeal(message)),
    );
    bus.onUp(() => this.repair());
    this.repair();
  }

  /** Listens no more. Resolves once the store is no longer used. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#heard.stop();
    this.#cancelRetry();
    for (const stop of this.#stops.splice(0)) stop();
    await this.#repairing;
    await this.#saving;
  }

  /** Opens bytes by the current trust view. */
  open(bytes: Uint8Array, subject?: string): OpenedRecord {
    return openRecord(bytes, { ...this.#context(), ...(subject === undefined ? {} : { subject }) });
  }

  /** Whether whoever has never seen this record would take it now. */
  counts(record: MeshRecord): boolean {
    return stillCounts(record, this.#context());
  }

  #context(): OpenContext {
    const { clock, verify, pin } = this.#options;
    return { mesh: pin.mesh, verify, trust: this.trust, nowMs: clock.nowMs() };
  }

  /**
   * Merges an opened record, tells listeners if it became current, and has it saved soon.
   *
   * @param seq Its sequence in the control stream, when it came from there.
   * @returns Whether it became current.
   */
  take(record: MeshRecord, seq?: number): boolean {
    // A broadcast may be late and a page old, so only a higher sequence is news.
    if (seq !== undefined && seq > this.stream.seqOf(record.scope)) this.stream.note(record, seq);
    const { outcome, changed, before } = this.state.merge(record);
    if (outcome === "conflict") {
      const { scope, v, hashHex } = record;
      this.#options.tell("record_conflict", { scope, v, hash: hashHex, took_over: changed });
    }
    if (!changed) return false;
    this.#learn(record);
    this.#unsaved.add(record.scope);
    this.#gone.delete(record.scope);
    if (record.parsed.kind === "contract") this.state.forgetEnded();
    for (const fn of this.#onRecord) fn(record, before);
    void this.save();
    return true;
  }

  /**
   * The leader has just stored a record of ours there. A number that was read past before is given out a
   * second time: the stream was rolled back (R3), and what it lost is offered again. Not where ours was overwritten.
   */
  noteStored(record: MeshRecord, seq: number): void {
    const there = this.stream.recordOf(record.scope);
    if (there && isGreater(there, record)) return;
    const isGivenAgain = seq <= this.#lastSeq && this.stream.seqOf(record.scope) !== seq;
    this.stream.note(record, seq);
    if (isGivenAgain && record.parsed.kind !== "contract") this.#rolledBack(seq);
  }

  /**
   * Writes every record that is not on disk. A failure is told and tried again; the record counts
   * meanwhile, since a kill must not wait for a disk: what is said of it in this turn leaves first.
   */
  save(): Promise<void> {
    this.#saving = this.#saving.then(() => undefined).then(() => this.#saveNow());
    return this.#saving;
  }

  /** Records that count here and are not known to be on this disk. */
  get unsavedCount(): number {
    return this.#unsaved.size;
  }

  /** Reads the stream from where it was merged, or anew, and writes again what it has lost. */
  repair(options: { readonly fromStart?: boolean } = {}): void {
    if (options.fromStart) this.#fromStart = true;
    if (this.#repairing) {
      this.#repairAgain = true;
      return;
    }
    this.#repairing = this.#repair().finally(() => {
      this.#repairing = undefined;
    });
  }

  /** Takes in the newest trust bundle that the stream's leader has. Rejects with BusFault. */
  async learnTrust(): Promise<void> {
    const trust = await this.#options.bus.last(CONTROL_STREAM, controlSubject({ kind: "trust" }));
    if (trust) this.#replayOne(trust);
  }

  #restore(): void {
    const { store, pin } = this.#options;
    for (const [key, bytes] of store.list(RECORD_PREFIX)) {
      const read = restoreRecord(bytes, { mesh: pin.mesh });
      if (!read.ok || recordKey(read.record.scope) !== key) {
        throw new StoreFault(`${key} holds no record of this mesh`);
      }
      if (this.state.merge(read.record).changed) this.#learn(read.record);
      else this.#gone.add(read.record.scope);
    }
    while (this.state.forgetEnded());
  }

  /** A revocation whose contract has ended is no part of the state any more. */
  #forgotten(record: MeshRecord): void {
    this.#subjects.forget(record);
    this.#unsaved.delete(record.scope);
    this.#gone.add(record.scope);
    if (this.#gone.size === 1) void this.save();
  }

  #learn(record: MeshRecord): void {
    this.trust.learn(record);
    this.#subjects.learn(record);
  }

  #onCommitted(message: BusMessage): void {
    const { seq } = message;
    const record = this.#opened(message, message.subject, "committed");
    // Whoever may write to the server wrote over a record: the stream keeps one message a subject.
    if (!record && seq) void this.reoffer(this.#subjects.scopeOf(message.subject) ?? "");
    if (record && seq !== undefined) this.#heard.stored(record);
    const isRevocation = message.subject.startsWith(REVOKED_COPIES_PREFIX);
    if (seq === undefined || isRevocation) {
      const isNewHere = record !== undefined && this.take(record);
      if (isNewHere && seq !== undefined) tellCommitted(record, seq, this.#options);
      if (seq !== undefined) this.stream.heardRevoked(seq);
      return;
    }
    // Our own kills are not new when their copies come: that nothing was known to stand there tells as much.
    const isGivenAgain =
      seq <= this.#lastSeq && record !== undefined && seq > this.stream.seqOf(record.scope);
    const isNew = record !== undefined && this.take(record, seq);
    // Whoever stored it may have died before saying it, and nodes hear no copy of a kill.
    if (isNew && record.op.case === "kill") tellCommitted(record, seq, this.#options);
    if (isGivenAgain || (isNew && seq <= this.#lastSeq)) this.#rolledBack(seq);
    else if (seq === this.#lastSeq + 1) this.#lastSeq = seq;
    else if (seq > this.#lastSeq) this.repair();
  }

  #rolledBack(seq: number): void {
    this.#options.tell("stream_rolled_back", { seq, found: this.#lastSeq });
    this.repair({ fromStart: true });
  }

  #onFast(message: BusMessage): void {
    const record = this.#opened(message, message.subject, "fast");
    // Anything but a kill waits for its commit: a crash in between must not leave it half known.
    if (record?.op.case === "kill" && this.take(record)) this.#heard.heard(record);
  }

  #onHeal(message: BusMessage): void {
    const kept = openKept(message, this.#context());
    const record = kept ?? this.#opened(message, undefined, "heal");
    if (!record) return;
    const isNew = this.take(record);
    const isCurrent = record.hashHex === this.state.get(record.scope)?.hashHex;
    if (kept) {
      if (isCurrent) for (const fn of this.#onKept) fn();
      return;
    }
    // Revoked contracts leave their stream by age, and nodes offer them for as long as they have them.
    if (isNew || (isCurrent && record.parsed.kind !== "contract")) void this.reoffer(record.scope);
  }

  #opened(message: BusMessage, subject: string | undefined, via: string): MeshRecord | undefined {
    const known = this.state.get(this.#subjects.scopeOf(subject ?? "") ?? "");
    // What is current was looked at when it came; our own kills come back twice.
    if (known && Buffer.compare(known.bytes, message.bytes) === 0) return known;
    const opened = this.open(message.bytes, subject);
    if (opened.ok) return opened.record;
    const { reason, detail } = opened;
    this.#options.tell("record_refused", { via, subject: message.subject, reason, detail });
    return undefined;
  }

  async #saveNow(): Promise<void> {
    const records = [...this.#unsaved].flatMap((scope) => this.state.get(scope) ?? []);
    const gone = [...this.#gone];
    if (records.length + gone.length === 0) return;
    const writes: Write[] = gone.map((scope) => ({ key: recordKey(scope), value: undefined }));
    writes.push(...records.map(({ scope, bytes }) => ({ key: recordKey(scope), value: bytes })));
    try {
      await this.#options.store.commit(writes);
      for (const scope of gone) if (!this.#unsaved.has(scope)) this.#gone.delete(scope);
      for (const { scope, hashHex } of records) {
        if (this.state.get(scope)?.hashHex === hashHex) this.#unsaved.delete(scope);
      }
    } catch (error) {
      if (!(error instanceof StoreFault)) throw error;
      this.#options.tell("store_failed", { what: "record", error: String(error) });
      this.#cancelRetry();
      this.#cancelRetry = this.#options.clock.after(PERSIST_RETRY_MS, () => void this.save());
    }
  }

  async #repair(): Promise<void> {
    const { signal } = this.#stopping;
    for (let attempt = 0; !signal.aborted; attempt += 1) {
      this.#repairAgain = false;
      if (this.#fromStart) {
        this.#fromStart = false;
        this.#lastSeq = 0;
        this.stream.clear();
      }
      try {
        await this.#replay();
        this.#isReplayed = true;
        await this.#reofferMissing();
        if (!this.#repairAgain) return;
        attempt = -1;
      } catch (error) {
        if (!(error instanceof BusFault)) throw error;
        if (attempt === 0) this.#options.tell("stream_unreachable", { error: String(error) });
        await pause(this.#options.clock, backoffMs(attempt, RETRY_MS), signal);
      }
    }
  }

  async #replay(): Promise<void> {
    const { bus } = this.#options;
    // Keys first: the bundle may stand behind records that only it lets count.
    await this.learnTrust();
    await readOn(bus, { stream: CONTROL_STREAM, seq: this.#lastSeq + 1 }, (messages, endSeq) => {
      for (const message of messages) this.#replayOne(message);
      this.#lastSeq = Math.max(this.#lastSeq, endSeq);
    });
    // Revoked contracts have a stream of their own, which they leave once no contract needs them.
    this.stream.readRevoked(0);
    await readOn(bus, { stream: REVOCATION_STREAM, seq: 1 }, (messages, endSeq) => {
      for (const message of messages) this.#replayOne(message);
      this.stream.readRevoked(endSeq);
    });
  }

  #replayOne(message: BusMessage): void {
    const record = this.#opened(message, message.subject, "replay");
    if (record) this.take(record, message.seq);
  }

  async #reofferMissing(): Promise<void> {
    for (const record of [...this.state.records()]) {
      if (record.parsed.kind === "contract") continue;
      if (!this.stream.holds(record)) await this.reoffer(record.scope);
    }
  }

  /** Makes the stream hold the scope's current record, unless it holds a greater one. Never rejects. */
  reoffer(scope: string): Promise<void> {
    return this.#reoffers.offer(scope);
  }

  /** Takes in what the leader holds for a subject; what is no record is told and left out. */
  adopt(message: BusMessage): MeshRecord | undefined {
    const record = this.#opened(message, message.subject, "stream");
    if (record) {
      this.stream.note(record, message.seq as number);
      this.take(record);
    } else this.#options.tell("stream_overwritten", { subject: message.subject, seq: message.seq });
    return record;
  }
}
