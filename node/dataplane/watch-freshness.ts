import type { Cancel, Clock } from "../../ports/clock.ts";
import type { Cut } from "./exchange.ts";

/** How often a loop looks whether its table may still be believed. */
export const FRESHNESS_CHECK_MS = 100;

const STALE: Cut = { by: "reason", reason: "mesh_stale" };

export type FreshnessWatch = { stop(): void };

/**
 * Closes what is open once the kill state may no longer be believed, with no other thread's help.
 *
 * It closes again at every look for as long as that lasts: the table may have been fresh for a
 * moment between two looks, and what was begun in that moment must not outlive it. New requests
 * are refused by stage 3, which reads the same cell.
 *
 * @param isFresh Whether `open_until` lies after this monotonic time.
 * @param closeAll Begins to close all exchanges; one that is already refused is left to end.
 */
export function watchFreshness(input: {
  readonly isFresh: (nowNs: bigint) => boolean;
  readonly clock: Clock;
  readonly closeAll: (cut: Cut) => void;
}): FreshnessWatch {
  const { isFresh, clock, closeAll } = input;
  let cancel: Cancel;
  const look = (): void => {
    cancel = clock.after(FRESHNESS_CHECK_MS, look);
    if (!isFresh(clock.monoNs())) closeAll(STALE);
  };
  cancel = clock.after(FRESHNESS_CHECK_MS, look);
  return { stop: () => cancel() };
}
