import type { Clock } from "../ports/clock.ts";
import { timeOfUuidV7 } from "../ports/random.ts";

/** How far a request's id may be from our wall clock. Nodes whose clock is further off are told so (`clock_off`). */
export const ID_AGE_MS_MAX = 120_000;
/** Senders that are remembered; the one silent longest makes room. */
export const SENDERS_MAX = 100_000;

type Newest = { readonly atMs: number; readonly ids: Set<string> };

/**
 * Tells a request from a recording of it.
 *
 * A signature says who wrote a request, not when it is heard: whoever can hear the bus can say it
 * again. Ids are UUIDv7, so they carry a time; per sender and subject only newer ones pass.
 */
export class ReplayGuard {
  readonly #clock: Clock;
  readonly #newest = new Map<string, Newest>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** False: heard before, older than what was heard, or not of this time. */
  pass(sender: string, requestId: string): boolean {
    const atMs = timeOfUuidV7(requestId);
    if (atMs === undefined || Math.abs(this.#clock.nowMs() - atMs) > ID_AGE_MS_MAX) return false;
    const newest = this.#newest.get(sender);
    if (newest !== undefined && atMs < newest.atMs) return false;
    if (newest?.atMs === atMs && newest.ids.has(requestId)) return false;
    const ids = newest?.atMs === atMs ? newest.ids.add(requestId) : new Set([requestId]);
    // Taken out and put in again, so that the first entry is the one silent longest.
    this.#newest.delete(sender);
    this.#newest.set(sender, { atMs, ids });
    if (this.#newest.size > SENDERS_MAX) {
      this.#newest.delete(this.#newest.keys().next().value as string);
    }
    return true;
  }

  /** What is said of a request that did not pass. */
  whyNot(requestId: string): readonly [reason: "clock_off" | "replayed", message: string] {
    const atMs = timeOfUuidV7(requestId);
    const aheadMs = atMs === undefined ? 0 : atMs - this.#clock.nowMs();
    if (Math.abs(aheadMs) <= ID_AGE_MS_MAX) return ["replayed", `${requestId} was heard before`];
    const off = `${Math.round(Math.abs(aheadMs) / 1_000)} s ${aheadMs > 0 ? "ahead of" : "behind"}`;
    return ["clock_off", `the node's clock is ${off} the coordinator's`];
  }
}
