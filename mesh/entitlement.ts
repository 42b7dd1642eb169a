import type { Beat } from "../proto/gen/altrace/v1/mesh_pb.ts";

// The dead-man switch: how long a node may stay open on the digests it has heard.
//
// E1. Only a digest that entitles moves `openUntilNs`, and never back.
// E2. It moves to T after the moment the digest was issued, however late it came. So a digest that
//     was held back, or is played again, opens a node no longer than one that came at once.
// E3. The age of a digest is never taken for less than it is, while both clocks keep within
//     DRIFT_PPM of each other. It rests on monotonic clocks alone: no jump of a wall clock counts.
// E4. A replica whose clock has not been compared in this boot of it entitles to nothing.

/** Two clocks may part at this rate: crystals differ by 100, NTP slews by up to 500. */
export const DRIFT_PPM = 1000n;
/** How often a node compares clocks with each replica, so that drift adds little to an age. */
export const EXCHANGE_EVERY_MS = 60_000;
/** Replicas that are followed; there are never more than three. */
export const REPLICAS_MAX = 16;

/** Why a digest does not entitle. */
export const NOT_ENTITLED = [
  /** A field is out of bounds, or the sender is one too many. */
  "digest_malformed",
  /** Its (epoch, n) is not above all that this replica sent. */
  "digest_replayed",
  /** The replica's clock was not compared with ours since it started. */
  "clock_unknown",
  /** It was issued later than now, so the clocks cannot be as they were when they were compared. */
  "clock_inconsistent",
  /** Older than T/2. */
  "digest_old",
  /** The replica has not heard the stream's leader or a majority within T. */
  "quorum_lost",
  /** Its state is not ours. */
  "state_differs",
] as const;
export type NotEntitled = (typeof NOT_ENTITLED)[number];

export type Judgement =
  | {
      readonly entitles: true;
      /** Monotonic clock of this machine, nanoseconds: issue of the digest, plus T. */
      readonly openUntilNs: bigint;
      readonly ageMs: number;
    }
  | { readonly entitles: false; readonly because: NotEntitled };

/** One question to a replica for its clock, and the answer. */
export type ClockExchange = {
  readonly replica: string;
  readonly bootId: string;
  /** Our monotonic clock just before the question was sent, nanoseconds. */
  readonly sentNs: bigint;
  /** The replica's monotonic clock when it answered, whole milliseconds. */
  readonly monoMs: bigint;
};

type Offset = {
  readonly bootId: string;
  /** At most what our clock is ahead of the replica's; may be negative. */
  readonly atLeastNs: bigint;
  readonly atNs: bigint;
};

type Replica = {
  offset: Offset | undefined;
  /** Newest digest, whatever it was good for. */
  newest: { readonly beat: Beat; readonly receivedNs: bigint } | undefined;
};

const refuse = (because: NotEntitled): Judgement => ({ entitles: false, because });

/** The switch of one node. Starts closed. Signatures are checked before a digest gets here. */
export class DeadMan {
  readonly #deadManNs: bigint;
  readonly #replicas = new Map<string, Replica>();
  #openUntilNs = 0n;

  /** @param deadManMs T: without an entitling digest for so long, the node is closed. */
  constructor(options: { readonly deadManMs: number }) {
    if (!(options.deadManMs > 0)) throw new RangeError(`deadManMs is ${options.deadManMs}`);
    this.#deadManNs = BigInt(Math.round(options.deadManMs * 1e6));
  }

  /** Up to when the node is open, on this machine's monotonic clock; 0 before the first digest. */
  get openUntilNs(): bigint {
    return this.#openUntilNs;
  }

  isOpen(nowNs: bigint): boolean {
    return nowNs < this.#openUntilNs;
  }

