import { create } from "@bufbuild/protobuf";
import { systemClock } from "../../adapters/system-clock.ts";
import { errorMessage } from "../../ports/error-message.ts";
import { AccountLimitSchema } from "../../proto/gen/altrace/v1/record_pb.ts";
import { parseScope } from "../../proto/ids.ts";
import { budgetAmount, budgetUnit, shownAmount } from "../budget-amount.ts";
import { type CommandContext, CommandError } from "../command-context.ts";
import { limitsWith } from "../limits-with.ts";
import { carrySigned } from "../operator-record.ts";
import { planWriteBack, type RaisedLimits } from "../write-back-plan.ts";

/**
 * `altrace budget write-back <account> <unit> <amount>`: what a crash left charged and nobody spent can be
 * spent again (docs/adr/0036). By signed limits, each of them in the coordinator's log.
 */
export async function writeBackBudget(
  context: CommandContext,
  account: string,
  of: { readonly unit: string; readonly amount: string },
): Promise<void> {
  const accounts = accountsAbove(account);
  const unit = budgetUnit(of.unit);
  const amount = budgetAmount(unit, of.amount);
  if (amount === 0) throw new CommandError("nothing is to be written back", 2);
  const { calls } = context.coordinator();
  const rows = [];
  for (const one of accounts) rows.push((await calls.getLedger({ account: one })).accounts);
  const plan = planWriteBack(rows, { unit, amount: BigInt(amount) });
  if ("most" in plan) {
    const most = shownAmount(unit, plan.most);
    throw new CommandError(
      `${account} was charged ${most} ${of.unit}: no more can be written back`,
    );
  }
  const done: RaisedLimits[] = [];
  for (const raised of plan) {
    const limits = raised.limits.map((one) => create(AccountLimitSchema, { ...one, unit }));
    try {
      await carrySigned(
        context,
        `budget/${raised.account}`,
        (current) => limitsWith(limits, current, systemClock.nowMs()),
        (record) => calls.setLimit({ record }),
      );
    } catch (error) {
      throw new CommandError(`${errorMessage(error)}${soFar(done)}`);
    }
    done.push(raised);
  }
  context.output.result({ account, unit: of.unit, amount, limits: plan }, () => {
    for (const raised of plan) {
      for (const { window, limit } of raised.limits) {
        const shown = shownAmount(unit, limit);
        context.output.line(`${raised.account} ${window}: limit is now ${shown} ${of.unit}`);
      }
    }
  });
}

/** The account, and those that pay with it. */
function accountsAbove(account: string): readonly string[] {
  if (account === "overrun") return [account];
  const scope = parseScope(account);
  if (scope?.kind === "agent") return [account, `team/${scope.team}`];
  if (scope?.kind === "team") return [account];
  throw new CommandError(
    `${account}: expected team/<t>, agent/<t>/<a> or overrun; a contract's money is its agent's`,
    2,
  );
}

/** Whoever asks again would raise these once more. */
function soFar(done: readonly RaisedLimits[]): string {
  if (done.length === 0) return "";
  const names = done.map(({ account }) => account).join(", ");
  return `; raised already: ${names} (altrace budget top-up sets the others)`;
}
