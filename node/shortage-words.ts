import { formatUsdMicros } from "../policy/money.ts";
import type { Shortfall } from "./actors/ledger-port.ts";
import type { Cost } from "./decision/facts.ts";

const UNITS = ["usdMicros", "tokens", "calls"] as const;

/** What was asked for and what would have fitted, in the units that were short. */
export function shortWords(asked: Cost, left: Cost): string {
  const short = UNITS.filter((unit) => left[unit] < asked[unit]);
  // Others were quicker: it fits by now, and the next request may have it.
  const shown = short.length === 0 ? (["usdMicros"] as const) : short;
  const list = (of: Cost) => shown.map((unit) => amountWords(of, unit)).join(" and ");
  return `asked for ${list(asked)}, ${list(left)} would have fitted`;
}

/** Which limit it is, and when its window ends; nothing where no one named it. */
export function endWords(shortfall: Shortfall | undefined): string[] {
  if (shortfall === undefined) return [];
  const { account, window, endsAtMs } = shortfall;
  if (endsAtMs === undefined) return [`the limit is that of ${account} in all, which has no end`];
  const kind = window.split(":")[0];
  return [
    `the limit is that of ${account} by the ${kind}, until ${new Date(endsAtMs).toISOString()}`,
  ];
}

function amountWords(cost: Cost, unit: keyof Cost): string {
  const amount = cost[unit];
  if (unit === "usdMicros") return `${formatUsdMicros(Number(amount))} USD`;
  if (unit === "tokens") return amount === 1n ? "1 token" : `${amount} tokens`;
  return amount === 1n ? "1 call" : `${amount} calls`;
}
