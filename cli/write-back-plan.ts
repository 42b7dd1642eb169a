import type { Account } from "../proto/gen/altrace/v1/coordinator_service_pb.ts";
import type { Unit } from "../proto/gen/altrace/v1/record_pb.ts";

/** New limits of one account, and those of before. Amounts in the unit's integers. */
export type RaisedLimits = {
  readonly account: string;
  readonly limits: readonly {
    readonly window: string;
    readonly before: bigint;
    readonly limit: bigint;
  }[];
};

/**
 * Which limits rise, and to what, so that an amount which was charged can be spent once more.
 *
 * Each limited window of the account and of those above it rises by the amount, but by no more than was
 * charged there: a window that began after the charge has nothing to give back.
 *
 * @param rows The ledger's rows: of the account, then of each above it.
 * @returns In the order in which they are to be signed, the account itself last: until then it can spend
 *   nothing more, whatever goes wrong. Or the most that can be written back, where the amount is more.
 */
export function planWriteBack(
  rows: readonly (readonly Account[])[],
  { unit, amount }: { readonly unit: Unit; readonly amount: bigint },
): readonly RaisedLimits[] | { readonly most: bigint } {
  const raised: RaisedLimits[] = [];
  let most = 0n;
  for (const [depth, own] of rows.entries()) {
    const limits = own
      .filter((row) => row.unit === unit)
      .flatMap((row) => {
        const charged = row.spent + row.children;
        if (depth === 0 && charged > most) most = charged;
        const back = charged < amount ? charged : amount;
        const { window, limit: before } = row;
        return back > 0n ? [{ window, before, limit: before + back }] : [];
      });
    const [first] = own;
    if (first !== undefined && limits.length > 0)
      raised.unshift({ account: first.account, limits });
  }
  return amount > most ? { most } : raised;
}

/** What of a plan is still to be done. */
export type PlanLeft = {
  readonly left: readonly RaisedLimits[];
  readonly isBegun: boolean;
  /** A limit that is neither as it was nor as it was to become: somebody else has set it. */
  readonly changed: { readonly account: string; readonly window: string } | undefined;
};

/**
 * Where a plan stands that was not carried out to its end, so that asking again raises nothing twice.
 * A window that has ended needs nothing more.
 *
 * @param rows The ledger's rows of now, of all accounts of the plan.
 */
export function leftOfPlan(
  plan: readonly RaisedLimits[],
  rows: readonly Account[],
  unit: Unit,
): PlanLeft {
  const left: RaisedLimits[] = [];
  let isBegun = false;
  let changed: PlanLeft["changed"];
  for (const { account, limits } of plan) {
    const open = limits.filter(({ window, before, limit }) => {
      const now = rows.find(
        (row) => row.account === account && row.window === window && row.unit === unit,
      )?.limit;
      if (now === limit) isBegun = true;
      else if (now !== undefined && now !== before) changed ??= { account, window };
      return now === before;
    });
    if (open.length > 0) left.push({ account, limits: open });
  }
  return { left, isBegun, changed };
}
