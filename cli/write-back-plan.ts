import type { Account } from "../proto/gen/altrace/v1/coordinator_service_pb.ts";
import type { Unit } from "../proto/gen/altrace/v1/record_pb.ts";

/** New limits of one account. Amounts in the unit's integers. */
export type RaisedLimits = {
  readonly account: string;
  readonly limits: readonly { readonly window: string; readonly limit: bigint }[];
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
        return back > 0n ? [{ window: row.window, limit: row.limit + back }] : [];
      });
    const [first] = own;
    if (first !== undefined && limits.length > 0)
      raised.unshift({ account: first.account, limits });
  }
  return amount > most ? { most } : raised;
}
