import type { Clock } from "../../ports/clock.ts";
import { pause } from "../../ports/pause.ts";

/** What a step leaves to do: the next one at once, nothing more about this, or the same after that time. */
export type StepOutcome = "on" | "done" | { readonly waitMs: number };

export type NewestFirstOptions<T> = {
  readonly clock: Clock;
  readonly step: (of: T) => Promise<StepOutcome>;
  /** A step has thrown: when to try again. */
  readonly failed: (error: unknown) => { readonly waitMs: number };
  /** Time between what is done and what has come meanwhile, ms. */
  readonly restMs: number;
};

/**
 * Works on the newest of what it is given, one step at a time: what was overtaken meanwhile is left out. For
 * things each of which covers those before it, as checkpoints of one log do.
 */
export class NewestFirst<T> {
  readonly #options: NewestFirstOptions<T>;
  #newest: T | undefined;
  #isRunning = false;
  #isEnded = false;

  constructor(options: NewestFirstOptions<T>) {
    this.#options = options;
  }

  offer(newest: T): void {
    this.#newest = newest;
    void this.#runOn();
  }

  /** A step that is under way ends; none follows it. */
  stop(): void {
    this.#isEnded = true;
  }

  async #runOn(): Promise<void> {
    if (this.#isRunning) return;
    this.#isRunning = true;
    const { clock, step, failed, restMs } = this.#options;
    while (this.#newest !== undefined && !this.#isEnded) {
      const one = this.#newest;
      const outcome = await step(one).catch(failed);
      if (outcome === "on") continue;
      if (outcome === "done" && this.#newest === one) this.#newest = undefined;
      const waitMs = outcome === "done" ? restMs : outcome.waitMs;
      if (waitMs > 0) await pause(clock, waitMs);
    }
    this.#isRunning = false;
  }
}
