import { create } from "@bufbuild/protobuf";
import { formatUsdMicros, parseUsdMicros } from "../../policy/money.ts";
import { AccountLimitSchema, LimitSchema, Unit } from "../../proto/gen/altrace/v1/record_pb.ts";
import { isAccount } from "../../proto/ids.ts";
import { type CommandContext, CommandError } from "../command-context.ts";
import { carrySigned } from "../operator-record.ts";
import { table } from "../output.ts";

const UNIT_WORDS = { usd: Unit.USD_MICROS, tokens: Unit.TOKENS, calls: Unit.CALLS } as const;

/** `altrace budget show [account]`: limits, what is lent to nodes, what was spent. */
export async function showBudget(context: CommandContext, account: string): Promise<void> {
  if (account !== "" && !isAccount(account)) throw malformed(account);
  const { accounts } = await context.coordinator().calls.getLedger({ account });
  context.output.result({ accounts }, () => {
    const rows = accounts.map((one) => [
      one.account,
      one.window,
      unitWord(one.unit),
      amount(one.unit, one.limit),
      amount(one.unit, one.available),
      amount(one.unit, one.reserved),
      amount(one.unit, one.spent),
    ]);
    const head = ["ACCOUNT", "WINDOW", "UNIT", "LIMIT", "AVAILABLE", "LENT", "SPENT"];
    context.output.line(table([head, ...rows]));
  });
}

/** `altrace budget top-up <account> <window> <unit> <limit>`: a new absolute limit for one window. */
export async function topUpBudget(
  context: CommandContext,
  account: string,
  of: { readonly window: string; readonly unit: string; readonly limit: string },
): Promise<void> {
  if (!isAccount(account)) throw malformed(account);
  const unit = UNIT_WORDS[of.unit as keyof typeof UNIT_WORDS];
  if (unit === undefined) throw new CommandError("unit: expected usd, tokens or calls", 2);
  const limit = unit === Unit.USD_MICROS ? parseUsdMicros(of.limit) : wholeNumber(of.limit);
  if (limit === undefined) {
    throw new CommandError(`${of.limit}: expected an amount such as 12.50, or a whole number`, 2);
  }
  const value = create(AccountLimitSchema, { unit, window: of.window, limit: BigInt(limit) });
  const op = create(LimitSchema, { of: { case: "account", value } });
  const { calls } = context.coordinator();
  const { command } = await carrySigned(
    context,
    `budget/${account}`,
    { case: "limit", value: op },
    (record) => calls.setLimit({ record }),
  );
  context.output.result({ command }, () =>
    context.output.line(`${account} ${of.window}: limit is now ${of.limit} ${of.unit}`),
  );
}

function malformed(account: string): CommandError {
  return new CommandError(`${account}: expected team/<t>, agent/<t>/<a> or overrun`, 2);
}

function unitWord(unit: Unit): string {
  return Object.entries(UNIT_WORDS).find(([, one]) => one === unit)?.[0] ?? "?";
}

function amount(unit: Unit, value: bigint): string {
  return unit === Unit.USD_MICROS ? formatUsdMicros(Number(value)) : String(value);
}

function wholeNumber(text: string): number | undefined {
  return /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}
