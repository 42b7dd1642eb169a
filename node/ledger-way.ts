import type { Cancel, Clock } from "../ports/clock.ts";
import { NOTHING } from "./actors/account-book.ts";
import type { Cost } from "./decision/facts.ts";
import type { TopUpAnswer } from "./thread-messages.ts";

/** Between questions that nobody answered, milliseconds. */
export const ASK_AGAIN_MS = 250;
/** Whoever needs anything is lent a chunk. */
const LEAST: Cost = { ...NOTHING, usdMicros: 1n };

/**
 * Whether the ledger has answered this node since it started.
 *
 * The first request of every agent borrows, and the first of all of them would pay for the way as well:
 * nothing on it has run before, and two leases would be asked for one after the other, since each request
 * holds of the overrun account too. On a busy machine that is longer than a request may wait. So a node
 * borrows that share by itself before it says that it is ready. A no is an answer as well. Rates go another way
 * from there, and the first question reads all of them out of the policy: that one is asked beside it.
 */
export class LedgerWay {
  readonly #clock: Clock;
  readonly #borrow: (need: Cost) => Promise<TopUpAnswer>;
  readonly #askRate: () => Promise<unknown>;
  #isAsking = false;
  #isStopped = false;
  #isOpen = false;
  #cancel: Cancel = () => undefined;

  /**
   * @param borrow Brings the node's share of the overrun account up to so much. Never rejects.
   * @param askRate Asks about a rate and changes nothing; what is answered does not matter. Never rejects.
   */
  constructor(
    clock: Clock,
    borrow: (need: Cost) => Promise<TopUpAnswer>,
    askRate: () => Promise<unknown>,
  ) {
    this.#clock = clock;
    this.#borrow = borrow;
    this.#askRate = askRate;
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** Asks until there is an answer. There is a policy by now: without one the ledger knows no account. */
  find(): void {
    if (this.#isAsking) return;
    this.#isAsking = true;
    void this.#ask();
  }

  stop(): void {
    this.#isStopped = true;
    this.#cancel();
  }

  async #ask(): Promise<void> {
    const [{ outcome }] = await Promise.all([this.#borrow(LEAST), this.#askRate()]);
    this.#isOpen = outcome !== "unavailable";
    if (this.#isOpen || this.#isStopped) return;
    this.#cancel = this.#clock.after(ASK_AGAIN_MS, () => void this.#ask());
  }
}
