import { create } from "@bufbuild/protobuf";
import { systemClock } from "../../adapters/system-clock.ts";
import { errorMessage } from "../../ports/error-message.ts";
import type { Account } from "../../proto/gen/altrace/v1/coordinator_service_pb.ts";
import { AccountLimitSchema, type Unit } from "../../proto/gen/altrace/v1/record_pb.ts";
import { parseScope } from "../../proto/ids.ts";
import { budgetAmount, budgetUnit, shownAmount } from "../budget-amount.ts";
import { type CommandContext, CommandError } from "../command-context.ts";
import { limitsWith } from "../limits-with.ts";
import { carrySigned } from "../operator-record.ts";
import {
  type PendingWriteBack,
  pendingPath,
  readPending,
  removePending,
  writePending,
} from "../pending-write-back.ts";
import { leftOfPlan, planWriteBack, type RaisedLimits } from "../write-back-plan.ts";

type Wish = { readonly account: string; readonly unit: string; readonly amount: number };

/**
 * `altrace budget write-back <account> <unit> <amount>`: what a crash left charged and nobody spent can be
 * spent again (docs/adr/0036). By signed limits, each of them in the coordinator's log.
 *
 * The limits are absolute and are kept in HOME before the first of them is signed: one that was broken off
 * goes on where it stood, and raises nothing twice.
 */
export async function writeBackBudget(
  context: CommandContext,
  account: string,
  of: { readonly unit: string; readonly amount: string },
): Promise<void> {
  const rows = await rowsOf(context, accountsAbove(account));
  const unit = budgetUnit(of.unit);
  const amount = budgetAmount(unit, of.amount);
  if (amount === 0) throw new CommandError("nothing is to be written back", 2);
  const wish = { account, unit: of.unit, amount };
  const { plan, left } = (await pendingOf(context, wish)) ?? begin(context, wish, { rows, unit });
  for (const raised of left) {
    const limits = raised.limits.map(({ window, limit }) =>
      create(AccountLimitSchema, { window, limit, unit }),
    );
    try {
      await carrySigned(
        context,
        `budget/${raised.account}`,
        (current) => limitsWith(limits, current, systemClock.nowMs()),
        (record) => context.coordinator().calls.setLimit({ record }),
      );
    } catch (error) {
      const again = "; ask for the same again, and it goes on from here";
      throw new CommandError(`${raised.account}: ${errorMessage(error)}${again}`);
    }
  }
  removePending(context.home);
  context.output.result({ account, unit: of.unit, amount, limits: plan }, () => {
    for (const raised of plan) {
      for (const { window, limit } of raised.limits) {
        const shown = shownAmount(unit, limit);
        context.output.line(`${raised.account} ${window}: limit is now ${shown} ${of.unit}`);
      }
    }
  });
}

type Planned = { readonly plan: readonly RaisedLimits[]; readonly left: readonly RaisedLimits[] };

function begin(
  { home }: CommandContext,
  wish: Wish,
  { rows, unit }: { readonly rows: readonly (readonly Account[])[]; readonly unit: Unit },
): Planned {
  const plan = planWriteBack(rows, { unit, amount: BigInt(wish.amount) });
  if ("most" in plan) {
    const most = shownAmount(unit, plan.most);
    throw new CommandError(
      `${wish.account} was charged ${most} ${wish.unit}: no more can be written back`,
    );
  }
  writePending(home, { ...wish, plan });
  return { plan, left: plan };
}

/** What an earlier try of the same has left to do. Undefined: none was begun. */
async function pendingOf(context: CommandContext, wish: Wish): Promise<Planned | undefined> {
  const pending = readPending(context.home);
  if (pending === undefined) return undefined;
  const { account, unit, amount, plan } = pending;
  const rows = await rowsOf(
    context,
    plan.map((one) => one.account),
  );
  const { left, isBegun, changed } = leftOfPlan(plan, rows.flat(), budgetUnit(unit));
  const isSame = account === wish.account && unit === wish.unit && amount === wish.amount;
  if (!isBegun) return undefined;
  if (!isSame && left.length === 0) return undefined;
  if (!isSame) throw new CommandError(unfinished(context.home, pending));
  if (changed === undefined) return { plan, left };
  const { window } = changed;
  throw new CommandError(
    `${changed.account} ${window}: its limit was set by somebody else since this was begun; compare limits ` +
      `(altrace budget show), then remove ${pendingPath(context.home)}`,
  );
}

function unfinished(home: string, { account, unit, amount }: PendingWriteBack): string {
  const shown = shownAmount(budgetUnit(unit), BigInt(amount));
  return `a write-back of ${shown} ${unit} to ${account} has not ended: ask for it again, or remove ${pendingPath(home)}`;
}

async function rowsOf(
  context: CommandContext,
  accounts: readonly string[],
): Promise<readonly (readonly Account[])[]> {
  const { calls } = context.coordinator();
  const rows: Account[][] = [];
  for (const account of accounts) rows.push((await calls.getLedger({ account })).accounts);
  return rows;
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
