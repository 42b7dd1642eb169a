import type { LadderPolicy } from "../../policy/compiled-policy.ts";
import type { Cost } from "../decision/facts.ts";

/**
 * One limited row of an agent's own account, as the ledger counts it.
 *
 * What a team spends is not the agent's doing: its teammates must not bring it to block, and what
 * the team cannot pay for is refused where the money is asked for.
 */
export type BudgetUse = {
  readonly unit: keyof Cost;
  /** The ledger's name of the window, such as `day:2026-11-22`. */
  readonly window: string;
  readonly limit: number;
  /** Spent on all nodes, and here since the ledger said so. */
  readonly spent: number;
  /** When the window ends, ms since the Unix epoch; 0: never. */
  readonly endsAtMs: number;
};

/** 0 to 3: nothing, warning, throttle, block. */
export type BudgetRung = 0 | 1 | 2 | 3;

const WHOLE_MILLI = 1_000;
/**
 * How far the share has to fall below a mark before its level is left. Shares rise with what is
 * spent and fall when a window ends, a limit is raised, or a crashed node accounts for its leases.
 */
export const BUDGET_HYSTERESIS_MILLI = 50;

/** The largest share that is spent of any row whose window goes on, thousandths, rounded down. */
export function largestShare(uses: readonly BudgetUse[], nowMs: number): number {
  return uses.reduce((most, use) => Math.max(most, shareOf(use, nowMs)), 0);
}

/** The share of one row, thousandths; 0 once its window is over. */
export function shareOf({ limit, spent, endsAtMs }: BudgetUse, nowMs: number): number {
  const isOver = endsAtMs !== 0 && nowMs >= endsAtMs;
  if (isOver || spent <= 0) return 0;
  return limit <= 0 ? WHOLE_MILLI : Math.floor((spent / limit) * WHOLE_MILLI);
}

/** What the share leads to. A rung that was reached is left only clearly below its mark. */
export function budgetRung(
  shareMilli: number,
  before: BudgetRung,
  { budgetMilli: [warning, throttle] }: Pick<LadderPolicy, "budgetMilli">,
): BudgetRung {
  if (shareMilli >= WHOLE_MILLI) return 3;
  // Of a spent budget any part that is there again can be spent: block ends at once.
  const isReached = (rung: BudgetRung, markMilli: number) =>
    shareMilli >= Math.max(1, before >= rung ? markMilli - BUDGET_HYSTERESIS_MILLI : markMilli);
  if (isReached(2, throttle)) return 2;
  return isReached(1, warning) ? 1 : 0;
}

/** The same rows after the agent spent this here. */
export function withSpent(
  uses: readonly BudgetUse[],
  spent: Cost,
  nowMs: number,
): readonly BudgetUse[] {
  return uses.map((use) => {
    const isOver = use.endsAtMs !== 0 && nowMs >= use.endsAtMs;
    return isOver ? use : { ...use, spent: use.spent + Number(spent[use.unit]) };
  });
}
