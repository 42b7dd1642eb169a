import type { RateLimit, RateMetric } from "./compiled-policy.ts";
import { type Field, readInteger, readMap, readParsed } from "./field-reader.ts";
import { parseUsdMicros } from "./money.ts";
import { ACCOUNT_WINDOWS, type AccountUnit, type Budget, type Rate } from "./policy-document.ts";
import { parseRate, RATE_GRAMMAR, USD_RATE_GRAMMAR } from "./rate-grammar.ts";

/** Units and metrics as the file names them; money is the only one whose unit is not its name. */
export const BUDGET_FIELDS = { usd: "usd_micros", tokens: "tokens", calls: "calls" } as const;
export const RATE_FIELDS = { requests: "requests", tokens: "tokens", usd: "usd_micros" } as const;

const MONEY_GRAMMAR = 'an amount in US dollars such as "12.50", of at most six decimal places';
const COUNT = { min: 0, max: Number.MAX_SAFE_INTEGER };

/** Reads `{usd: {day: "5.00"}, tokens: {month: 2000000}}`. */
export function readBudget(field: Field): Budget | undefined {
  const map = readMap(field, Object.keys(BUDGET_FIELDS));
  if (map === undefined) return undefined;
  const budget: Budget[number][] = [];
  for (const [name, unit] of Object.entries(BUDGET_FIELDS)) {
    const windows = map.get(name);
    if (windows !== undefined) budget.push(...readWindows(windows, unit));
  }
  return budget;
}

function readWindows(field: Field, unit: AccountUnit): Budget {
  const map = readMap(field, ACCOUNT_WINDOWS);
  const budget: Budget[number][] = [];
  let shorter: Budget[number] | undefined;
  for (const window of ACCOUNT_WINDOWS) {
    const amount = map?.get(window);
    const limit = amount && readAmount(amount, unit);
    if (amount === undefined || limit === undefined) continue;
    if (shorter !== undefined && shorter.limit > limit) {
      const message = `is below the limit of the ${shorter.window}, which can never be reached`;
      amount.findings.error(amount, "dead_rule", message);
    }
    shorter = { unit, window, limit };
    budget.push(shorter);
  }
  return budget;
}

function readAmount(field: Field, unit: AccountUnit): number | undefined {
  return unit === "usd_micros"
    ? readParsed(field, parseUsdMicros, MONEY_GRAMMAR)
    : readInteger(field, COUNT);
}

/** Reads `{requests: "60/minute burst 10", usd: "1.50/hour"}`. */
export function readRate(field: Field): Rate | undefined {
  const map = readMap(field, Object.keys(RATE_FIELDS));
  if (map === undefined) return undefined;
  return Object.entries(RATE_FIELDS).flatMap(([name, metric]) => {
    const text = map.get(name);
    const rate = text && readRateLimit(text, metric);
    return rate === undefined ? [] : [rate];
  });
}

function readRateLimit(field: Field, metric: RateMetric): RateLimit | undefined {
  const grammar = metric === "usd_micros" ? USD_RATE_GRAMMAR : RATE_GRAMMAR;
  return readParsed(field, (text) => parseRate(metric, text), grammar);
}
