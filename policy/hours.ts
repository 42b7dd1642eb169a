import type { HoursWindow } from "./compiled-policy.ts";

/** Minutes of a week; windows lie within 0 (Monday 00:00) and this. */
export const WEEK_MINUTES = 10_080;

const DAYS: ReadonlyMap<string, number> = new Map(
  ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"].map((day, i) => [day, i]),
);
const MINUTE_MS = 60_000;

/** What a zone's clock shows, and the minute it was last asked for. */
type ZoneClock = { readonly format: Intl.DateTimeFormat; atMinute: number; minuteOfWeek: number };

// Making a formatter costs 50 us and asking it 2 us, and all requests of one minute get the same
// answer. A zone's entry only repeats what Intl says, so this cache cannot be seen from outside.
const ZONES = new Map<string, ZoneClock>();

/**
 * True when `nowMs` lies in every one of `windows`. No windows: no bound.
 *
 * The local minute of the week is a function of the instant alone, so this needs no special case
 * for a clock that is put forward or back: a minute that is shown twice is inside both times, and
 * one that is skipped never comes.
 *
 * @param nowMs Wall clock, ms since the Unix epoch.
 * @throws RangeError The runtime does not know a time zone. The compiler of policies refuses those.
 */
export function isWithin(windows: readonly HoursWindow[], nowMs: number): boolean {
  for (const { timeZone, minutes } of windows) {
    const minute = localMinuteOfWeek(timeZone, nowMs);
    if (!minutes.some(([from, until]) => from <= minute && minute < until)) return false;
  }
  return true;
}

/** The minute that a wall clock in `timeZone` shows, counted from its Monday 00:00. */
export function localMinuteOfWeek(timeZone: string, nowMs: number): number {
  const zone = zoneClock(timeZone);
  // Zones differ from UTC by whole minutes since 1972, so one answer serves a whole minute.
  const atMinute = Math.floor(nowMs / MINUTE_MS);
  if (zone.atMinute !== atMinute) {
    zone.minuteOfWeek = readClock(zone.format, nowMs);
    zone.atMinute = atMinute;
  }
  return zone.minuteOfWeek;
}

/** Whether the runtime knows the zone; `spelt` is its own spelling where letter case differs. */
export function checkTimeZone(timeZone: string): { known: boolean; spelt: string } {
  try {
    const spelt = new Intl.DateTimeFormat("en-US", { timeZone }).resolvedOptions().timeZone;
    const sameLetters = spelt.toLowerCase() === timeZone.toLowerCase();
    return { known: true, spelt: sameLetters ? spelt : timeZone };
  } catch {
    // Intl's only fault here is a RangeError for a zone it does not know.
    return { known: false, spelt: timeZone };
  }
}

function zoneClock(timeZone: string): ZoneClock {
  let zone = ZONES.get(timeZone);
  if (zone === undefined) {
    const format = new Intl.DateTimeFormat("en-US", {
      timeZone,
      weekday: "short",
      hour: "2-digit",
      minute: "2-digit",
      hourCycle: "h23",
    });
    zone = { format, atMinute: Number.NaN, minuteOfWeek: 0 };
    ZONES.set(timeZone, zone);
  }
  return zone;
}

function readClock(format: Intl.DateTimeFormat, nowMs: number): number {
  let day = Number.NaN;
  let hour = Number.NaN;
  let minute = Number.NaN;
  for (const part of format.formatToParts(nowMs)) {
    if (part.type === "weekday") day = DAYS.get(part.value) ?? Number.NaN;
    if (part.type === "hour") hour = Number(part.value);
    if (part.type === "minute") minute = Number(part.value);
  }
  // A part that is missing makes the sum NaN, which lies in no window: doubt is a refusal.
  return (day * 24 + hour) * 60 + minute;
}
