// This mesh's logs, brought to witnesses outside of it.
//
// W1. Nothing waits for a witness: logs grow, are copied and are cosigned by the coordinator as if there were none.
// W2. Each witness has its own lane. One that is slow, refuses, or lies is told, and delays no other.
// W3. What a witness says of a log is kept only if it has signed it; and it is evidence against the log only if the log
//     has signed it too. That it says so is told in any case.

import type { CallWitness } from "../../ports/call-witness.ts";
import type { Cancel, Clock } from "../../ports/clock.ts";
import { monoMs } from "../../ports/clock.ts";
import { BroughtLog, type BroughtLogOptions } from "./brought-log.ts";
import { isBrought, type OutsidePolicy } from "./outside-file.ts";
import { type LaneTold, type LogStanding, type Outcome, WitnessLane } from "./witness-lane.ts";

/** How often it is looked for what is due. */
const TURN_MS = 1_000;
/** How often the standing of all is told. */
export const STATUS_EVERY_MS = 5_000;

/** How it stands with the witnesses outside. */
export type OutsideStatus = {
  /** How long the log that waits longest for its quorum waits, ms; 0: none does. */
  readonly unwitnessedMs: number;
  readonly witnesses: readonly {
    readonly name: string;
    readonly logs: Readonly<Record<LogStanding, number>>;
    /** How long the log that waits longest for this witness waits, ms; 0: none does. */
    readonly waitingMs: number;
    /** Answers since the last status. */
    readonly answers: Readonly<Partial<Record<Outcome, number>>>;
  }[];
};

/** Something to be told: names are of `coordinator/events.ts`. */
export type OutsideNews =
  | { readonly event: "outside_file_taken"; readonly fields: { readonly witnesses: string } }
  | { readonly event: "outside_file_refused"; readonly fields: { readonly detail: string } }
  | {
      readonly event: "outside_witness_silent" | "outside_witness_answers";
      readonly fields: { readonly witness: string; readonly detail?: string };
    }
  | {
      readonly event:
        | "outside_witness_refused"
        | "outside_witness_ahead"
        | "outside_witness_disputes"
        | "outside_witness_fault";
      readonly fields: {
        readonly witness: string;
        readonly origin: string;
        readonly detail: string;
      };
    };

/** A log that a witness contradicts. */
export type OutsideEvidence = {
  readonly origin: string;
  readonly kind: "fork" | "rollback" | "disputed";
  readonly witness: string;
  /** What the witness shows, verbatim; empty: nothing. */
  readonly cosigned: string;
  /** What it was asked to cosign. */
  readonly offered: string;
};

export type OutsideWitnessesOptions = {
  readonly outside: OutsidePolicy;
  /** Time between two checkpoints of one log that are brought, ms. */
  readonly everyMs: number;
  readonly call: CallWitness;
  readonly clock: Clock;
  readonly onNews: (news: OutsideNews) => void;
  readonly onEvidence: (evidence: OutsideEvidence) => void;
  readonly onStatus: (status: OutsideStatus) => void;
};

const EVENT_OF = {
  unknown: "outside_witness_refused",
  refused: "outside_witness_refused",
  ahead: "outside_witness_ahead",
  disputed: "outside_witness_disputes",
} as const;

export class OutsideWitnesses {
  readonly #options: OutsideWitnessesOptions;
  readonly #lanes: readonly WitnessLane[];
  readonly #answers = new Map<WitnessLane, Partial<Record<Outcome, number>>>();
  readonly #logs = new Map<string, BroughtLog>();
  #cancel: Cancel = () => undefined;
  #statusMs = Number.NEGATIVE_INFINITY;

  constructor(options: OutsideWitnessesOptions) {
    const { outside, call, clock } = options;
    this.#options = options;
    this.#lanes = outside.places.map((place): WitnessLane => {
      return new WitnessLane(
        place,
        call,
        clock,
        this.#toldBy(place.name, () => this.#lane(place)),
      );
    });
  }

  /**
   * A log is here, as it lies on the disk. Again: nothing new.
   *
   * @throws What the disk reports.
   */
  take(of: Omit<BroughtLogOptions, "policy">): void {
    const { policy } = this.#options.outside;
    if (this.#logs.has(of.key.name) || !isBrought(policy, of.key.name)) return;
    const log = new BroughtLog({ ...of, policy });
    this.#logs.set(of.key.name, log);
    // What it took up may be without one who is a witness by now, and nothing newer may come.
    if (log.candidate !== undefined) for (const lane of this.#lanes) lane.want(log);
  }

  /** A log is not brought to anybody any more. */
  forget(origin: string): void {
    this.#logs.delete(origin);
    for (const lane of this.#lanes) lane.forget(origin);
  }

  /** A log has a newer checkpoint; one that was not taken is left out. */
  offer(origin: string, note: string): void {
    this.#logs.get(origin)?.offer(note);
  }

  /** Whether a log was taken. */
  has(origin: string): boolean {
    return this.#logs.has(origin);
  }

  start(): void {
    this.#turn();
    this.#cancel = this.#options.clock.after(TURN_MS, () => this.start());
  }

  stop(): void {
    this.#cancel();
    for (const lane of this.#lanes) lane.stop();
  }

  #turn(): void {
    const { clock, everyMs, onStatus } = this.#options;
    const nowMs = monoMs(clock);
    for (const log of this.#logs.values()) {
      if (log.refresh(nowMs, everyMs)) for (const lane of this.#lanes) lane.want(log);
    }
    for (const lane of this.#lanes) lane.pump();
    if (nowMs - this.#statusMs < STATUS_EVERY_MS) return;
    this.#statusMs = nowMs;
    onStatus(this.#status(nowMs));
  }

  #status(nowMs: number): OutsideStatus {
    let unwitnessedMs = 0;
    for (const { unwitnessedMs: sinceMs = nowMs } of this.#logs.values()) {
      unwitnessedMs = Math.max(unwitnessedMs, nowMs - sinceMs);
    }
    const witnesses = this.#lanes.map((lane) => {
      const answers = this.#answers.get(lane) ?? {};
      this.#answers.delete(lane);
      return { name: lane.place.name, ...lane.status(), answers };
    });
    return { unwitnessedMs, witnesses };
  }

  #lane(of: WitnessLane["place"]): WitnessLane {
    return this.#lanes.find(({ place }) => place === of) as WitnessLane;
  }

  #toldBy(witness: string, lane: () => WitnessLane): LaneTold {
    const { onNews, onEvidence } = this.#options;
    return {
      answered: (outcome) => {
        const answers = this.#answers.get(lane()) ?? {};
        answers[outcome] = (answers[outcome] ?? 0) + 1;
        this.#answers.set(lane(), answers);
      },
      silent: (detail) => onNews({ event: "outside_witness_silent", fields: { witness, detail } }),
      answersAgain: () => onNews({ event: "outside_witness_answers", fields: { witness } }),
      unwell: (origin, standing, detail) => {
        if (standing === "waiting" || standing === "cosigned") return;
        onNews({ event: EVENT_OF[standing], fields: { witness, origin, detail } });
      },
      fault: (origin, detail) =>
        onNews({ event: "outside_witness_fault", fields: { witness, origin, detail } }),
      evidence: ({ origin, contradiction, theirs, offered }) => {
        const kind = contradiction === "none" ? "disputed" : contradiction;
        onEvidence({ origin, kind, witness, cosigned: theirs, offered });
      },
    };
  }
}
