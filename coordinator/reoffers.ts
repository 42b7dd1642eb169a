import type { MeshRecord } from "../mesh/record.ts";
import type { MeshState } from "../mesh/state.ts";
import { type Bus, BusFault, type BusMessage } from "../ports/bus.ts";
import type { Clock } from "../ports/clock.ts";
import { backoffMs, pause } from "../ports/pause.ts";
import { controlSubject } from "../proto/subjects.ts";
import { streamOfScope } from "./commit-command.ts";
import type { Tell } from "./events.ts";
import type { StreamView } from "./stream-view.ts";

export type ReoffersOptions = {
  readonly bus: Bus;
  readonly clock: Clock;
  readonly tell: Tell;
  readonly state: Pick<MeshState, "get">;
  readonly stream: StreamView;
  /** Whether whoever has never seen the record would take it. */
  readonly counts: (record: MeshRecord) => boolean;
  /** Takes in what the leader holds for a subject; `undefined` for what is no record. */
  readonly adopt: (message: BusMessage) => MeshRecord | undefined;
  readonly noteStored: (record: MeshRecord, seq: number) => void;
  readonly signal: AbortSignal;
};

const RETRY_MS = { min: 100, max: 2_000 };

/** Writes again what the stream does not have. */
export class Reoffers {
  readonly #options: ReoffersOptions;
  readonly #running = new Set<string>();

  constructor(options: ReoffersOptions) {
    this.#options = options;
  }

  /**
   * Makes the stream hold the scope's current record, unless it holds a greater one, or nobody else would
   * take it. Does nothing while another call does the same for that scope. Never rejects.
   */
  async offer(scope: string): Promise<void> {
    if (this.#running.has(scope)) return;
    this.#running.add(scope);
    const { signal, clock, state } = this.#options;
    try {
      for (let attempt = 0; !signal.aborted; attempt += 1) {
        try {
          const settled = await this.#offerOnce(scope);
          // Whoever offered a newer record meanwhile was sent away, since this call was under way.
          if (settled !== "conflict" && settled === state.get(scope)) return;
        } catch (error) {
          if (!(error instanceof BusFault)) throw error;
          await pause(clock, backoffMs(attempt, RETRY_MS), signal);
        }
      }
    } finally {
      this.#running.delete(scope);
    }
  }

  /** Returns the record for which nothing is left to do; `conflict` when another writer was faster. */
  async #offerOnce(scope: string): Promise<MeshRecord | undefined | "conflict"> {
    const { bus, tell, state, stream, counts, adopt, noteStored } = this.#options;
    const record = state.get(scope);
    if (!record || !counts(record)) return record;
    const subject = controlSubject(record.parsed);
    const last = await bus.last(streamOfScope(scope), subject);
    const found = last && adopt(last);
    // What is remembered of the stream may no longer be there; only what was just read counts.
    if (!last) stream.forget(scope);
    else if (!found) stream.noteSeq(scope, last.seq as number);
    const current = state.get(scope) as MeshRecord;
    if (found?.hashHex === current.hashHex || !counts(current)) return current;
    const expectSeq = last?.seq ?? 0;
    const msgId = `heal-${current.hashHex.slice(0, 32)}-${expectSeq}`;
    const outcome = await bus.append(subject, current.bytes, { msgId, expectSeq });
    if (outcome === "conflict") return outcome;
    noteStored(current, outcome.seq);
    tell("record_reoffered", { scope, v: current.v, seq: outcome.seq });
    return current;
  }
}
