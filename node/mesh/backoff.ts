import type { Cancel, Clock } from "../../ports/clock.ts";

/** Pauses between attempts, each twice as long as the one before, within bounds. */
export class Backoff {
  readonly #clock: Clock;
  readonly #minMs: number;
  readonly #maxMs: number;
  #nextMs: number;
  #stop: (() => void) | undefined;
  #isClosed = false;

  constructor(clock: Clock, bounds: { readonly minMs: number; readonly maxMs: number }) {
    this.#clock = clock;
    this.#minMs = bounds.minMs;
    this.#maxMs = bounds.maxMs;
    this.#nextMs = bounds.minMs;
  }

  /** Resolves when the pause is over, at once after `close`. One at a time. */
  pause(): Promise<void> {
    const delayMs = this.#nextMs;
    this.#nextMs = Math.min(this.#maxMs, delayMs * 2);
    if (this.#isClosed) return Promise.resolve();
    return new Promise((resolve) => {
      const cancel: Cancel = this.#clock.after(delayMs, resolve);
      this.#stop = () => {
        cancel();
        resolve();
      };
    });
  }

  /** An attempt succeeded: the next pause is the shortest again. */
  reset(): void {
    this.#nextMs = this.#minMs;
  }

  /** Ends the pause that runs, and all later ones. */
  close(): void {
    this.#isClosed = true;
    this.#stop?.();
  }
}
