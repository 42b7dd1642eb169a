/** Money and ratios as people write them, and as integers. No value passes through a float. */

const MICROS_PER_USD = 1_000_000n;
const MONEY = /^(0|[1-9][0-9]{0,9})(?:\.([0-9]{1,6}))?$/;
const RATIO = /^(0|[1-9][0-9]{0,2})(?:\.([0-9]{1,3}))?$/;

/**
 * Reads US dollars such as `12.50` as micro-dollars.
 *
 * @returns `undefined` when it is not a plain decimal of at most six places, or over 2^53-1 micros.
 */
export function parseUsdMicros(text: string): number | undefined {
  const match = MONEY.exec(text);
  if (match === null) return undefined;
  const fraction = (match[2] ?? "").padEnd(6, "0");
  const micros = BigInt(match[1] as string) * MICROS_PER_USD + BigInt(fraction);
  return micros <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(micros) : undefined;
}

/** Writes micro-dollars as `parseUsdMicros` reads them, with at least two places. */
export function formatUsdMicros(micros: number): string {
  const whole = BigInt(micros) / MICROS_PER_USD;
  const fraction = String(BigInt(micros) % MICROS_PER_USD).padStart(6, "0");
  return `${whole}.${fraction.slice(0, 2)}${fraction.slice(2).replace(/0+$/, "")}`;
}

/** Reads a ratio such as `1.1` as thousandths; `undefined` when it has more than three places. */
export function parseMilli(text: string): number | undefined {
  const match = RATIO.exec(text);
  if (match === null) return undefined;
  return Number(match[1]) * 1000 + Number((match[2] ?? "").padEnd(3, "0"));
}

/** Writes thousandths as `parseMilli` reads them. */
export function formatMilli(milli: number): string {
  const fraction = String(milli % 1000)
    .padStart(3, "0")
    .replace(/0+$/, "");
  const whole = String(Math.floor(milli / 1000));
  return fraction === "" ? whole : `${whole}.${fraction}`;
}
