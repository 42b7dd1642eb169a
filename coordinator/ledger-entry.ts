import type { Lease } from "./ledger-lease.ts";
import { LEDGER_UNITS, type LedgerAmounts } from "./ledger-window.ts";

// What the ledger stored, read back. Each throws a TypeError for what this program does not write.

/** A lease from its stored form; it counts from now on this process's clock. */
export function leaseOf(id: string, value: unknown, monoMs: number): Lease {
  const names = ["epoch", "chain", "node", "bootId", "requestId", "amount", "unlimited", "ttlMs"];
  const stored = members(value, [...names, "grantedAtMs", "spent", "status"]);
  const status = (["open", "expired", "final"] as const).find((s) => s === stored.status);
  if (!status) throw new TypeError("status");
  const chain = texts(stored.chain);
  if (chain.length === 0) throw new TypeError("chain");
  return {
    id,
    epoch: count(stored.epoch),
    chain,
    node: text(stored.node),
    bootId: text(stored.bootId),
    requestId: text(stored.requestId),
    amount: amounts(stored.amount),
    unlimited: LEDGER_UNITS.filter((unit) => texts(stored.unlimited).includes(unit)),
    ttlMs: count(stored.ttlMs),
    grantedAtMs: count(stored.grantedAtMs),
    spent: amounts(stored.spent),
    status,
    knownSinceMs: monoMs,
  };
}

/** The members of a stored object: these and no others. */
export function members(value: unknown, names: readonly string[]): Record<string, unknown> {
  if (typeof value !== "object" || value === null) throw new TypeError("not an object");
  const found = Object.keys(value).sort().join();
  if (found !== [...names].sort().join()) throw new TypeError(`members ${found}`);
  return value as Record<string, unknown>;
}

function amounts(value: unknown): LedgerAmounts {
  const stored = members(value, LEDGER_UNITS);
  return {
    usd_micros: count(stored.usd_micros),
    tokens: count(stored.tokens),
    calls: count(stored.calls),
  };
}

/** A stored amount: a whole number from 0 to 2^53-1. */
export function count(value: unknown): number {
  if (!Number.isSafeInteger(value) || (value as number) < 0) throw new TypeError("not a count");
  return value as number;
}

export function text(value: unknown): string {
  if (typeof value !== "string") throw new TypeError("not a text");
  return value;
}

function texts(value: unknown): string[] {
  if (!Array.isArray(value)) throw new TypeError("not a list");
  return value.map(text);
}
