import { create, fromBinary } from "@bufbuild/protobuf";
import { systemClock } from "../../adapters/system-clock.ts";
import { accountLimitsOf } from "../../mesh/account-limits-of.ts";
import type { RecordOp } from "../../mesh/record-op.ts";
import { formatUsdMicros, parseUsdMicros } from "../../policy/money.ts";
import type { OpenLease } from "../../proto/gen/altrace/v1/coordinator_service_pb.ts";
import {
  type AccountLimit,
  AccountLimitSchema,
  AccountLimitsSchema,
  LimitSchema,
  RecordSchema,
  type SignedRecord,
  Unit,
} from "../../proto/gen/altrace/v1/record_pb.ts";
import { isAccount } from "../../proto/ids.ts";
import { type CommandContext, CommandError } from "../command-context.ts";
import { carrySigned } from "../operator-record.ts";
import { table } from "../output.ts";

const UNIT_WORDS = { usd: Unit.USD_MICROS, tokens: Unit.TOKENS, calls: Unit.CALLS } as const;

/** `altrace budget show [account]`: limits, what is lent to nodes, what was spent. */
export async function showBudget(context: CommandContext, account: string): Promise<void> {
  if (account !== "" && !isAccount(account)) throw malformed(account);
  const { accounts, leases } = await context.coordinator().calls.getLedger({ account });
  context.output.result({ accounts, leases }, () => {
    const rows = accounts.map((one) => [
      one.account,
      one.window,
      unitWord(one.unit),
      amount(one.unit, one.limit),
      amount(one.unit, one.available),
      amount(one.unit, one.reserved),
      amount(one.unit, one.spent),
      amount(one.unit, one.children),
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
  const unit = UNIT_WORDS[of.unit as keyof typeof UNIT_WORDS];
  if (unit === undefined) throw new CommandError("unit: expected usd, tokens or calls", 2);
  const limit = unit === Unit.USD_MICROS ? parseUsdMicros(of.limit) : wholeNumber(of.limit);
  if (limit === undefined) {
    throw new CommandError(`${of.limit}: expected an amount such as 12.50, or a whole number`, 2);
  }
  const own = create(AccountLimitSchema, { unit, window: of.window, limit: BigInt(limit) });
  const { calls } = context.coordinator();
  const { command } = await carrySigned(
    context,
    `budget/${account}`,
    (current) => limitsWith(own, current, systemClock.nowMs()),
    (record) => calls.setLimit({ record }),
  );
  context.output.result({ command }, () =>
    context.output.line(`${account} ${of.window}: limit is now ${of.limit} ${of.unit}`),
  );
}

/** The account's record says all that stands: the new limit, and the others whose window goes on. */
function limitsWith(own: AccountLimit, current: SignedRecord | undefined, nowMs: number): RecordOp {
  const before = current && fromBinary(RecordSchema, current.payload).op;
  const known = before?.case === "limit" ? accountLimitsOf(before.value) : [];
  const others = known.filter(({ unit, window }) => {
    const isOwn = unit === own.unit && window === own.window;
    return !isOwn && !isWindowOver(window, nowMs);
  });
  const value = create(AccountLimitsSchema, { limits: [...others, own] });
  return { case: "limit", value: create(LimitSchema, { of: { case: "accounts", value } }) };
}

/** Windows are named by the start of an ISO timestamp in UTC, so their names are in order of time. */
function isWindowOver(window: string, nowMs: number): boolean {
  const [, instance] = window.split(":", 2);
  const now = new Date(nowMs).toISOString();
  return instance !== undefined && instance < now.slice(0, instance.length);
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

function unitWord(unit: Unit): string {
  return Object.entries(UNIT_WORDS).find(([, one]) => one === unit)?.[0] ?? "?";
}

function amount(unit: Unit, value: bigint): string {
  return unit === Unit.USD_MICROS ? formatUsdMicros(Number(value)) : String(value);
}

function wholeNumber(text: string): number | undefined {
  return /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}
