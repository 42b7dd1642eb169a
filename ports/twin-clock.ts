import type { Cancel, Clock } from "./clock.ts";

/** A clock that moves only when told. */
export type TwinClock = Clock & {
  /** Moves both clocks on and fires, in order of time, what falls due on the way. */
  advance(ms: number): void;
  /** Moves the wall clock alone, either way, as an operator or NTP may. */
  jumpWall(ms: number): void;
  /** Timers that have neither fired nor been stopped. */
  readonly pendingTimers: number;
};

export type TwinClockOptions = {
  /** Wall clock at the start, ms since the Unix epoch. */
  readonly nowMs?: number;
  /** Monotonic clock at the start, nanoseconds. */
  readonly monoNs?: bigint;
  /** Which of several timers due at one moment fires first: an index below `count`. Default: 0. */
  readonly draw?: (count: number) => number;
};

type Timer = { readonly dueNs: bigint; readonly fn: () => void };

export function twinClock(options: TwinClockOptions = {}): TwinClock {
  const startNs = options.monoNs ?? 1_000_000_000n;
  const draw = options.draw ?? (() => 0);
  let wallMs = options.nowMs ?? Date.UTC(2026, 10, 22, 9, 0, 0);
  let monoNs = startNs;
  const timers = new Set<Timer>();

  const moveTo = (ns: bigint): void => {
    wallMs += Number(ns - monoNs) / 1e6;
    monoNs = ns;
  };
  const after = (delayMs: number, fn: () => void): Cancel => {
    const timer = { dueNs: monoNs + toNs(Math.max(0, delayMs)), fn };
    timers.add(timer);
    return () => timers.delete(timer);
  };
  const advance = (ms: number): void => {
    const endNs = monoNs + toNs(ms);
    for (let due = nextDue(timers, endNs, draw); due; due = nextDue(timers, endNs, draw)) {
      timers.delete(due);
      if (due.dueNs > monoNs) moveTo(due.dueNs);
      due.fn();
    }
    moveTo(endNs);
  };
  return {
    nowMs: () => Math.floor(wallMs),
    monoNs: () => monoNs,
    after,
    advance,
    jumpWall: (ms) => {
      wallMs += ms;
    },
    get pendingTimers() {
      return timers.size;
    },
  };
}

function nextDue(
  timers: ReadonlySet<Timer>,
  endNs: bigint,
  draw: (count: number) => number,
): Timer | undefined {
  let earliest: Timer[] = [];
  for (const timer of timers) {
    if (timer.dueNs > endNs) continue;
    const first = earliest[0];
    if (!first || timer.dueNs < first.dueNs) earliest = [timer];
    else if (timer.dueNs === first.dueNs) earliest.push(timer);
  }
  return earliest.length > 1 ? earliest[draw(earliest.length)] : earliest[0];
}

function toNs(ms: number): bigint {
  return BigInt(Math.round(ms * 1e6));
}
