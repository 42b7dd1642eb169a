import type { Clock } from "../../ports/clock.ts";

/** A jump of the wall clock that is worth a record, ms. Half of what records may lie behind. */
export const CLOCK_STEP_MS_MIN = 500;
/** Both clocks are read within this, or they are read again. */
const READ_NS_MAX = 20_000_000n;
const READS_MAX = 5;

export type ClockStep = {
  /** The new time now, and as early as the jump can have been: ms since the Unix epoch. */
  readonly nowMs: number;
  readonly fromMs: number;
  readonly stepMs: number;
};

type Reading = { readonly monoNs: bigint; readonly nowMs: number };

/** Notices when the wall clock jumps against the monotonic one. Small jumps add up. */
export class ClockWatch {
  readonly #clock: Clock;
  /** The two clocks when they were last taken to agree. */
  #base: Reading;
  #lookedAtNs: bigint;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#base = this.#read();
    this.#lookedAtNs = this.#base.monoNs;
  }

  /** The jump since the last one was given; `undefined` when there is none. */
  look(): ClockStep | undefined {
    const now = this.#read();
    const sinceLookMs = msOf(now.monoNs - this.#lookedAtNs);
    this.#lookedAtNs = now.monoNs;
    const stepMs = Math.round(now.nowMs - this.#base.nowMs - msOf(now.monoNs - this.#base.monoNs));
    if (Math.abs(stepMs) < CLOCK_STEP_MS_MIN) return undefined;
    this.#base = now;
    return { nowMs: now.nowMs, fromMs: now.nowMs - Math.ceil(sinceLookMs), stepMs };
  }

  #read(): Reading {
    for (let reads = 1; ; reads++) {
      const monoNs = this.#clock.monoNs();
      const nowMs = this.#clock.nowMs();
      const tookNs = this.#clock.monoNs() - monoNs;
      // A pause between the two reads would look like a jump.
      if (tookNs <= READ_NS_MAX || reads === READS_MAX) return { monoNs, nowMs };
    }
  }
}

function msOf(ns: bigint): number {
  return Number(ns) / 1e6;
}
