import type { MeshRecord } from "../../mesh/record.ts";
import type { MeshState } from "../../mesh/state.ts";
import { type Bus, BusFault, type BusMessage } from "../../ports/bus.ts";
import type { Cancel, Clock } from "../../ports/clock.ts";
import { CONTROL_STREAM } from "../../proto/subjects.ts";
import { Backoff } from "./backoff.ts";
import { SLICE_NS } from "./intake.ts";

// How this replica finds what it was not told.
//
// G1. `mark` is a sequence up to which everything in the stream was merged; it is never trusted to say
//     what was not: only a digest with our state's hash says that nothing is missing.
// G2. A record beyond a gap is merged at once; the gap is read afterwards.
// G3. A sequence at or below `mark` that brings something new means that the stream was rolled back and
//     gives out its numbers again. Then the mark is worth nothing, and everything is read again.
// G4. Kills are told without their sequence. A gap that is no larger than what came beyond the mark is no sign of
//     a loss, or each kill would have every node read the stream at the next policy; the next digest says.
// G5. A stream that cannot be read keeps no kill from us: while digests say that we lack something, a coordinator
//     is asked for it after each reading that failed.
// G6. Who has told us all that differs leaves nothing to read for: a fleet that comes back reads no stream. A
//     coordinator that does not answer soon is not waited for.
// G7. Who comes back asks nobody before it has heard a digest. Kills that it missed are said again ahead of that, so
//     that a fleet which comes back has nothing to ask for. A digest that differs even so is asked about at once.
// G8. Who came back and has heard none when the next one is overdue reads the stream's end, which costs no signature:
//     a kill that nobody says any more is in force within 1.2 s of the connection. Only later is a coordinator asked.

export const READ_COUNT = 256;
/** Records offered to the coordinators after one full reading. */
export const HEAL_MAX = 10_000;
/** The stream is read too when a coordinator has not answered by then. */
export const ANSWER_WAIT_MS = 1_000;
/** Who came back reads the stream's end when no digest has come by then: one is sent each second. */
export const DIGEST_DUE_MS = 1_100;
/** And asks a coordinator when none has come by then: half as long again as one may take. */
export const DIGEST_WAIT_MS = 1_500;
export const BACKOFF_MS_MIN = 100;
export const BACKOFF_MS_MAX = 5_000;
/**
 * Digests in a row that differ: at the second a coordinator is asked for the difference, at the third the
 * whole stream is read, at the fifth the whole state asked for.
 */
export const DIFFERENCES_AFTER = 2;
export const FULL_AFTER = 3;
export const PAGES_AFTER = 5;
/** Then the same again from the start, with incremental readings between. */
const ESCALATION_PERIOD = 10;

export type RepairDeps = {
  readonly bus: Bus;
  readonly clock: Clock;
  readonly nextTurn: () => Promise<void>;
  readonly streams: readonly string[];
  /** Merges a committed record; returns it, if it is one that counts. */
  readonly take: (message: BusMessage) => MeshRecord | undefined;
  /** Compares states with a coordinator, bucket by bucket, and merges what differs. False: no answer. */
  readonly takeDifferences: () => Promise<boolean>;
  /** Asks a coordinator for its whole state and merges it. False: no answer. */
  readonly takePages: () => Promise<boolean>;
  /** This replica's state. */
  readonly state: Pick<MeshState, "get" | "records">;
  readonly heal: (record: MeshRecord) => void;
  readonly onMark: (stream: string, seq: number) => void;
  readonly onAlarm: (name: "sequence_reused" | "repair_failed", detail: string) => void;
};

/** How deep a repair goes. What a deeper one finds includes what those before it would. */
type Depth = "tail" | "differences" | "full" | "pages";
const DEPTHS: readonly Depth[] = ["tail", "differences", "full", "pages"];

export class Repair {
  readonly #deps: RepairDeps;
  readonly #marks = new Map<string, number>();
  /** Messages by stream that were merged and lie beyond its mark. */
  readonly #unplaced = new Map<string, number>();
  #wanted: Depth | undefined;
  #running: Promise<void> | undefined;
  /** Reads the stream's end beside whatever runs: one that does not answer must keep nobody from asking. */
  #glancing: Promise<void> | undefined;
  #differing = 0;
  /** By the last digest. */
  #isLacking = false;
  readonly #backoff: Backoff;
  #hasConnected = false;
  /** Ends the wait for the first digest since this node came back. */
  #cancelWait: Cancel | undefined;
  #isClosed = false;

