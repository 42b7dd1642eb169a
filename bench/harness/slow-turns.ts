import { readFileSync } from "node:fs";
import { type PerformanceEntry, PerformanceObserver } from "node:perf_hooks";

/** A deed that took longer than its limit, and what the thread did not do meanwhile. */
type SlowTurn = {
  readonly startMs: number;
  readonly endMs: number;
  /** Ready to run while the kernel ran something else, ms. */
  readonly notRunMs: number;
  /** Processor time that it took, ms. */
  readonly cpuMs: number;
};

/** How many deeds took longer than the limit, by the first of these that explains it. */
export type SlowCounts = {
  readonly slow: number;
  /** Ready, and the kernel ran something else. */
  readonly notRun: number;
  /** A pause of the collector fell into it. */
  readonly collecting: number;
  /** Asleep in the kernel: a page of the store that was not in memory. */
  readonly blocked: number;
  /** It used the processor for that long. */
  readonly own: number;
};

/**
 * Why deeds of this thread took long that never give up their turn.
 *
 * @see https://docs.kernel.org/scheduler/sched-stats.html, /proc/<pid>/schedstat
 */
export class SlowTurns implements Disposable {
  readonly #limitMs: number;
  readonly #slow: SlowTurn[] = [];
  readonly #pauses: { readonly startMs: number; readonly endMs: number }[] = [];
  readonly #observer: PerformanceObserver;
  #waitedNs = 0;
  #cpu = process.threadCpuUsage();

  constructor(limitMs: number) {
    this.#limitMs = limitMs;
    this.#observer = new PerformanceObserver((list) => this.#note(list.getEntries()));
    this.#observer.observe({ entryTypes: ["gc"] });
  }

  /** Right before a deed. */
  begin(): number {
    this.#waitedNs = waitedNs();
    this.#cpu = process.threadCpuUsage();
    return performance.now();
  }

  /** Right after it. */
  end(startMs: number): void {
    const endMs = performance.now();
    if (endMs - startMs < this.#limitMs) return;
    const notRunMs = (waitedNs() - this.#waitedNs) / 1e6;
    const { user, system } = process.threadCpuUsage(this.#cpu);
    this.#slow.push({ startMs, endMs, notRunMs, cpuMs: (user + system) / 1_000 });
  }

  get counts(): SlowCounts {
    this.#note(this.#observer.takeRecords());
    const counts = { slow: this.#slow.length, notRun: 0, collecting: 0, blocked: 0, own: 0 };
    for (const { startMs, endMs, notRunMs, cpuMs } of this.#slow) {
      const gcMs = this.#pauses
        .map((pause) => Math.min(pause.endMs, endMs) - Math.max(pause.startMs, startMs))
        .reduce((sum, ms) => sum + Math.max(0, ms), 0);
      const tookMs = endMs - startMs;
      if (tookMs - notRunMs < this.#limitMs) counts.notRun += 1;
      else if (tookMs - notRunMs - gcMs < this.#limitMs) counts.collecting += 1;
      else if (cpuMs < this.#limitMs) counts.blocked += 1;
      else counts.own += 1;
    }
    return counts;
  }

  [Symbol.dispose](): void {
    this.#observer.disconnect();
  }

  #note(entries: readonly PerformanceEntry[]): void {
    for (const { startTime, duration } of entries) {
      this.#pauses.push({ startMs: startTime, endMs: startTime + duration });
    }
  }
}

function waitedNs(): number {
  return Number(readFileSync("/proc/thread-self/schedstat", "latin1").split(" ")[1]);
}
