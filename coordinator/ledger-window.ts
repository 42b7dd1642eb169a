/** Units that the ledger counts: millionths of a US dollar, tokens, calls. Integers. */
export const LEDGER_UNITS = ["usd_micros", "tokens", "calls"] as const;
export type LedgerUnit = (typeof LEDGER_UNITS)[number];

/** An amount of each unit. Integers from 0 to 2^53-1. */
export type LedgerAmounts = { readonly [U in LedgerUnit]: number };

export const NO_AMOUNTS: LedgerAmounts = { usd_micros: 0, tokens: 0, calls: 0 };

/** Spans that limits are given for. Calendar windows are those of UTC. */
export const WINDOW_KINDS = ["total", "month", "day", "hour"] as const;
export type WindowKind = (typeof WINDOW_KINDS)[number];

const HOUR_MS = 3_600_000;
/** Characters of an ISO timestamp that name the window: `2026-11-22T09`. */
const ISO_LENGTH: { readonly [K in Exclude<WindowKind, "total">]: number } = {
  month: 7,
  day: 10,
  hour: 13,
};

/**
 * The name of the window that holds an instant: `total`, `month:2026-11`, `day:2026-11-22`,
 * `hour:2026-11-22T09`.
 *
 * @param atMs Milliseconds since the Unix epoch.
 */
export function windowAt(kind: WindowKind, atMs: number): string {
  const hour = Math.floor(atMs / HOUR_MS);
  if (hour !== named.hour) named = { hour, names: namesAt(atMs) };
  return named.names[kind];
}

/** The windows that were named last: thousands of leases in a row are of the same hour. */
let named = { hour: Number.NaN, names: namesAt(0) };

function namesAt(atMs: number): { readonly [K in WindowKind]: string } {
  const iso = new Date(atMs).toISOString();
  const nameOf = (kind: Exclude<WindowKind, "total">) =>
    `${kind}:${iso.slice(0, ISO_LENGTH[kind])}`;
  return { total: "total", month: nameOf("month"), day: nameOf("day"), hour: nameOf("hour") };
}

/**
 * The first instant after the window that holds `atMs`, ms since the Unix epoch; Infinity for `total`.
 */
export function windowEndMs(kind: WindowKind, atMs: number): number {
  const at = new Date(atMs);
  const [year, month, day] = [at.getUTCFullYear(), at.getUTCMonth(), at.getUTCDate()];
  switch (kind) {
    case "total":
      return Number.POSITIVE_INFINITY;
    case "month":
      return Date.UTC(year, month + 1);
    case "day":
      return Date.UTC(year, month, day + 1);
    case "hour":
      return Date.UTC(year, month, day, at.getUTCHours() + 1);
  }
}

/** The kind of a window's name; `undefined` when it names none. */
export function kindOfWindow(window: string): WindowKind | undefined {
  // Of the windows that are named most: no look into the text.
  const { names } = named;
  for (const kind of WINDOW_KINDS) if (names[kind] === window) return kind;
  const text = window.slice(0, window.indexOf(":"));
  return WINDOW_KINDS.find((each) => each === text);
}
