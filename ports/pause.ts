import type { Clock } from "./clock.ts";

/** Resolves after `ms`, or as soon as `signal` aborts. Never rejects. */
export function pause(clock: Clock, ms: number, signal?: AbortSignal): Promise<void> {
  if (signal?.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const done = (): void => {
      cancel();
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const cancel = clock.after(ms, done);
    signal?.addEventListener("abort", done, { once: true });
  });
}

/** Milliseconds before attempt number `attempt` (0 for the first retry): doubling, bounded. */
export function backoffMs(attempt: number, bounds: { readonly min: number; readonly max: number }) {
  return Math.min(bounds.max, bounds.min * 2 ** Math.min(attempt, 20));
}
