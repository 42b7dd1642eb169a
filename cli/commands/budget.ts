import { create } from "@bufbuild/protobuf";
import { systemClock } from "../../adapters/system-clock.ts";
import { formatUsdMicros } from "../../policy/money.ts";
import type { OpenLease } from "../../proto/gen/altrace/v1/coordinator_service_pb.ts";
import { AccountLimitSchema } from "../../proto/gen/altrace/v1/record_pb.ts";
import { isAccount } from "../../proto/ids.ts";
import { budgetAmount, budgetUnit, shownAmount, unitWord } from "../budget-amount.ts";
import { type CommandContext, CommandError } from "../command-context.ts";
import { limitsWith } from "../limits-with.ts";
import { carrySigned } from "../operator-record.ts";
import { table } from "../output.ts";

/** `altrace budget show [account]`: limits, what is lent to nodes, what was spent. */
export async function showBudget(context: CommandContext, account: string): Promise<void> {
  if (account !== "" && !isAccount(account)) throw malformed(account);
  const { accounts, leases } = await context.coordinator().calls.getLedger({ account });
  context.output.result({ accounts, leases }, () => {
    const rows = accounts.map((one) => [
      one.account,
      one.window,
      unitWord(one.unit),
      shownAmount(one.unit, one.limit),
      shownAmount(one.unit, one.available),
      shownAmount(one.unit, one.reserved),
      shownAmount(one.unit, one.spent),
      shownAmount(one.unit, one.children),
    ]);
    const head = ["ACCOUNT", "WINDOW", "UNIT", "LIMIT", "AVAILABLE", "LENT", "SPENT", "BELOW"];
    context.output.line(table([head, ...rows]));
    if (leases.length > 0) context.output.line(leasesTable(leases));
  });
}

/** `altrace budget top-up <account> <window> <unit> <limit>`: a new absolute limit for one window. */
export async function topUpBudget(
  context: CommandContext,
  account: string,
  of: { readonly window: string; readonly unit: string; readonly limit: string },
): Promise<void> {
  if (!isAccount(account)) throw malformed(account);
  const unit = budgetUnit(of.unit);
  const limit = budgetAmount(unit, of.limit);
  const own = create(AccountLimitSchema, { unit, window: of.window, limit: BigInt(limit) });
  const { calls } = context.coordinator();
  const { command } = await carrySigned(
    context,
    `budget/${account}`,
    (current) => limitsWith([own], current, systemClock.nowMs()),
    (record) => calls.setLimit({ record }),
  );
  context.output.result({ command }, () =>
    context.output.line(`${account} ${of.window}: limit is now ${of.limit} ${of.unit}`),
  );
}

function malformed(account: string): CommandError {
  return new CommandError(
    `${account}: expected team/<t>, agent/<t>/<a>, contract/<id> or overrun`,
    2,
  );
}

/** What nodes may be spending; an expired one counts as spent until its node has said what it was. */
function leasesTable(leases: readonly OpenLease[]): string {
  const rows = leases.map((one) => [
    one.account,
    one.node,
    formatUsdMicros(Number(one.amount?.usdMicros ?? 0n)),
    String(one.amount?.tokens ?? 0n),
    String(one.amount?.calls ?? 0n),
    formatUsdMicros(Number(one.spent?.usdMicros ?? 0n)),
    one.expired ? "expired" : new Date(Number(one.deadlineMs)).toISOString(),
  ]);
  const head = ["LEASED BY", "NODE", "USD", "TOKENS", "CALLS", "USD REPORTED", "UNTIL"];
  return table([head, ...rows]);
}
