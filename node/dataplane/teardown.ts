import type { Cancel, Clock } from "../../ports/clock.ts";
import type { Cut } from "./exchange.ts";

/** What a teardown needs of one exchange. */
export type CutTarget = {
  /** Tells whoever serves it, once; the client's last frame and the upstream's end are theirs. */
  cutFromOutside(cut: Cut): void;
  /** RST on the client's leg, at once. */
  reset(): void;
};

export type CutResult = {
  /** Exchanges that were open when the cut began. */
  readonly count: number;
  /** Monotonic time at which the last of them was closed, nanoseconds. */
  readonly lastClosedNs: bigint;
};

/** Sockets that are cut or reset in one turn, so that neighbours keep their millisecond. */
export const CUTS_PER_TURN = 10;
/** How long the last frame of a cut exchange may take to leave before the connection is reset. */
export const CUT_FLUSH_MS = 250;

type Run = {
  readonly count: number;
  readonly open: Set<CutTarget>;
  readonly resolve: (result: CutResult) => void;
};

/**
 * Ends many exchanges without holding up the loop.
 *
 * An exchange is first told (it may say a last word), and reset if its connection still stands
 * `CUT_FLUSH_MS` later. Resets go before cuts: they free what has been promised longest.
 */
export class Teardown {
  readonly #clock: Clock;
  readonly #onFault: (error: unknown) => void;
  readonly #cuts = new Map<CutTarget, Cut>();
  readonly #resets = new Set<CutTarget>();
  /** When the flush of each ends, in that order, because all are given the same time. */
  readonly #flushing = new Map<CutTarget, bigint>();
  readonly #runs = new Set<Run>();
  #cancelTimer: Cancel | undefined;
  #turnPlanned = false;

  constructor(options: { readonly clock: Clock; readonly onFault: (error: unknown) => void }) {
    this.#clock = options.clock;
    this.#onFault = options.onFault;
  }

  /** Cuts all; the first of them in this turn. Resolves when the last connection is closed. */
  cut(targets: readonly CutTarget[], cut: Cut): Promise<CutResult> {
    const count = targets.length;
    if (count === 0) return Promise.resolve({ count, lastClosedNs: this.#clock.monoNs() });
    return new Promise((resolve) => {
      this.#runs.add({ count, open: new Set(targets), resolve });
      for (const target of targets) if (!this.#cuts.has(target)) this.#cuts.set(target, cut);
      if (!this.#turnPlanned) this.#turn();
    });
  }

  /** From now on the connection has `CUT_FLUSH_MS` to close by itself. */
  expectClose(target: CutTarget): void {
    if (this.#flushing.has(target)) return;
    this.#flushing.set(target, this.#clock.monoNs() + BigInt(CUT_FLUSH_MS) * 1_000_000n);
    this.#cancelTimer ??= this.#clock.after(CUT_FLUSH_MS, this.#onTimer);
  }

  /** The connection is closed, both ways. */
  closed(target: CutTarget): void {
    this.#cuts.delete(target);
    this.#resets.delete(target);
    this.#flushing.delete(target);
    for (const run of this.#runs) {
      if (!run.open.delete(target) || run.open.size > 0) continue;
      this.#runs.delete(run);
      run.resolve({ count: run.count, lastClosedNs: this.#clock.monoNs() });
    }
  }

  readonly #turn = (): void => {
    this.#turnPlanned = false;
    let left = CUTS_PER_TURN;
    for (const target of this.#resets) {
      if (left-- === 0) break;
      this.#resets.delete(target);
      target.reset();
    }
    for (const [target, cut] of this.#cuts) {
      if (left-- <= 0) break;
      this.#cuts.delete(target);
      this.#cutOne(target, cut);
    }
    if (this.#resets.size + this.#cuts.size > 0) this.#planTurn();
  };

  /** What a cut exchange's own code throws must not save the exchanges behind it. */
  #cutOne(target: CutTarget, cut: Cut): void {
    this.expectClose(target);
    try {
      target.cutFromOutside(cut);
    } catch (error) {
      target.reset();
      this.#onFault(error);
    }
  }

  readonly #onTimer = (): void => {
    this.#cancelTimer = undefined;
    const nowNs = this.#clock.monoNs();
    for (const [target, dueNs] of this.#flushing) {
      if (dueNs > nowNs) {
        const leftMs = Math.ceil(Number(dueNs - nowNs) / 1e6);
        this.#cancelTimer = this.#clock.after(leftMs, this.#onTimer);
        break;
      }
      this.#flushing.delete(target);
      this.#resets.add(target);
    }
    if (this.#resets.size > 0) this.#planTurn();
  };

  #planTurn(): void {
    if (this.#turnPlanned) return;
    this.#turnPlanned = true;
    setImmediate(this.#turn);
  }
}
