/** Gain of the clock that counts sleep over the one that does not, beyond which a sleep is assumed. */
export const SLEEP_MS_MIN = 1_000;

/**
 * Notices that the machine slept: suspended, or its virtual machine paused and moved.
 *
 * `monoNs` stands still meanwhile, so a node would go on believing what was true before. The time since
 * the machine's boot does not stand still.
 *
 * @see https://man7.org/linux/man-pages/man2/clock_gettime.2.html (CLOCK_BOOTTIME)
 */
export class SleepWatch {
  readonly #bootMs: () => number;
  readonly #monoNs: () => bigint;
  #aheadMs: number;

  /** @param bootMs Milliseconds since the machine's boot, sleep included. */
  constructor(clocks: { readonly bootMs: () => number; readonly monoNs: () => bigint }) {
    this.#bootMs = clocks.bootMs;
    this.#monoNs = clocks.monoNs;
    this.#aheadMs = this.#ahead();
  }

  /** Whether the machine slept since the last call. */
  hasSlept(): boolean {
    const aheadMs = this.#ahead();
    const gainMs = aheadMs - this.#aheadMs;
    this.#aheadMs = aheadMs;
    return gainMs >= SLEEP_MS_MIN;
  }

  #ahead(): number {
    return this.#bootMs() - Number(this.#monoNs()) / 1e6;
  }
}
