/** Rates as people write them: `60/minute burst 10`, or `1.50/hour` for money. */

import type { RateLimit, RateMetric } from "./compiled-policy.ts";
import { formatUsdMicros, parseUsdMicros } from "./money.ts";

export const RATE_GRAMMAR = 'a rate such as "60/minute" or "60/minute burst 10"';
export const USD_RATE_GRAMMAR = 'a rate such as "1.50/hour" or "1.50/hour burst 0.50"';

const WINDOW_MS = { second: 1000, minute: 60_000, hour: 3_600_000, day: 86_400_000 } as const;
const RATE = /^([0-9.]{1,20})\/(second|minute|hour|day)(?: burst ([0-9.]{1,20}))?$/;
const COUNT = /^[1-9][0-9]{0,15}$/;

/**
 * One unit comes back no faster than this, nanoseconds: buckets count time in thousandths of them,
 * and a unit worth less than a thousand of those would be rounded by more than a thousandth.
 */
const UNIT_NS_MIN = 1;
/** A full bucket holds at most this much time, so that its cell's 64 bits suffice by far. */
const BURST_MS_MAX = 31 * WINDOW_MS.day;

/**
 * Reads a rate. Without `burst` the bucket holds one window's amount, so that a whole window's
 * worth may come at once.
 *
 * @returns `undefined` when it is malformed, zero, or beyond what a bucket keeps exactly.
 */
export function parseRate(metric: RateMetric, text: string): RateLimit | undefined {
  const match = RATE.exec(text);
  if (match === null) return undefined;
  const read = metric === "usd_micros" ? parseUsdMicros : parseCount;
  const amount = read(match[1] as string);
  const burst = match[3] === undefined ? amount : read(match[3]);
  const windowMs = WINDOW_MS[match[2] as keyof typeof WINDOW_MS];
  if (!amount || !burst) return undefined;
  const exact = BigInt(windowMs) * 1_000_000n >= BigInt(amount) * BigInt(UNIT_NS_MIN);
  const brief = BigInt(burst) * BigInt(windowMs) <= BigInt(amount) * BigInt(BURST_MS_MAX);
  return exact && brief ? { metric, amount, windowMs, burst } : undefined;
}

/** Writes a rate as `parseRate` reads it. */
export function formatRate(rate: RateLimit): string {
  const write = rate.metric === "usd_micros" ? formatUsdMicros : String;
  const window = Object.entries(WINDOW_MS).find(([, ms]) => ms === rate.windowMs);
  if (window === undefined) throw new RangeError(`no window has ${rate.windowMs} ms`);
  return `${write(rate.amount)}/${window[0]} burst ${write(rate.burst)}`;
}

function parseCount(text: string): number | undefined {
  const count = COUNT.test(text) ? Number(text) : undefined;
  return count !== undefined && Number.isSafeInteger(count) ? count : undefined;
}