  /** Time since the digest was issued that keeps the node open; `undefined` before the first. */
  digestAgeMs(nowNs: bigint): number | undefined {
    if (this.#openUntilNs === 0n) return undefined;
    return Number(nowNs - (this.#openUntilNs - this.#deadManNs)) / 1e6;
  }

  /**
   * Takes in a comparison of clocks. The caller has checked signature and nonce of the answer.
   *
   * The replica answered no earlier than we asked, so our clock is ahead of its clock by at least
   * the difference of the two readings. Of several such bounds the highest is kept.
   */
  noteExchange({ replica, bootId, sentNs, monoMs }: ClockExchange): void {
    const known = this.#replica(replica);
    if (!known) return;
    // Its reading was cut to whole milliseconds: it may have been almost one higher.
    const atLeastNs = sentNs - (monoMs + 1n) * 1_000_000n;
    const before = known.offset;
    if (before?.bootId === bootId && driftedNs(before, sentNs) > atLeastNs) return;
    known.offset = { bootId, atLeastNs, atNs: sentNs };
  }

  /** Replicas whose digests have come. */
  replicas(): readonly string[] {
    return [...this.#replicas]
      .filter(([, { newest }]) => newest !== undefined)
      .map(([name]) => name);
  }

  /** Whether to compare clocks with this replica: not done in this boot of it, or long ago. */
  exchangeDue(replica: string, bootId: string, nowNs: bigint): boolean {
    const offset = this.#replicas.get(replica)?.offset;
    if (offset?.bootId !== bootId) return true;
    return nowNs - offset.atNs >= BigInt(EXCHANGE_EVERY_MS) * 1_000_000n;
  }

  /**
   * Judges a digest that has just come, and opens the node if it entitles.
   *
   * @param receivedNs Our monotonic clock when the bytes came.
   * @param ownStateHash Hash of our state after everything that came before was merged, 32 bytes.
   */
  judge(
    beat: Beat,
    now: { readonly receivedNs: bigint; readonly ownStateHash: Uint8Array },
  ): Judgement {
    const replica = isWellFormed(beat) ? this.#replica(beat.from) : undefined;
    if (!replica) return refuse("digest_malformed");
    if (replica.newest && !isNewer(beat, replica.newest.beat)) return refuse("digest_replayed");
    replica.newest = { beat, receivedNs: now.receivedNs };
    return this.#weigh(replica, beat, now.receivedNs, now.ownStateHash);
  }

  /**
   * Judges each replica's newest digest once more, after our state or a clock's offset changed.
   *
   * By E2 that is as safe as the first time, and a node that has just repaired its state need not
   * wait for the next digest.
   *
   * @returns The first judgement that entitles, else the last that does not; `undefined` when no
   *   digest has come yet.
   */
  judgeAgain(now: {
    readonly nowNs: bigint;
    readonly ownStateHash: Uint8Array;
  }): Judgement | undefined {
    let last: Judgement | undefined;
    for (const replica of this.#replicas.values()) {
      if (!replica.newest) continue;
      last = this.#weigh(replica, replica.newest.beat, now.nowNs, now.ownStateHash);
      if (last.entitles) return last;
    }
    return last;
  }

  #weigh(replica: Replica, beat: Beat, nowNs: bigint, ownStateHash: Uint8Array): Judgement {
    const { offset } = replica;
    if (offset?.bootId !== beat.bootId) return refuse("clock_unknown");
    const issuedNs = beat.monoMs * 1_000_000n + driftedNs(offset, nowNs);
    const ageNs = nowNs - issuedNs;
    if (ageNs < 0n) {
      // Our clock stood still while the machine slept, or theirs was moved: what we knew is void.
      replica.offset = undefined;
      return refuse("clock_inconsistent");
    }
    if (ageNs > this.#deadManNs / 2n) return refuse("digest_old");
    if (beat.quorumAgeMs * 1_000_000n > this.#deadManNs) return refuse("quorum_lost");
    if (Buffer.compare(beat.stateHash, ownStateHash) !== 0) return refuse("state_differs");
    const openUntilNs = issuedNs + this.#deadManNs;
    if (openUntilNs > this.#openUntilNs) this.#openUntilNs = openUntilNs;
    return { entitles: true, openUntilNs, ageMs: Number(ageNs) / 1e6 };
  }

  #replica(name: string): Replica | undefined {
    const known = this.#replicas.get(name);
    if (known || this.#replicas.size >= REPLICAS_MAX) return known;
    const added: Replica = { offset: undefined, newest: undefined };
    this.#replicas.set(name, added);
    return added;
  }
}

/** What is left of an offset's bound after drift had its time. */
function driftedNs(offset: Offset, nowNs: bigint): bigint {
  const passedNs = nowNs - offset.atNs;
  return offset.atLeastNs - (passedNs * DRIFT_PPM) / 1_000_000n;
}

function isNewer(beat: Beat, than: Beat): boolean {
  return beat.epoch > than.epoch || (beat.epoch === than.epoch && beat.n > than.n);
}

function isWellFormed(beat: Beat): boolean {
  return beat.from !== "" && beat.bootId !== "" && beat.stateHash.length === 32;
}
