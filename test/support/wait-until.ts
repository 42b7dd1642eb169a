import { setTimeout as sleep } from "node:timers/promises";

const LOOK_EVERY_MS = { min: 20, max: 100 };
/** Looks of one wait come further apart the longer it lasts: a look may cost more than a sleep does. */
const OF_WAITED = 1 / 20;
/** Far beyond what is waited for, so that a busy machine fails nothing. */
const LIMIT_MS = 60_000;

/**
 * Waits until `look` gives a value that is neither undefined nor false, and returns it.
 *
 * @param what Ends the sentence "waited in vain for ..."; a function is asked when it is too late.
 */
export async function waitUntil<T>(
  what: string | (() => string | Promise<string>),
  look: () => T | undefined | false | Promise<T | undefined | false>,
  limitMs = LIMIT_MS,
): Promise<T> {
  const begun = Date.now();
  for (;;) {
    const seen = await look();
    if (seen !== undefined && seen !== false) return seen;
    const waitedMs = Date.now() - begun;
    if (waitedMs > limitMs) {
      throw new Error(`waited in vain for ${typeof what === "string" ? what : await what()}`);
    }
    const { min, max } = LOOK_EVERY_MS;
    await sleep(Math.min(max, Math.max(min, waitedMs * OF_WAITED)));
  }
}
