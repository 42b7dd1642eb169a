import type { AccountNews, BudgetUse } from "../proto/gen/altrace/v1/mesh_pb.ts";
import { parseScope } from "../proto/ids.ts";
import { writeUnit } from "./amounts.ts";
import { LedgerFault } from "./ledger-actor.ts";
import type { LedgerDoor } from "./ledger-door.ts";
import type { LedgerRow } from "./ledger-row.ts";
import { kindOfWindow, windowEndMs } from "./ledger-window.ts";
import type { Standings } from "./standings.ts";

/**
 * What a node is told of an agent's account with every answer about it: how much of its own limits is
 * spent over all nodes, and where the other nodes put it. `undefined` for accounts of nobody.
 */
export async function accountNews(
  of: {
    readonly ledger: Pick<LedgerDoor, "rows">;
    readonly standings: Standings;
    readonly nowMs: number;
  },
  account: string,
  node: string,
): Promise<AccountNews | undefined> {
  if (parseScope(account)?.kind !== "agent") return undefined;
  return newsWith(of, await rowsOf(of.ledger, account), account, node);
}

/**
 * The same, from rows that are at hand.
 *
 * @param rows Undefined: they cannot be read now.
 */
export function newsWith(
  of: { readonly standings: Standings; readonly nowMs: number },
  rows: readonly LedgerRow[] | undefined,
  account: string,
  node: string,
): AccountNews | undefined {
  const scope = parseScope(account);
  if (scope?.kind !== "agent") return undefined;
  const others = of.standings.highest(`${scope.team}/${scope.agent}`, { except: node });
  const uses = rows?.map((row) => budgetUse(row, of.nowMs)) ?? [];
  return { $typeName: "altrace.v1.AccountNews", others, hasUses: rows !== undefined, uses };
}

async function rowsOf(ledger: Pick<LedgerDoor, "rows">, account: string) {
  try {
    return await ledger.rows(account);
  } catch (error) {
    // The answer itself stands; that its rows cannot be read now is no reason to lose it.
    if (error instanceof LedgerFault) return undefined;
    throw error;
  }
}

/** One limited row, as nodes and operators see it. */
export function budgetUse({ unit, window, limit = 0, spent }: LedgerRow, nowMs: number): BudgetUse {
  const kind = kindOfWindow(window);
  const endsAtMs = kind === undefined ? 0 : windowEndMs(kind, nowMs);
  return {
    $typeName: "altrace.v1.BudgetUse",
    unit: writeUnit(unit),
    window,
    limit: BigInt(Math.max(0, limit)),
    spent: BigInt(spent),
    endsAtMs: Number.isFinite(endsAtMs) ? BigInt(endsAtMs) : 0n,
  };
}
