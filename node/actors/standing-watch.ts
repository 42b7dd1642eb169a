import type { CompiledPolicy } from "../../policy/compiled-policy.ts";
import type { Clock } from "../../ports/clock.ts";
import { totalScore } from "./cause-scores.ts";
import { isGrave, type LadderChange, type LadderState } from "./ladder.ts";
import type { Seat } from "./seat.ts";

/** The budget is spent, so no request will bring word of it. */
const BLOCK_RUNG = 3;
/** Ticks for which the ledger is asked how much of a budget is spent after limits changed. */
const POLLS_AFTER_LIMITS = 3;

export type StandingWatchDeps = {
  readonly clock: Clock;
  readonly policy: () => CompiledPolicy | undefined;
  readonly onStanding: (agentId: string, change: LadderChange, scoreMilli: number) => void;
  /** Tells the mesh of the agent, and asks what it knows. */
  readonly report: (seat: Seat) => void;
};

/** What the host does about where agents stand: makes it felt, and keeps what the mesh says of it fresh. */
export class StandingWatch {
  readonly #deps: StandingWatchDeps;

  constructor(deps: StandingWatchDeps) {
    this.#deps = deps;
  }

  /** The change is stored: from here on requests meet it. */
  changed(seat: Seat, change: LadderChange): void {
    const { clock, policy, onStanding } = this.#deps;
    const { standing, scores } = seat.state.ladder;
    seat.till.setStanding(standing);
    // Other accounts are money alone: whoever spends it stands where its agent stands.
    if (!seat.account.startsWith("agent/")) return;
    const ladder = policy()?.ladder;
    const scoreMilli = ladder === undefined ? 0 : totalScore(scores, ladder, clock.nowMs());
    onStanding(seat.account.slice("agent/".length), change, scoreMilli);
  }

  /** The ledger hears of a new limit in its own time, so it is asked more than once. */
  limitsChanged(seat: Seat): void {
    if (seat.state.ladder.rung === BLOCK_RUNG) seat.pollTicks = POLLS_AFTER_LIMITS;
  }

  /** @param isReportTick Of few ticks: what need not be known at once is asked for in these. */
  tick(seat: Seat, isReportTick: boolean): void {
    const isDue = isReportTick && wantsNews(seat.state.ladder);
    if (seat.pollTicks === 0 && !isDue) return;
    seat.pollTicks = Math.max(0, seat.pollTicks - 1);
    this.#deps.report(seat);
  }
}

/**
 * Whoever is held by something that ends elsewhere has no requests that would bring word of its end;
 * and what is grave is reported again, since the coordinator forgets what nobody repeats.
 */
function wantsNews({ level, others, rung, killFor }: LadderState): boolean {
  const isHeld = others !== "normal" || rung === BLOCK_RUNG || killFor !== undefined;
  return isHeld || isGrave(level);
}
