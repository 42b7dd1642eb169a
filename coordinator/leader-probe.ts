import { type Bus, BusFault } from "../ports/bus.ts";
import { type Clock, monoMs } from "../ports/clock.ts";
import { CONTROL_STREAM, controlSubject, REVOCATION_STREAM } from "../proto/subjects.ts";
import type { Tell } from "./events.ts";
import type { Replica } from "./replica.ts";

export type LeaderProbeOptions = {
  readonly bus: Bus;
  readonly clock: Clock;
  readonly replica: Replica;
  readonly tell: Tell;
};

/** What is said while no answer ever came: larger than any dead-man time. */
const NEVER_MS = Number.MAX_SAFE_INTEGER;

/** Keeps proof that the control stream has a leader and that this replica hears it. */
export class LeaderProbe {
  readonly #options: LeaderProbeOptions;
  #heardMs: number | undefined;
  #isAsking = false;

  constructor(options: LeaderProbeOptions) {
    this.#options = options;
  }

  /** Whether the leader has ever answered. */
  get isHeard(): boolean {
    return this.#heardMs !== undefined;
  }

  /** Milliseconds since the leader is known to have answered. */
  quorumAgeMs(): number {
    if (this.#heardMs === undefined) return NEVER_MS;
    return Math.ceil(monoMs(this.#options.clock) - this.#heardMs);
  }

  /**
   * Asks the leader for its newest message: proof that it answers, and a look at whether the stream's
   * end is still what was merged, or has gone on without our hearing. One question at a time: one that
   * hangs must not let others pile up.
   */
  async ask(): Promise<void> {
    if (this.#isAsking) return;
    this.#isAsking = true;
    const { bus, clock, replica, tell } = this.#options;
    const askedMs = monoMs(clock);
    try {
      const newest = replica.stream.newest();
      const subject = controlSubject(newest?.record.parsed ?? { kind: "trust" });
      const last = await bus.last(CONTROL_STREAM, subject);
      // Counted from the question: the leader may have answered at any moment since.
      this.#heardMs = askedMs;
      if (newest && (last?.seq ?? 0) < newest.seq) {
        tell("stream_rolled_back", { seq: newest.seq, found: last?.seq ?? 0 });
        replica.repair({ fromStart: true });
      } else if (await this.#hasMissed()) replica.repair();
    } catch (error) {
      if (!(error instanceof BusFault)) throw error;
    } finally {
      this.#isAsking = false;
    }
  }

  /**
   * Whether another coordinator has committed what the subscription did not bring: a server drops
   * messages for whoever is slow. Until it is merged no digest of ours opens anybody. One that knows of
   * no other asks too: the bundle that lists others may be what it has missed.
   */
  async #hasMissed(): Promise<boolean> {
    const { bus, replica } = this.#options;
    const unread = await Promise.all([
      bus.read(CONTROL_STREAM, replica.lastSeq + 1, 1),
      bus.read(REVOCATION_STREAM, replica.stream.revokedSeq + 1, 1),
    ]);
    return unread.some(({ length }) => length > 0);
  }
}
