// Which of several coordinators leads the ledger.
//
// L1. Safety never rests on this: two that both believe they lead still write one chain (J1). This
//     only sees to it that one tries.
// L2. The leader says again that it leads every third of `ttlMs`. Another claims once it has seen the
//     same word for `ttlMs` on its own clock, with no look in between that failed.
// L3. Each word is a compare-and-set on the one before, so of two that claim one wins.
// L4. A word that no coordinator in force has sealed is nobody's.

import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { openSealed, seal } from "../mesh/sealed.ts";
import { coordinatorKey } from "../mesh/trust.ts";
import { type Bus, BusFault } from "../ports/bus.ts";
import { type Clock, monoMs } from "../ports/clock.ts";
import { pause } from "../ports/pause.ts";
import { type Random, uuidV7 } from "../ports/random.ts";
import { type LeaderClaim, LeaderClaimSchema } from "../proto/gen/altrace/v1/journal_pb.ts";
import { LEADER_STREAM, LEADER_SUBJECT } from "../proto/subjects.ts";
import type { JournalTrust } from "./journal-record.ts";

export type LeaderElectionOptions = JournalTrust & {
  readonly bus: Bus;
  readonly clock: Clock;
  readonly random: Random;
  readonly replicaId: string;
  readonly bootId: string;
  /** The run before this one in the same HOME: it has ended. */
  readonly bootIdBefore?: string;
  /** How long a leader that says nothing stays leader, ms. */
  readonly ttlMs: number;
  /** Whether this coordinator could lead now. */
  readonly isFit: () => boolean;
  /** Runs between looks while another leads. */
  readonly onFollow: () => Promise<void>;
  /** Begins to lead; false: it cannot, and another may. */
  readonly onLead: () => Promise<boolean>;
  /** Ends it. */
  readonly onLeave: () => Promise<void>;
};

type Word = { readonly seq: number; readonly claim: LeaderClaim | undefined };

/** How often one that has just started looks whether it may lead now. */
const FIT_LOOK_MS = 100;
/** Words of one that begins to lead, after which others may claim: it takes ten times as long as they wait. */
const BEGIN_WORDS_MAX = 30;
const NOBODY: Word = { seq: 0, claim: undefined };

export class LeaderElection {
  readonly #options: LeaderElectionOptions;
  readonly #stopping = new AbortController();
  #running: Promise<void> = Promise.resolve();
  /** The last word, and since when nothing newer was seen. */
  #seen: { readonly word: Word; readonly sinceMs: number } | undefined;
  /** Sequence of our own last word while we lead. */
  #ledSeq: number | undefined;
  #mustLeave = false;

  constructor(options: LeaderElectionOptions) {
    this.#options = options;
  }

  /** Whose turn it is as far as is known here. */
  get leader(): string | undefined {
    if (this.#ledSeq !== undefined) return this.#options.replicaId;
    const claim = this.#seen?.word.claim;
    return claim === undefined || claim.released ? undefined : claim.replica;
  }

  start(): void {
    this.#running = this.#run();
  }

  /** The chain has gone on without us: somebody else leads. */
  leave(): void {
    this.#mustLeave = true;
  }

  /** Stops, and lets others claim at once if this one led. Never rejects. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
    if (this.#ledSeq === undefined) return;
    await this.#options.onLeave();
    await this.#say({ seq: this.#ledSeq, released: true }).catch(() => undefined);
    this.#ledSeq = undefined;
  }

  async #run(): Promise<void> {
    const { clock, ttlMs, isFit } = this.#options;
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      if (this.#ledSeq === undefined) await this.#follow();
      else await this.#goOn();
      await pause(clock, isFit() ? ttlMs / 3 : FIT_LOOK_MS, signal);
    }
  }

  async #follow(): Promise<void> {
    const { isFit, onFollow, clock, ttlMs } = this.#options;
    if (!isFit()) return;
    await onFollow();
    const word = await this.#look();
    if (word === undefined) {
      this.#seen = undefined;
      return;
    }
    const nowMs = monoMs(clock);
    if (this.#seen?.word.seq !== word.seq) this.#seen = { word, sinceMs: nowMs };
    const { claim } = word;
    const isFree = claim === undefined || claim.released || isOwn(claim, this.#options);
    if (isFree || nowMs - this.#seen.sinceMs >= ttlMs) await this.#claim(word);
  }

  async #claim({ seq }: Word): Promise<void> {
    try {
      const said = await this.#say({ seq, released: false });
      if (said === "conflict") return;
      this.#mustLeave = false;
      const { isLed, last } = await this.#begin(said);
      if (isLed) this.#ledSeq = last;
      else await this.#say({ seq: last, released: true });
    } catch (error) {
      if (!(error instanceof BusFault)) throw error;
    }
  }

  /** Says on that it leads while it begins to: a large ledger takes longer than others wait for a word. */
  async #begin(said: number): Promise<{ readonly isLed: boolean; readonly last: number }> {
    const { clock, ttlMs, onLead } = this.#options;
    const begun = new AbortController();
    const leading = onLead().finally(() => begun.abort());
    leading.catch(() => undefined);
    let last = said;
    for (let times = 0; times < BEGIN_WORDS_MAX; times += 1) {
      await pause(clock, ttlMs / 3, begun.signal);
      const next = begun.signal.aborted ? "another" : await this.#sayOn(last);
      if (next === "another") break;
      last = next;
    }
    return { isLed: await leading, last };
  }

