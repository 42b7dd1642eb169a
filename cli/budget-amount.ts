import { formatUsdMicros, parseUsdMicros } from "../policy/money.ts";
import { Unit } from "../proto/gen/altrace/v1/record_pb.ts";
import { CommandError } from "./command-context.ts";

const UNIT_WORDS = { usd: Unit.USD_MICROS, tokens: Unit.TOKENS, calls: Unit.CALLS } as const;

/** A budget's unit by its word. Ends the command where it is none. */
export function budgetUnit(word: string): Unit {
  const unit = UNIT_WORDS[word as keyof typeof UNIT_WORDS];
  if (unit === undefined) throw new CommandError("unit: expected usd, tokens or calls", 2);
  return unit;
}

/** The word of a unit, `?` where it has none. */
export function unitWord(unit: Unit): string {
  return Object.entries(UNIT_WORDS).find(([, one]) => one === unit)?.[0] ?? "?";
}

/** What an operator wrote, in the unit's integers. Ends the command where it is no amount. */
export function budgetAmount(unit: Unit, text: string): number {
  const amount = unit === Unit.USD_MICROS ? parseUsdMicros(text) : wholeNumber(text);
  if (amount !== undefined) return amount;
  throw new CommandError(`${text}: expected an amount such as 12.50, or a whole number`, 2);
}

/** As operators write it. */
export function shownAmount(unit: Unit, value: bigint): string {
  return unit === Unit.USD_MICROS ? formatUsdMicros(Number(value)) : String(value);
}

function wholeNumber(text: string): number | undefined {
  return /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}
