import { type Clock, monoMs } from "../ports/clock.ts";
import type { Store } from "../ports/store.ts";

/** A flush takes milliseconds; a disk that needs longer than this for one is failing. */
const UNSAVED_MS_MAX = 3_000;
/** Written for no other purpose than to see whether the disk takes it. */
const PROBE_KEY = "probe";

/** Whether a coordinator's disk takes what is written to its store. */
export class DiskWatch {
  /** The store given, of whose writes this one hears. */
  readonly store: Store;
  readonly #clock: Clock;
  #hasFailed = false;
  #isTrying = false;
  #unsavedSinceMs: number | undefined;

  constructor(store: Store, clock: Clock) {
    this.#clock = clock;
    this.store = {
      get: (key) => store.get(key),
      list: (prefix, options) => store.list(prefix, options),
      close: () => store.close(),
      commit: async (writes, guard) => {
        try {
          const done = await store.commit(writes, guard);
          this.#hasFailed = false;
          return done;
        } catch (error) {
          this.#hasFailed = true;
          throw error;
        }
      },
    };
  }

  /**
   * True from a write that failed until one succeeds. A record that is being flushed is not on the disk either; one
   * that stays so is another matter.
   *
   * @param unsavedCount Records that are not on the disk.
   */
  isFailing(unsavedCount: number): boolean {
    const nowMs = monoMs(this.#clock);
    this.#unsavedSinceMs = unsavedCount === 0 ? undefined : (this.#unsavedSinceMs ?? nowMs);
    const sinceMs = this.#unsavedSinceMs;
    return this.#hasFailed || (sinceMs !== undefined && nowMs - sinceMs >= UNSAVED_MS_MAX);
  }

  /** After a write that failed, tries another: who is not ready is asked for nothing that would. */
  async look(): Promise<void> {
    if (!this.#hasFailed || this.#isTrying) return;
    this.#isTrying = true;
    await this.store.commit([{ key: PROBE_KEY, value: new Uint8Array(1) }]).catch(() => undefined);
    this.#isTrying = false;
  }
}
