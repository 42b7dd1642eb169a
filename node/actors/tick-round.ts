import type { Clock } from "../../ports/clock.ts";

/** A round is gone through in so many parts, one every so many milliseconds: in less than a second. */
const PARTS = 20;
const PART_EVERY_MS = 40;
/** Members of a part at least, so that a small round is over at once. */
const PART_MIN = 50;

type Visit<T> = (member: T, nowNs: bigint) => void;

/**
 * Goes through all members of a large set, some at a time.
 *
 * Ten thousand at once would hold the thread for a quarter of a second, and who asks it for money
 * meanwhile would wait for longer than a request may.
 */
export class TickRound<T> {
  readonly #clock: Clock;
  #isUnderWay = false;
  #isStopped = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * Begins a round, unless the one before is still under way. The first part is done when this returns.
   *
   * @param members May change meanwhile: whoever is added in time is visited, whoever is gone is not.
   * @param visit Told the monotonic time at which its part began.
   */
  begin(members: ReadonlyMap<unknown, T>, visit: Visit<T>): void {
    if (this.#isUnderWay || this.#isStopped) return;
    this.#isUnderWay = true;
    this.#go(members.values(), visit, Math.max(PART_MIN, Math.ceil(members.size / PARTS)));
  }

  /** Nobody is visited any more. */
  stop(): void {
    this.#isStopped = true;
  }

  #go(rest: Iterator<T>, visit: Visit<T>, perPart: number): void {
    const nowNs = this.#clock.monoNs();
    for (let left = perPart; left > 0 && !this.#isStopped; left -= 1) {
      const next = rest.next();
      if (next.done) {
        this.#isUnderWay = false;
        return;
      }
      visit(next.value, nowNs);
    }
    this.#clock.after(PART_EVERY_MS, () => this.#go(rest, visit, perPart));
  }
}
