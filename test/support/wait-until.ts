import { setTimeout as sleep } from "node:timers/promises";

const LOOK_EVERY_MS = 20;
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
  const deadline = Date.now() + limitMs;
  for (;;) {
    const seen = await look();
    if (seen !== undefined && seen !== false) return seen;
    if (Date.now() > deadline) {
      throw new Error(`waited in vain for ${typeof what === "string" ? what : await what()}`);
    }
    await sleep(LOOK_EVERY_MS);
  }
}
