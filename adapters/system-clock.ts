import type { Cancel, Clock } from "../ports/clock.ts";

/** Longest delay that `setTimeout` takes; it fires at once for anything longer. */
const TIMEOUT_MS_MAX = 2 ** 31 - 1;

/** The machine's clocks. `monoNs` is CLOCK_MONOTONIC: it stands still while the machine sleeps. */
export const systemClock: Clock = {
  nowMs: () => Date.now(),
  monoNs: () => process.hrtime.bigint(),
  after,
};

function after(delayMs: number, fn: () => void): Cancel {
  const waitMs = Math.max(0, delayMs);
  const dueNs = process.hrtime.bigint() + BigInt(Math.ceil(waitMs * 1e6));
  let timer: NodeJS.Timeout;
  const arm = (ms: number): void => {
    timer = setTimeout(onTimer, Math.min(ms, TIMEOUT_MS_MAX));
    timer.unref();
  };
  // Timers count whole milliseconds from the start of the turn, so one may fire too soon.
  const onTimer = (): void => {
    const leftNs = dueNs - process.hrtime.bigint();
    if (leftNs <= 0n) fn();
    else arm(Math.ceil(Number(leftNs) / 1e6));
  };
  arm(waitMs);
  return () => clearTimeout(timer);
}
