import type { Clock } from "./clock.ts";
import { pause } from "./pause.ts";

/** Of a rehearsal that is gone on with: a few milliseconds of a processor. */
export const PART_KILLS = 10;
/** Parts until the engine has compiled all of it as well as it can, which it does for what has run often. */
export const FIRST_PARTS = 100;
/** In all of them. */
export const FIRST_KILLS = FIRST_PARTS * PART_KILLS;
/** Between two of the first parts, and of those that come after them: what is not run for long may be thrown away. */
export const PART_EVERY_MS = { first: 3_000, later: 30_000 };

/**
 * Goes on with a rehearsal beside the work, until the signal aborts: a start must not wait for all of it. Never rejects:
 * one that fails is told, and is the last. The work is worth more than what it is rehearsed for.
 */
export async function keepRehearsed(
  of: {
    readonly clock: Clock;
    readonly signal: AbortSignal;
    readonly onFault: (error: unknown) => void;
  },
  part: (kills: number) => Promise<unknown>,
): Promise<void> {
  try {
    await rehearseOn(of, part);
  } catch (error) {
    of.onFault(error);
  }
}

async function rehearseOn(
  { clock, signal }: { readonly clock: Clock; readonly signal: AbortSignal },
  part: (kills: number) => Promise<unknown>,
): Promise<void> {
  for (let parts = 0; !signal.aborted; parts += 1) {
    await pause(clock, parts < FIRST_PARTS ? PART_EVERY_MS.first : PART_EVERY_MS.later, signal);
    if (!signal.aborted) await part(PART_KILLS);
  }
}
