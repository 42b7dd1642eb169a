import type { Clock } from "../ports/clock.ts";
import type { Cost } from "./decision/facts.ts";
import { type Link, OpenList } from "./open-list.ts";

// Money that is held for requests under way, by the requests that hold it.
//
// O1. A hold is listed from the moment in which it may be spent until it is settled.
// O2. A hold is settled once: by its request, or by the sweep where its request did not end in time.

/** One request's hold, as operators see it. */
export type HoldInfo = {
  readonly requestId: string;
  readonly agentId: string;
  /** `provider/model`. */
  readonly model: string;
  readonly amount: Cost;
  readonly overrunMicros: bigint;
  readonly ageMs: number;
  /** Until the sweep would settle it; not negative. */
  readonly leftMs: number;
};

export type NewHold = Pick<
  HoldInfo,
  "requestId" | "agentId" | "model" | "amount" | "overrunMicros"
> & {
  /** How long its request may take at most. */
  readonly lastsMs: number;
  /** Settles it in its request's place. */
  readonly onOverdue: () => void;
};

type OpenHold = {
  readonly hold: NewHold;
  readonly sinceNs: bigint;
  readonly deadlineNs: bigint;
  /** False: it has ended before. */
  readonly end: () => boolean;
};

/** Beyond what its request may take: the request's own end comes first wherever nothing is broken. */
export const HOLD_GRACE_MS = 10_000;
/** Holds that one list names at most; a list is copied between threads in one turn. */
export const HOLDS_LISTED_MAX = 1_000;
const SWEEP_EVERY_MS = 1_000;
const NS_PER_MS = 1_000_000n;

/** The open holds of one loop. */
export class OpenHolds {
  readonly #clock: Clock;
  readonly #holds = new OpenList<OpenHold>();
  #isWatched = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Returns what ends it; false: the sweep has settled it already. */
  open(hold: NewHold): () => boolean {
    const sinceNs = this.#clock.monoNs();
    const deadlineNs = sinceNs + BigInt(hold.lastsMs + HOLD_GRACE_MS) * NS_PER_MS;
    const end = (): boolean => this.#holds.remove(link);
    const link: Link<OpenHold> = this.#holds.add({ hold, sinceNs, deadlineNs, end });
    this.#watch();
    return end;
  }

  get count(): number {
    return this.#holds.size;
  }

  /** The longest open first, at most `HOLDS_LISTED_MAX`. */
  list(): HoldInfo[] {
    const nowNs = this.#clock.monoNs();
    const infos: HoldInfo[] = [];
    for (const { hold, ...times } of this.#holds) {
      if (infos.length === HOLDS_LISTED_MAX) break;
      const { requestId, agentId, model, amount, overrunMicros } = hold;
      const ageMs = Number((nowNs - times.sinceNs) / NS_PER_MS);
      const leftMs = Math.max(0, Number((times.deadlineNs - nowNs) / NS_PER_MS));
      infos.push({ requestId, agentId, model, amount, overrunMicros, ageMs, leftMs });
    }
    return infos;
  }

  /** Looks while there is something to look at. */
  #watch(): void {
    if (this.#isWatched) return;
    this.#isWatched = true;
    this.#clock.after(SWEEP_EVERY_MS, () => {
      this.#isWatched = false;
      this.#sweep();
      if (this.#holds.size > 0) this.#watch();
    });
  }

  #sweep(): void {
    const nowNs = this.#clock.monoNs();
    for (const { hold, deadlineNs, end } of [...this.#holds]) {
      if (nowNs >= deadlineNs && end()) hold.onOverdue();
    }
  }
}
