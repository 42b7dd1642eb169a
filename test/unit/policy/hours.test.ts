import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { checkTimeZone, isWithin, localMinuteOfWeek, WEEK_MINUTES } from "../../../policy/hours.ts";
import { joinMinutes, parseWindow } from "../../../policy/hours-grammar.ts";

const DAY = 1440;
const at = (iso: string) => Date.parse(iso);
const minute = (day: number, hour: number, minute = 0) => day * DAY + hour * 60 + minute;

describe("localMinuteOfWeek", () => {
  test("is plain arithmetic in UTC", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 4_102_444_800_000 }), (nowMs) => {
        // 1 January 1970 was a Thursday.
        const expected = (Math.floor(nowMs / 60_000) + 3 * DAY) % WEEK_MINUTES;
        expect(localMinuteOfWeek("UTC", nowMs)).toBe(expected);
      }),
      { numRuns: 2000 },
    );
  });

  test("agrees with an offset that Intl names for the same instant", () => {
    const zones = ["Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"];
    fc.assert(
      fc.property(
        fc.constantFrom(...zones),
        fc.integer({ min: at("2000-01-01T00:00:00Z"), max: at("2035-01-01T00:00:00Z") }),
        (timeZone, nowMs) => {
          const shifted = nowMs + offsetMs(timeZone, nowMs);
          expect(localMinuteOfWeek(timeZone, nowMs)).toBe(localMinuteOfWeek("UTC", shifted));
        },
      ),
      { numRuns: 500 },
    );
  });

  test("the same zone gives the same answer whichever instant was asked before", () => {
    const early = at("2026-03-01T09:00:00Z");
    const late = at("2026-08-01T09:00:00Z");
    const first = localMinuteOfWeek("Europe/Berlin", early);
    localMinuteOfWeek("Europe/Berlin", late);
    expect(localMinuteOfWeek("Europe/Berlin", early)).toBe(first);
    expect(first).not.toBe(localMinuteOfWeek("Europe/Berlin", late));
  });
});

describe("a clock that is put forward or back", () => {
  const night = [{ timeZone: "Europe/Berlin", minutes: parseWindow("sun 02:00-03:00") ?? [] }];

  test("an hour that is skipped never comes", () => {
    // On 29 March 2026 Berlin's clocks go from 02:00 to 03:00.
    for (let nowMs = at("2026-03-29T00:30:00Z"); nowMs < at("2026-03-29T02:00:00Z"); ) {
      expect(isWithin(night, nowMs)).toBe(false);
      nowMs += 60_000;
    }
  });

  test("an hour that is shown twice is inside both times", () => {
    // On 25 October 2026 Berlin's clocks go from 03:00 back to 02:00, at 01:00 UTC.
    expect(isWithin(night, at("2026-10-24T23:59:00Z"))).toBe(false);
    expect(isWithin(night, at("2026-10-25T00:00:00Z"))).toBe(true);
    expect(isWithin(night, at("2026-10-25T00:59:59.999Z"))).toBe(true);
    expect(isWithin(night, at("2026-10-25T01:00:00Z"))).toBe(true);
    expect(isWithin(night, at("2026-10-25T01:59:59.999Z"))).toBe(true);
    expect(isWithin(night, at("2026-10-25T02:00:00Z"))).toBe(false);
  });
});

describe("isWithin", () => {
  const office = { timeZone: "UTC", minutes: parseWindow("mon-fri 08:00-18:00") ?? [] };

  test("windows are half-open", () => {
    expect(isWithin([office], at("2026-11-23T07:59:59.999Z"))).toBe(false);
    expect(isWithin([office], at("2026-11-23T08:00:00Z"))).toBe(true);
    expect(isWithin([office], at("2026-11-23T17:59:59.999Z"))).toBe(true);
    expect(isWithin([office], at("2026-11-23T18:00:00Z"))).toBe(false);
    expect(isWithin([office], at("2026-11-22T12:00:00Z"))).toBe(false);
  });

  test("all windows must hold, none bound nothing", () => {
    const early = { timeZone: "UTC", minutes: parseWindow("mon 06:00-09:00") ?? [] };
    expect(isWithin([office, early], at("2026-11-23T08:30:00Z"))).toBe(true);
    expect(isWithin([office, early], at("2026-11-23T09:00:00Z"))).toBe(false);
    expect(isWithin([], 0)).toBe(true);
  });

  test("a window without minutes is never open", () => {
    expect(isWithin([{ timeZone: "UTC", minutes: [] }], 0)).toBe(false);
  });

  test("an instant that is none is outside", () => {
    expect(() => isWithin([office], Number.NaN)).toThrow(RangeError);
  });
});