  /** L1: a stream that does not answer is no reason to leave; another's word, or link, is. */
  async #goOn(): Promise<void> {
    const seq = this.#mustLeave ? "another" : await this.#sayOn(this.#ledSeq as number);
    if (seq !== "another") {
      this.#ledSeq = seq;
      return;
    }
    this.#ledSeq = undefined;
    this.#mustLeave = false;
    await this.#options.onLeave();
  }

  /** Says again that it leads. Returns the sequence of the last word that is known, or that it is another's. */
  async #sayOn(seq: number): Promise<number | "another"> {
    try {
      const said = await this.#say({ seq, released: false });
      if (said !== "conflict") return said;
      // Our own word whose answer was lost, or another's.
      const word = await this.#look();
      if (word === undefined) return seq;
      return word.claim && isOwn(word.claim, this.#options) ? word.seq : "another";
    } catch (error) {
      if (!(error instanceof BusFault)) throw error;
      return seq;
    }
  }

  /** Undefined: the stream did not answer. */
  async #look(): Promise<Word | undefined> {
    try {
      const last = await this.#options.bus.last(LEADER_STREAM, LEADER_SUBJECT);
      if (last?.seq === undefined) return NOBODY;
      return { seq: last.seq, claim: openClaim(last.bytes, this.#options) };
    } catch (error) {
      if (!(error instanceof BusFault)) throw error;
      return undefined;
    }
  }

  async #say(of: {
    readonly seq: number;
    readonly released: boolean;
  }): Promise<number | "conflict"> {
    const { bus, signer, mesh, replicaId, bootId, ttlMs, clock, random } = this.#options;
    const claim = create(LeaderClaimSchema, {
      mesh,
      replica: replicaId,
      bootId,
      ttlMs: BigInt(ttlMs),
      released: of.released,
    });
    const bytes = seal("leader", toBinary(LeaderClaimSchema, claim), signer);
    const msgId = `leader-${uuidV7(clock.nowMs(), random)}`;
    const outcome = await bus.append(LEADER_SUBJECT, bytes, { msgId, expectSeq: of.seq });
    return outcome === "conflict" ? outcome : outcome.seq;
  }
}

function openClaim(bytes: Uint8Array, trust: JournalTrust): LeaderClaim | undefined {
  const opened = openSealed(
    "leader",
    bytes,
    coordinatorKey(trust.trust, trust.clock.nowMs()),
    trust.verify,
  );
  if (!opened) return undefined;
  try {
    const claim = fromBinary(LeaderClaimSchema, opened.payload);
    return claim.mesh === trust.mesh && !claim.$unknown ? claim : undefined;
  } catch {
    return undefined;
  }
}

/** Ours: of this run, its answer lost; or of the run before, which is over. */
function isOwn({ replica, bootId }: LeaderClaim, of: LeaderElectionOptions): boolean {
  return replica === of.replicaId && (bootId === of.bootId || bootId === of.bootIdBefore);
}