  constructor(deps: RepairDeps) {
    this.#deps = deps;
    this.#backoff = new Backoff(deps.clock, { minMs: BACKOFF_MS_MIN, maxMs: BACKOFF_MS_MAX });
  }

  mark(stream: string): number {
    return this.#marks.get(stream) ?? 0;
  }

  /** At the start: how far the store says each stream was read. */
  restoreMark(stream: string, seq: number): void {
    this.#marks.set(stream, seq);
  }

  /**
   * A live message was merged.
   *
   * @param seq Undefined: a kill on the fast path, which has a sequence that nobody said.
   * @param isNew It changed the state.
   */
  noteLive(stream: string, seq: number | undefined, isNew: boolean): void {
    const mark = this.mark(stream);
    const unplaced = this.#unplaced.get(stream) ?? 0;
    if (seq === mark + 1) this.#setMark(stream, seq);
    else if (seq === undefined || (seq > mark && seq - mark - 1 <= unplaced)) {
      this.#unplaced.set(stream, unplaced + 1);
    } else if (seq > mark) this.want("tail");
    else if (isNew) {
      this.#deps.onAlarm("sequence_reused", `${stream} ${seq} after ${mark}`);
      this.want("full");
    }
  }

  /** There is a connection. @param isAnswered Whether what a coordinator answers can be checked. */
  connected(isAnswered: boolean): void {
    const isBack = this.#hasConnected;
    this.#hasConnected = true;
    if (!isAnswered) this.want("full");
    else if (isBack) this.#awaitDigest();
    else this.want("differences");
  }

  /** A digest had our hash: nothing is missing up to its sequence. */
  noteEqual(lastSeq: number, entitles: boolean): void {
    // A coordinator that has lost the others may lack what this node lacks, and what others say meanwhile still stands.
    if (entitles) {
      this.#hasWaited();
      this.#differing = 0;
      this.#isLacking = false;
    }
    this.#unplaced.clear();
    if (lastSeq > this.mark(CONTROL_STREAM)) this.#setMark(CONTROL_STREAM, lastSeq);
  }

  /** A digest had another hash. The longer that goes on, the deeper the repair. */
  noteDiffering(): void {
    this.#isLacking = true;
    if (this.#hasWaited()) {
      this.want("differences");
      return;
    }
    if (this.#running) return;
    this.#differing += 1;
    const step = ((this.#differing - 1) % ESCALATION_PERIOD) + 1;
    if (step === DIFFERENCES_AFTER) this.want("differences");
    else if (step === FULL_AFTER) this.want("full");
    else if (step === PAGES_AFTER) this.want("pages");
    else this.want("tail");
  }

  /** Repairs now, or once more after the repair that runs. */
  want(depth: Depth): void {
    if (this.#isClosed) return;
    const wanted = this.#wanted;
    if (!wanted || DEPTHS.indexOf(depth) > DEPTHS.indexOf(wanted)) this.#wanted = depth;
    this.#running ??= this.#run();
  }

  get isRunning(): boolean {
    return this.#running !== undefined;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#hasWaited();
    this.#backoff.close();
    await Promise.all([this.#running, this.#glancing]);
  }

  /** G7. */
  #awaitDigest(): void {
    const { clock } = this.#deps;
    this.#hasWaited();
    this.#cancelWait = clock.after(DIGEST_DUE_MS, () => {
      this.#glancing ??= this.#glance();
      this.#cancelWait = clock.after(DIGEST_WAIT_MS - DIGEST_DUE_MS, () => {
        this.#cancelWait = undefined;
        this.want("differences");
      });
    });
  }

  /** G8. What comes of a failure is left to whoever asks next. */
  async #glance(): Promise<void> {
    try {
      await this.#readTail();
    } catch (error) {
      if (!(error instanceof BusFault)) throw error;
    } finally {
      this.#glancing = undefined;
    }
  }