describe("window grammar", () => {
  test.each([
    ["mon 00:00-24:00", [[0, DAY]]],
    ["mon-fri 08:00-18:00", [0, 1, 2, 3, 4].map((day) => [minute(day, 8), minute(day, 18)])],
    ["sat,sun 10:00-16:00", [5, 6].map((day) => [minute(day, 10), minute(day, 16)])],
    ["fri 22:00-06:00", [[minute(4, 22), minute(5, 6)]]],
    [
      "sun 22:00-06:00",
      [
        [0, minute(0, 6)],
        [minute(6, 22), WEEK_MINUTES],
      ],
    ],
    ["mon-sun 00:00-24:00", [[0, WEEK_MINUTES]]],
    ["sat-mon 12:00-13:00", [0, 5, 6].map((day) => [minute(day, 12), minute(day, 13)])],
    ["tue 22:00-00:00", [[minute(1, 22), minute(2, 0)]]],
  ])("reads %s", (text, minutes) => {
    expect(parseWindow(text)).toEqual(minutes);
  });

  test.each([
    "mon 08:00-08:00",
    "mon 24:00-08:00",
    "mon 08:60-09:00",
    "mon 25:00-26:00",
    "mon 24:01-24:30",
    "mon 8:00-9:00",
    "Mon 08:00-09:00",
    "mon-fri",
    "08:00-18:00",
    "mon, tue 08:00-09:00",
    "montag 08:00-09:00",
    "mon 08:00 - 09:00",
    "",
  ])("refuses %j", (text) => {
    expect(parseWindow(text)).toBeUndefined();
  });

  test("a window holds exactly the minutes it names", () => {
    const clock = fc.integer({ min: 0, max: DAY - 1 });
    const day = fc.integer({ min: 0, max: 6 });
    fc.assert(
      fc.property(day, day, clock, clock, (first, last, from, until) => {
        fc.pre(from !== until);
        const text = `${DAYS[first]}-${DAYS[last]} ${clockText(from)}-${clockText(until)}`;
        const minutes = parseWindow(text) ?? [];
        const open = new Set<number>();
        const length = until > from ? until - from : until + DAY - from;
        for (let span = 0; span <= (last - first + 7) % 7; span++) {
          for (let i = 0; i < length; i++) {
            open.add((((first + span) % 7) * DAY + from + i) % WEEK_MINUTES);
          }
        }
        const held = minutes.reduce((sum, [start, end]) => sum + end - start, 0);
        expect(held).toBe(open.size);
        for (const [start, end] of minutes) {
          expect(open.has(start) && open.has(end - 1)).toBe(true);
        }
      }),
      { numRuns: 200 },
    );
  });

  test("joined windows are in order and apart", () => {
    expect(
      joinMinutes([
        [30, 40],
        [0, 10],
        [10, 20],
        [35, 50],
      ]),
    ).toEqual([
      [0, 20],
      [30, 50],
    ]);
  });
});

test("a time zone has one spelling", () => {
  expect(checkTimeZone("Europe/Berlin")).toEqual({ known: true, spelt: "Europe/Berlin" });
  expect(checkTimeZone("europe/berlin")).toEqual({ known: true, spelt: "Europe/Berlin" });
  expect(checkTimeZone("Mars/Olympus")).toEqual({ known: false, spelt: "Mars/Olympus" });
});

const DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

function clockText(minutes: number): string {
  const two = (value: number) => String(value).padStart(2, "0");
  return `${two(Math.floor(minutes / 60))}:${two(minutes % 60)}`;
}

/** The zone's offset as Intl writes it: `GMT+05:30`. */
function offsetMs(timeZone: string, nowMs: number): number {
  const format = new Intl.DateTimeFormat("en-US", { timeZone, timeZoneName: "longOffset" });
  const name = format.formatToParts(nowMs).find((part) => part.type === "timeZoneName")?.value;
  const match = /^GMT(?:([+-])([0-9]{2}):([0-9]{2}))?$/.exec(name ?? "");
  if (match === null) throw new Error(`unexpected offset ${name}`);
  const [, sign, hours = "0", minutes = "0"] = match;
  return (sign === "-" ? -1 : 1) * (Number(hours) * 60 + Number(minutes)) * 60_000;
}
