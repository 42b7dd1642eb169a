import type { LedgerAmounts, LedgerUnit } from "./ledger-window.ts";

/** An amount of each unit. */
export function eachUnit(amountOf: (unit: LedgerUnit) => number): LedgerAmounts {
  return {
    usd_micros: amountOf("usd_micros"),
    tokens: amountOf("tokens"),
    calls: amountOf("calls"),
  };
}

/** The same with the other sign. */
export function negative(amounts: LedgerAmounts): LedgerAmounts {
  return eachUnit((unit) => -amounts[unit]);
}
