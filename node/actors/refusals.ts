import type { Clock } from "../../ports/clock.ts";
import type { StandingRefusal, TopUpAnswer } from "../thread-messages.ts";
import { isNothing, lendable, minus } from "./account-book.ts";
import type { AgentState } from "./agent-state.ts";
import type { Seat } from "./seat.ts";

/**
 * Numbers the ledger's noes that loops may repeat, and ends them.
 *
 * A no ends before anything that could make it untrue takes effect: another answer of the ledger,
 * limits that changed, money that left the row. What a loop can see for itself, its row's balance and
 * the time, ends nothing.
 */
export class Refusals {
  readonly #clock: Clock;
  #lastNo = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The answer, with what is needed to repeat it where the ledger's no still stands. */
  withStanding(seat: Seat, answer: TopUpAnswer): TopUpAnswer {
    const nowNs = this.#clock.monoNs();
    const { refusal, book } = seat.state;
    if (answer.outcome !== "exhausted" || refusal === undefined) return answer;
    if (nowNs >= refusal.untilNs) return answer;
    if (seat.refusalNo === 0) {
      this.#lastNo = (this.#lastNo + 1) | 0 || 1;
      seat.refusalNo = this.#lastNo;
      seat.till.setRefusal(seat.refusalNo);
    }
    const { need, available, shortfall, untilNs, returned } = refusal;
    const standing: StandingRefusal = {
      no: seat.refusalNo,
      untilNs,
      returned: returned | 0,
      need,
      available,
      lendable: lendable(book, nowNs),
      shortfall,
    };
    return { ...answer, refusal: standing };
  }

  /** The account's state is about to change. */
  moved(seat: Seat, next: AgentState): void {
    if (seat.refusalNo === 0) return;
    const nowNs = this.#clock.monoNs();
    const before = lendable(seat.state.book, nowNs);
    const isSame =
      next.refusal === seat.state.refusal && isNothing(minus(lendable(next.book, nowNs), before));
    if (!isSame) this.end(seat);
  }

  end(seat: Seat): void {
    if (seat.refusalNo === 0) return;
    seat.refusalNo = 0;
    seat.till.setRefusal(0);
  }
}
