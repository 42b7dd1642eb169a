import type { Dimension } from "./dimension.ts";

/** Minutes of a week; windows lie within 0 (Monday 00:00) and this, half-open. */
export const WEEK_MINUTES = 10_080;

/** Minutes of the local week. */
export type Minutes = readonly (readonly [from: number, until: number])[];

/** A bound on the hours of the week, told by the clocks of one time zone. */
export type ZoneHours = { readonly zone: string; readonly minutes: Minutes };

/** When authority may be used: from an instant until before another one, in all of the hours. */
export type Validity = {
  /** Seconds since the Unix epoch. */
  readonly notBefore: number;
  /** Seconds since the Unix epoch, exclusive. */
  readonly expires: number;
  /** All must hold, at most one a zone, in the order of their zones. */
  readonly hours: readonly ZoneHours[];
};

const NEVER: Validity = { notBefore: 0, expires: 0, hours: [] };

/**
 * An interval and a conjunction of weekly hours.
 *
 * A child's hours in a zone must lie in its parent's hours **of the same zone**. What a zone's clock
 * shows is a function of the instant, so that is exact whatever the zone's rules are or become; hours
 * of two zones are never compared. A child may bound itself in more zones than its parent.
 */
export const validity: Dimension<Validity> = {
  normal: ({ notBefore, expires, hours }) => {
    // What was signed is normal already, and to see that costs a fraction of making it so.
    if (notBefore < expires && areNormal(hours)) {
      return { notBefore, expires, hours: hours.map(({ zone, minutes }) => ({ zone, minutes })) };
    }
    const zones = new Map<string, Minutes>();
    for (const { zone, minutes } of hours) {
      const own = normalMinutes(minutes);
      const known = zones.get(zone);
      zones.set(zone, known === undefined ? own : common(known, own));
    }
    if (notBefore >= expires || [...zones.values()].some(({ length }) => length === 0)) {
      return NEVER;
    }
    const bounds = [...zones].filter(([, minutes]) => !isWholeWeek(minutes));
    return {
      notBefore,
      expires,
      hours: bounds.sort(byZone).map(([zone, minutes]) => ({ zone, minutes })),
    };
  },
  leq: (child, parent) => {
    if (child.expires === 0) return true;
    if (child.notBefore < parent.notBefore || child.expires > parent.expires) return false;
    return hoursLeq(child.hours, parent.hours);
  },
  meet: (one, other) =>
    validity.normal({
      notBefore: Math.max(one.notBefore, other.notBefore),
      expires: Math.min(one.expires, other.expires),
      hours: isSame(one.hours, other.hours) ? one.hours : [...one.hours, ...other.hours],
    }),
};

/** The same without the instants: a contract that only ends a second sooner is not narrower. */
export function hoursLeq(child: readonly ZoneHours[], parent: readonly ZoneHours[]): boolean {
  return parent.every(({ zone, minutes }) => {
    const own = child.find((each) => each.zone === zone);
    return own !== undefined && liesIn(own.minutes, minutes);
  });
}

/**
 * True at instants that the authority may be used at.
 *
 * @param nowMs Wall clock, ms since the Unix epoch.
 * @param minuteOfWeek What a zone's clock shows then. NaN lies in no window.
 */
export function isValidAt(
  value: Validity,
  nowMs: number,
  minuteOfWeek: (zone: string, nowMs: number) => number,
): boolean {
  if (nowMs < value.notBefore * 1000 || nowMs >= value.expires * 1000) return false;
  return value.hours.every(({ zone, minutes }) => {
    const minute = minuteOfWeek(zone, nowMs);
    return minutes.some(([from, until]) => from <= minute && minute < until);
  });
}

/** In order, none empty, none touching the next. */
export function normalMinutes(minutes: Minutes): Minutes {
  const joined: [number, number][] = [];
  const ordered = minutes.filter(([from, until]) => from < until).sort((a, b) => a[0] - b[0]);
  for (const [from, until] of ordered) {
    const last = joined.at(-1);
    if (last === undefined || from > last[1]) joined.push([from, until]);
    else last[1] = Math.max(last[1], until);
  }
  return joined;
}

function common(one: Minutes, other: Minutes): Minutes {
  return normalMinutes(
    one.flatMap(([from, until]) =>
      other.map(([start, end]): [number, number] => [Math.max(from, start), Math.min(until, end)]),
    ),
  );
}

/** Both joined, so each window of the one must lie in a single window of the other. */
function liesIn(one: Minutes, other: Minutes): boolean {
  return one.every(([from, until]) => other.some(([start, end]) => start <= from && until <= end));
}

function isWholeWeek(minutes: Minutes): boolean {
  return minutes.length === 1 && minutes[0]?.[0] === 0 && minutes[0]?.[1] === WEEK_MINUTES;
}

function byZone([one]: [string, Minutes], [other]: [string, Minutes]): number {
  return one < other ? -1 : 1;
}

/** In the order of their zones, none twice, each with its minutes in order and bounded by them. */
function areNormal(hours: readonly ZoneHours[]): boolean {
  for (let i = 0; i < hours.length; i++) {
    const { zone, minutes } = hours[i] as ZoneHours;
    if (i > 0 && (hours[i - 1] as ZoneHours).zone >= zone) return false;
    if (minutes.length === 0 || isWholeWeek(minutes) || !areJoined(minutes)) return false;
  }
  return true;
}

function areJoined(minutes: Minutes): boolean {
  let last = -1;
  for (const [from, until] of minutes) {
    if (from <= last || from >= until) return false;
    last = until;
  }
  return true;
}

/** A delegation mostly leaves hours alone. */
function isSame(one: readonly ZoneHours[], other: readonly ZoneHours[]): boolean {
  if (one.length !== other.length) return false;
  return one.every(({ zone, minutes }, at) => {
    const them = other[at] as ZoneHours;
    return (
      zone === them.zone &&
      minutes.length === them.minutes.length &&
      minutes.every(([from, until], no) => {
        const [start, end] = them.minutes[no] as Minutes[number];
        return from === start && until === end;
      })
    );
  });
}
