/**
 * Decisions as they are made, for whoever watches now. The log has them all; this is their news.
 *
 * A watcher that does not keep up loses the oldest of what waits for it, and is told how many.
 */

import type { AgentEvent } from "./thread-messages.ts";

/** Refusals that are kept for whoever begins to watch, newest last. */
export const REFUSALS_KEPT_MAX = 1_000;
/** Decisions that wait for one watcher. */
export const WAITING_MAX = 1_024;
/** Watchers at once. */
export const WATCHERS_MAX = 32;

export type DecisionFilter = (event: AgentEvent) => boolean;

export type FedDecision = {
  readonly event: AgentEvent;
  /** Matching decisions before this one that this watcher was too slow for, or that it stands for. */
  readonly missed: number;
};

export class DecisionFeed {
  readonly #recent: AgentEvent[] = [];
  readonly #watchers = new Set<Watcher>();
  readonly #followers: ((event: AgentEvent) => void)[] = [];

  /** Calls `fn` with every decision from now on, which misses none and must return at once. */
  follow(fn: (event: AgentEvent) => void): void {
    this.#followers.push(fn);
  }

  tell(event: AgentEvent): void {
    for (const follow of this.#followers) follow(event);
    if (!event.allowed) {
      this.#recent.push(event);
      if (this.#recent.length > REFUSALS_KEPT_MAX) this.#recent.shift();
    }
    for (const watcher of this.#watchers) watcher.take(event);
  }

  /** The latest refusals that match, oldest first. */
  recent(filter: DecisionFilter, count: number): readonly AgentEvent[] {
    return count === 0 ? [] : this.#recent.filter(filter).slice(-count);
  }

  /**
   * What matches from now on, until `signal` aborts. It watches from the call on, not from the first
   * value that is asked for.
   *
   * @returns Undefined: there are too many watchers.
   */
  watch(filter: DecisionFilter, signal: AbortSignal): AsyncIterable<FedDecision> | undefined {
    if (this.#watchers.size >= WATCHERS_MAX) return undefined;
    const watcher = new Watcher(filter);
    this.#watchers.add(watcher);
    signal.addEventListener("abort", () => {
      this.#watchers.delete(watcher);
      watcher.wake();
    });
    return watcher.until(signal);
  }
}

class Watcher {
  readonly #filter: DecisionFilter;
  #waiting: AgentEvent[] = [];
  #missed = 0;
  #wake: () => void = () => undefined;

  constructor(filter: DecisionFilter) {
    this.#filter = filter;
  }

  take(event: AgentEvent): void {
    if (!this.#filter(event)) return;
    this.#waiting.push(event);
    if (this.#waiting.length > WAITING_MAX) {
      this.#missed += 1 + (this.#waiting.shift()?.more ?? 0);
    }
    this.wake();
  }

  wake(): void {
    this.#wake();
  }

  async *until(signal: AbortSignal): AsyncGenerator<FedDecision> {
    while (!signal.aborted) {
      const event = this.#waiting.shift();
      if (event !== undefined) {
        const missed = this.#missed + (event.more ?? 0);
        this.#missed = 0;
        yield { event, missed };
        continue;
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}
