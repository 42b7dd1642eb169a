/** Windows of the week as people write them: `mon-fri 08:00-18:00`, `fri 22:00-06:00`. */

import type { HoursWindow } from "./compiled-policy.ts";
import { WEEK_MINUTES } from "./hours.ts";

export const WINDOW_GRAMMAR =
  'a window such as "mon-fri 08:00-18:00", "sat,sun 10:00-16:00" or "fri 22:00-06:00"';

const DAY_NAMES = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const DAY_MINUTES = 1440;
const DAY = `(?:${DAY_NAMES.join("|")})`;
const WINDOW = new RegExp(
  `^(${DAY}(?:-${DAY})?(?:,${DAY}(?:-${DAY})?)*) ([0-9]{2}):([0-9]{2})-([0-9]{2}):([0-9]{2})$`,
);

type Minutes = HoursWindow["minutes"];

/**
 * Reads one window as half-open minutes of the week, in order, joined where they touch.
 *
 * An end before its start is on the next day; 24:00 is the end of the day. Days may wrap too:
 * `sat-mon` are three days. A window that ends where it starts is refused, since it could mean
 * nothing or a whole day.
 */
export function parseWindow(text: string): Minutes | undefined {
  const match = WINDOW.exec(text);
  if (match === null) return undefined;
  const [, days = "", fromHour = "", fromMinute = "", untilHour = "", untilMinute = ""] = match;
  const from = minuteOfDay(fromHour, fromMinute);
  const until = minuteOfDay(untilHour, untilMinute);
  if (from === undefined || until === undefined || from === until || from === DAY_MINUTES) {
    return undefined;
  }
  const length = until > from ? until - from : until + DAY_MINUTES - from;
  return joinMinutes(
    readDays(days).flatMap((day) => cutAtWeekEnd(day * DAY_MINUTES + from, length)),
  );
}

/** Windows in order, with those that touch or overlap joined: one set of minutes, one spelling. */
export function joinMinutes(windows: Minutes): Minutes {
  const joined: [number, number][] = [];
  for (const [from, until] of windows.toSorted((a, b) => a[0] - b[0])) {
    const last = joined.at(-1);
    if (last !== undefined && from <= last[1]) {
      last[1] = Math.max(last[1], until);
    } else {
      joined.push([from, until]);
    }
  }
  return joined;
}

function minuteOfDay(hour: string, minute: string): number | undefined {
  const minutes = Number(hour) * 60 + Number(minute);
  return Number(minute) < 60 && minutes <= DAY_MINUTES ? minutes : undefined;
}

function readDays(text: string): readonly number[] {
  return text.split(",").flatMap((part) => {
    const [first = "", last = first] = part.split("-");
    const from = DAY_NAMES.indexOf(first);
    const span = (DAY_NAMES.indexOf(last) - from + 7) % 7;
    return Array.from({ length: span + 1 }, (_, i) => (from + i) % 7);
  });
}

/** A window over Sunday midnight is two: the week's end and its beginning. */
function cutAtWeekEnd(from: number, length: number): [number, number][] {
  const until = from + length;
  if (until <= WEEK_MINUTES) return [[from, until]];
  return [
    [0, until - WEEK_MINUTES],
    [from, WEEK_MINUTES],
  ];
}