  /** Waits for no digest any more. False: it did not. */
  #hasWaited(): boolean {
    const cancel = this.#cancelWait;
    this.#cancelWait = undefined;
    cancel?.();
    return cancel !== undefined;
  }

  async #run(): Promise<void> {
    while (this.#wanted && !this.#isClosed) {
      const depth = this.#wanted;
      this.#wanted = undefined;
      try {
        await this.#repair(depth);
        this.#backoff.reset();
      } catch (error) {
        if (!(error instanceof BusFault)) throw error;
        if (this.#isClosed) break;
        this.#deps.onAlarm("repair_failed", error.message);
        if (depth !== "differences" && this.#isLacking) await this.#deps.takeDifferences();
        await this.#backoff.pause();
        // Not lost, unless something deeper was asked for meanwhile; a later `up` or digest asks too.
        if (this.#deps.bus.isUp()) this.want(depth);
      }
    }
    this.#running = undefined;
  }

  async #repair(depth: Depth): Promise<void> {
    if (depth === "tail") await this.#readTail();
    else if (depth === "differences") await this.#takeDifferences();
    else await this.#readAll(depth);
  }

  /** G6. */
  async #takeDifferences(): Promise<void> {
    const { clock, takeDifferences } = this.#deps;
    const asked = takeDifferences();
    const late = Promise.withResolvers<false>();
    const cancel = clock.after(ANSWER_WAIT_MS, () => late.resolve(false));
    const isTold = await Promise.race([asked, late.promise]).finally(cancel);
    if (!isTold) await this.#readTail().finally(() => asked);
  }

  async #readTail(): Promise<void> {
    for (const stream of this.#deps.streams) {
      await this.#readFrom(stream, this.mark(stream) + 1, (record) => this.#compare(record));
    }
  }

  async #readAll(depth: Depth): Promise<void> {
    const { streams, takePages } = this.#deps;
    const inStream = new Map<string, string>();
    for (const stream of streams) {
      this.#marks.set(stream, 0);
      this.#deps.onMark(stream, 0);
      await this.#readFrom(stream, 1, (record) => inStream.set(record.scope, record.hashHex));
    }
    if (depth === "pages") await takePages();
    await this.#offerWhatIsMissing(inStream);
  }

  /** Reads the stream to its end. The mark may move meanwhile, so the place is kept here. */
  async #readFrom(
    stream: string,
    fromSeq: number,
    seen: (record: MeshRecord) => void,
  ): Promise<void> {
    let next = fromSeq;
    while (!this.#isClosed) {
      const messages = await this.#deps.bus.read(stream, next, READ_COUNT);
      if (messages.length === 0) {
        this.#unplaced.delete(stream);
        return;
      }
      let sliceStartNs = this.#deps.clock.monoNs();
      for (const message of messages) {
        const record = this.#deps.take(message);
        if (record) seen(record);
        const seq = message.seq ?? next;
        this.#setMark(stream, seq);
        next = seq + 1;
        if (this.#deps.clock.monoNs() - sliceStartNs < SLICE_NS) continue;
        await this.#deps.nextTurn();
        sliceStartNs = this.#deps.clock.monoNs();
      }
    }
  }

  /** The stream's last record of a scope is not ours: ours is newer, or the stream's was refused. */
  #compare(inStream: MeshRecord): void {
    const own = this.#deps.state.get(inStream.scope);
    if (own && own.hashHex !== inStream.hashHex) this.#deps.heal(own);
  }

  async #offerWhatIsMissing(inStream: ReadonlyMap<string, string>): Promise<void> {
    let offered = 0;
    for (const record of [...this.#deps.state.records()]) {
      if (inStream.get(record.scope) === record.hashHex) continue;
      this.#deps.heal(record);
      offered += 1;
      if (offered >= HEAL_MAX) return;
      if (offered % 16 === 0) await this.#deps.nextTurn();
    }
  }

  #setMark(stream: string, seq: number): void {
    if (seq <= this.mark(stream)) return;
    this.#marks.set(stream, seq);
    this.#deps.onMark(stream, seq);
  }
}
