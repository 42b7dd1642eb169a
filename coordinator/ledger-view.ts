import type { MessageInitShape } from "@bufbuild/protobuf";
import type {
  AccountSchema,
  GetLedgerResponseSchema,
  OpenLeaseSchema,
} from "../proto/gen/altrace/v1/coordinator_service_pb.ts";
import { writeAmounts, writeUnit } from "./amounts.ts";
import type { LedgerDoor } from "./ledger-door.ts";
import type { Lease } from "./ledger-lease.ts";
import type { LedgerRow } from "./ledger-row.ts";

/**
 * Where an account's money is, or everybody's: its rows, and the leases that they pay for.
 *
 * @param account Empty for all.
 */
export async function ledgerView(
  ledger: LedgerDoor,
  account: string,
): Promise<MessageInitShape<typeof GetLedgerResponseSchema>> {
  const [rows, leases] = await Promise.all([
    ledger.rows(account === "" ? undefined : account),
    ledger.openLeases(),
  ]);
  const shown = leases.filter(({ chain }) => account === "" || chain.includes(account));
  return { accounts: rows.map(accountOf), leases: shown.map(leaseOf) };
}

/**
 * What may be spent beyond budgets as it stands: what is charged to the overrun account, micro-dollars.
 * Undefined where this coordinator cannot know it.
 */
export async function exposureUsdMicros(ledger: LedgerDoor): Promise<number | undefined> {
  if (!ledger.isLed) return undefined;
  try {
    const rows = await ledger.rows("overrun");
    const row = rows.find(({ unit, window }) => unit === "usd_micros" && window === "total");
    return row && row.reserved + row.spent;
  } catch {
    // The ledger tells its own faults; a scrape must not end with them.
    return undefined;
  }
}

function accountOf(row: LedgerRow): MessageInitShape<typeof AccountSchema> {
  return {
    account: row.account,
    unit: writeUnit(row.unit),
    window: row.window,
    limit: BigInt(row.limit ?? 0),
    // Below zero after a limit was lowered: there is no less than nothing to lend.
    available: BigInt(Math.max(0, row.available)),
    reserved: BigInt(row.reserved),
    spent: BigInt(row.spent),
    children: BigInt(row.children),
  };
}

function leaseOf(lease: Lease): MessageInitShape<typeof OpenLeaseSchema> {
  return {
    leaseId: lease.id,
    account: lease.chain[0] ?? "",
    node: lease.node,
    amount: writeAmounts(lease.amount),
    spent: writeAmounts(lease.spent),
    grantedAtMs: BigInt(lease.grantedAtMs),
    deadlineMs: BigInt(Math.floor(lease.grantedAtMs + lease.ttlMs)),
    expired: lease.status === "expired",
  };
}
