import assert from "node:assert/strict";
import type { Cost } from "../decision/facts.ts";
import { ROW_LONG } from "./layout.ts";
import { isRetiredSince, type RowRef, rowLong } from "./rows.ts";
import type { Table } from "./table.ts";

// The control thread's side of the accounts: it lends to rows what it has leased, and takes it back.
// What it lends is on its disk before the call; what it took back is written there after it.

/** Adds to the row's balances. The caller has pinned the row, or the money may reach another agent. */
export function lend(table: Table, row: number, amount: Cost): void {
  assert(
    amount.usdMicros >= 0n && amount.tokens >= 0n && amount.calls >= 0n,
    "what is lent is not negative",
  );
  const first = rowLong(table, row);
  Atomics.add(table.longs, first + ROW_LONG.usd, amount.usdMicros);
  Atomics.add(table.longs, first + ROW_LONG.tokens, amount.tokens);
  Atomics.add(table.longs, first + ROW_LONG.calls, amount.calls);
}

/** Adds to the node's overrun account. */
export function lendOverrun(table: Table, micros: bigint): void {
  assert(micros >= 0n, "what is lent is not negative");
  Atomics.add(table.longs, table.layout.overrunAt, micros);
}

/** Empties the row's balances and returns what was in them. Open holds come back to the row later. */
export function takeBack(table: Table, row: number): Cost {
  const first = rowLong(table, row);
  return {
    usdMicros: Atomics.exchange(table.longs, first + ROW_LONG.usd, 0n),
    tokens: Atomics.exchange(table.longs, first + ROW_LONG.tokens, 0n),
    calls: Atomics.exchange(table.longs, first + ROW_LONG.calls, 0n),
  };
}

/**
 * The same for a row that was freed, by its last generation; all zero when it serves somebody else.
 *
 * A retired row is not given away while it holds a balance, so either this finds that balance or there
 * was none.
 */
export function takeBackRetired(table: Table, ref: RowRef): Cost {
  if (!isRetiredSince(table, ref)) return { usdMicros: 0n, tokens: 0n, calls: 0n };
  return takeBack(table, ref.row);
}

/** Empties the overrun account and returns what was in it. */
export function takeBackOverrun(table: Table): bigint {
  return Atomics.exchange(table.longs, table.layout.overrunAt, 0n);
}

/** What is spendable now; each unit is read on its own. */
export function balance(table: Table, row: number): Cost {
  const first = rowLong(table, row);
  return {
    usdMicros: Atomics.load(table.longs, first + ROW_LONG.usd),
    tokens: Atomics.load(table.longs, first + ROW_LONG.tokens),
    calls: Atomics.load(table.longs, first + ROW_LONG.calls),
  };
}

export function overrunBalance(table: Table): bigint {
  return Atomics.load(table.longs, table.layout.overrunAt);
}
