/** Stops a timer. Calling it again, or after the timer fired, does nothing. */
export type Cancel = () => void;

/**
 * Time, as everything but an adapter sees it.
 *
 * `monoNs` never goes back and is one clock for all threads and processes of a machine, so a value
 * written into shared memory by one thread can be compared by another. `nowMs` may jump either way:
 * it is for people, logs and windows that people named, and no safety bound rests on it.
 */
export type Clock = {
  /** Wall clock, milliseconds since the Unix epoch. */
  nowMs(): number;
  /** Monotonic clock, nanoseconds since an origin that is the machine's. */
  monoNs(): bigint;
  /** Calls `fn` once, not before `delayMs`. A pending timer does not keep the process alive. */
  after(delayMs: number, fn: () => void): Cancel;
};

/** Milliseconds of the monotonic clock, with fractions. */
export function monoMs(clock: Clock): number {
  return Number(clock.monoNs()) / 1e6;
}
