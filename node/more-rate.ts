import { type Clock, monoMs } from "../ports/clock.ts";
import type { NoShare, RateNeed } from "./rate-need.ts";

/** After an answer a row asks for more no sooner. */
const AGAIN_MS_MIN = 100;
/** Nor, where nobody answered, than this. */
const UNANSWERED_MS = 500;

/**
 * A loop's questions for more of a rate: one at a time for a row, which all its requests wait for. What is refused in
 * between costs no message, however many they are.
 */
export class MoreRate {
  readonly #clock: Clock;
  readonly #need: (need: RateNeed) => Promise<NoShare | undefined>;
  /** By row, of which a table has so many and no more. */
  readonly #asking = new Map<number, Promise<boolean>>();
  readonly #notBeforeMs = new Map<number, number>();

  constructor(clock: Clock, need: (need: RateNeed) => Promise<NoShare | undefined>) {
    this.#clock = clock;
    this.#need = need;
  }

  /** @returns Whether there is more. Undefined: there was none just now. */
  ask(need: RateNeed): Promise<boolean> | undefined {
    const { row } = need;
    const known = this.#asking.get(row);
    if (known !== undefined) return known;
    if (monoMs(this.#clock) < (this.#notBeforeMs.get(row) ?? 0)) return undefined;
    const asking = this.#askOnce(need).finally(() => this.#asking.delete(row));
    this.#asking.set(row, asking);
    return asking;
  }

  async #askOnce(need: RateNeed): Promise<boolean> {
    const none = await this.#need({ ...need, isMore: true });
    const retryMs = none === "unanswered" ? UNANSWERED_MS : (none?.retryMs ?? 0);
    const notBeforeMs = monoMs(this.#clock) + Math.max(AGAIN_MS_MIN, retryMs);
    this.#notBeforeMs.set(need.row, notBeforeMs);
    return none === undefined;
  }
}
