import type { Cancel, Clock } from "../../ports/clock.ts";
import type { Draw } from "./draw.ts";

/** Timers fall on a grid, or two of different owners would never be due at one moment. */
const GRID_US = 250;

/** Hundreds of times as many as the largest world needs. */
const FIRED_MAX = 5_000_000;

type Timer = {
  readonly dueUs: number;
  /** Drawn: which of several equally due timers fires first. */
  readonly order: number;
  readonly fn: () => void;
  isOff: boolean;
};

/**
 * The time of a simulated world. It moves only in `run`, from one timer to the next, and after each
 * lets everything run that waits for nothing but its turn.
 */
export class SimTime {
  readonly #draw: Draw;
  readonly #heap: Timer[] = [];
  #nowUs = 0;
  #fired = 0;

  constructor(draw: Draw) {
    this.#draw = draw;
  }

  /** Microseconds since the world began. */
  get nowUs(): number {
    return this.#nowUs;
  }

  get nowMs(): number {
    return this.#nowUs / 1_000;
  }

  /** Timers that have fired. */
  get fired(): number {
    return this.#fired;
  }

  readonly after = (delayMs: number, fn: () => void): Cancel => {
    const dueUs = Math.ceil((this.#nowUs + Math.max(0, delayMs) * 1_000) / GRID_US) * GRID_US;
    const timer = { dueUs, order: this.#draw.word(), fn, isOff: false };
    this.#push(timer);
    return () => {
      timer.isOff = true;
    };
  };

  /** Lets `ms` pass, or less if `isOver` says so between two timers. */
  async run(ms: number, isOver: () => boolean = () => false): Promise<void> {
    const endUs = this.#nowUs + ms * 1_000;
    await turn();
    while (!isOver()) {
      const next = this.#heap[0];
      if (next === undefined || next.dueUs > endUs) {
        this.#nowUs = endUs;
        return;
      }
      this.#pop();
      if (next.isOff) continue;
      this.#nowUs = next.dueUs;
      this.#fired += 1;
      if (this.#fired > FIRED_MAX)
        throw new Error(`${FIRED_MAX} timers have fired: a world in a loop`);
      next.fn();
      await turn();
    }
  }

  #push(timer: Timer): void {
    const heap = this.#heap;
    let at = heap.push(timer) - 1;
    while (at > 0) {
      const above = (at - 1) >> 1;
      if (!isBefore(timer, heap[above] as Timer)) break;
      heap[at] = heap[above] as Timer;
      at = above;
    }
    heap[at] = timer;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop() as Timer;
    if (heap.length === 0) return;
    let at = 0;
    for (;;) {
      let below = 2 * at + 1;
      if (below >= heap.length) break;
      const other = heap[below + 1];
      if (other !== undefined && isBefore(other, heap[below] as Timer)) below += 1;
      if (!isBefore(heap[below] as Timer, last)) break;
      heap[at] = heap[below] as Timer;
      at = below;
    }
    heap[at] = last;
  }
}

function isBefore(left: Timer, right: Timer): boolean {
  return left.dueUs === right.dueUs ? left.order < right.order : left.dueUs < right.dueUs;
}

/** Lets everything run that waits for nothing but its turn. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** A machine's clocks: what is wrong with them outlives the processes on it. */
export type MachineClock = {
  /** How much faster than the world's time it runs: 1.0005 gains half a second in a thousand. */
  readonly rate: number;
  readonly originNs: bigint;
  /** Wall clock at the world's beginning, ms since the Unix epoch; NTP and operators change it. */
  wallMs: number;
};

/** The clocks of one machine, as its processes read them. */
export function machineTime(time: SimTime, machine: MachineClock): Clock {
  return {
    nowMs: () => Math.floor(machine.wallMs + time.nowMs * machine.rate),
    monoNs: () => machine.originNs + BigInt(Math.round(time.nowUs * machine.rate)) * 1_000n,
    after: (delayMs, fn) => time.after((delayMs + 0.001) / machine.rate, fn),
  };
}
