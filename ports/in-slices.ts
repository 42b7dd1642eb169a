import { setImmediate } from "node:timers/promises";
import type { Clock } from "./clock.ts";

/** How long a thread that others wait for may be busy with one thing. */
const SLICE_NS = 1_000_000n;

export type SliceOptions = {
  readonly clock: Pick<Clock, "monoNs">;
  /** Lets what is waiting run. */
  readonly nextTurn?: () => Promise<unknown>;
};

type Dispensable = {
  /** Asked after each turn of others: whether the result is still wanted. */
  readonly isWanted: () => boolean;
};

/**
 * Runs steps to their end, a millisecond at a time, and gives others their turn in between.
 *
 * @returns What the last step gave; `undefined` when it was not wanted any more.
 */
export function inSlices<T>(
  steps: Generator<void, T, void>,
  options: SliceOptions & Dispensable,
): Promise<T | undefined>;
export function inSlices<T>(steps: Generator<void, T, void>, options: SliceOptions): Promise<T>;
export async function inSlices<T>(
  steps: Generator<void, T, void>,
  {
    clock,
    nextTurn = () => setImmediate(),
    isWanted = () => true,
  }: SliceOptions & Partial<Dispensable>,
): Promise<T | undefined> {
  let sliceEndNs = clock.monoNs() + SLICE_NS;
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
    if (clock.monoNs() < sliceEndNs) continue;
    await nextTurn();
    if (!isWanted()) return undefined;
    sliceEndNs = clock.monoNs() + SLICE_NS;
  }
}
