import { closeSync, openSync, readSync } from "node:fs";
import { PerformanceObserver, performance } from "node:perf_hooks";

import type { Clock } from "../../ports/clock.ts";

// How long the host kept this thread from running while it put a kill in force.

/** Pauses of the collector that are remembered; they are asked for within milliseconds. */
const PAUSES_MAX = 64;
const ORIGIN_MARK = "host-stall-origin";

/** The thread's account with the scheduler at one instant. */
export type StallMark = {
  readonly atNs: bigint;
  /** The scheduler's own words, read later: whoever makes a mark is in haste. */
  readonly schedstat: string;
};

/** From a mark to a later instant. */
export type StallWindow = {
  readonly fromNs: bigint;
  readonly toNs: bigint;
  /** Time in the window that the thread was ready to run and another was running. */
  readonly runDelayNs: bigint;
};

export type HostStall = {
  mark(atNs: bigint): StallMark;
  until(mark: StallMark, toNs: bigint): StallWindow;
  /**
   * Nanoseconds within the window that the thread did not run: waiting for a processor, or the longest
   * pause of the collector, whichever is more. Pauses are known a turn late, so ask again later.
   */
  longestNs(window: StallWindow): bigint;
  close(): void;
};

/**
 * Reads the scheduler's statistics of the calling thread, where the host has them (Linux), and the
 * collector's pauses. Belongs to the thread that made it.
 *
 * @see https://docs.kernel.org/scheduler/sched-stats.html (proc/<pid>/schedstat)
 */
export function openHostStall(clock: Pick<Clock, "monoNs">): HostStall {
  const fd = openSchedstat();
  const bytes = Buffer.alloc(96);
  const pauses: { readonly fromNs: bigint; readonly toNs: bigint }[] = [];
  // Performance entries count from an origin of this thread's own: a mark ties it to the clock.
  const originNs = clock.monoNs() - msToNs(performance.mark(ORIGIN_MARK).startTime);
  performance.clearMarks(ORIGIN_MARK);
  const observer = new PerformanceObserver((list) => {
    for (const { startTime, duration } of list.getEntries()) {
      const fromNs = originNs + msToNs(startTime);
      pauses.push({ fromNs, toNs: fromNs + msToNs(duration) });
      if (pauses.length > PAUSES_MAX) pauses.shift();
    }
  });
  observer.observe({ entryTypes: ["gc"] });
  const schedstat = (): string => (fd === undefined ? "" : readText(fd, bytes));
  return {
    mark: (atNs) => ({ atNs, schedstat: schedstat() }),
    until: (mark, toNs) => ({
      fromNs: mark.atNs,
      toNs,
      runDelayNs: runDelayNs(schedstat()) - runDelayNs(mark.schedstat),
    }),
    longestNs(window) {
      let longest = window.runDelayNs;
      for (const pause of pauses) {
        const part = overlapNs(window, pause);
        if (part > longest) longest = part;
      }
      return longest;
    },
    close() {
      observer.disconnect();
      if (fd !== undefined) closeSync(fd);
    },
  };
}

function openSchedstat(): number | undefined {
  try {
    // The link is followed once: the descriptor stays with the thread that opens it.
    return openSync("/proc/thread-self/schedstat", "r");
  } catch {
    return undefined;
  }
}

function readText(fd: number, bytes: Buffer): string {
  return bytes.toString("latin1", 0, readSync(fd, bytes, 0, bytes.length, 0));
}

/** "<on cpu ns> <waiting to run ns> <slices>" */
function runDelayNs(schedstat: string): bigint {
  return BigInt(schedstat.split(" ")[1] ?? "0");
}

function overlapNs(
  window: { readonly fromNs: bigint; readonly toNs: bigint },
  pause: { readonly fromNs: bigint; readonly toNs: bigint },
): bigint {
  const from = window.fromNs > pause.fromNs ? window.fromNs : pause.fromNs;
  const to = window.toNs < pause.toNs ? window.toNs : pause.toNs;
  return to > from ? to - from : 0n;
}

function msToNs(ms: number): bigint {
  return BigInt(Math.round(ms * 1e6));
}
