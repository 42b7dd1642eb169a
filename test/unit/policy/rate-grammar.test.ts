import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { formatDurationMs, parseDurationMs } from "../../../policy/duration-grammar.ts";
import { formatRate, parseRate } from "../../../policy/rate-grammar.ts";

describe("rates", () => {
  test("a rate without burst lets one window's amount come at once", () => {
    expect(parseRate("requests", "60/minute")).toEqual({
      metric: "requests",
      amount: 60,
      windowMs: 60_000,
      burst: 60,
    });
  });

  test("money is in micro-dollars", () => {
    expect(parseRate("usd_micros", "1.50/hour burst 0.25")).toEqual({
      metric: "usd_micros",
      amount: 1_500_000,
      windowMs: 3_600_000,
      burst: 250_000,
    });
  });

  test.each([
    "60",
    "60/min",
    "0/minute",
    "60/minute burst 0",
    "-1/minute",
    "1.5/minute",
    "60/minute burst",
    "60/minute  burst 10",
    "1e3/minute",
    "60 / minute",
    // More than a billion a second: a bucket could not tell single units apart.
    "1000000001/second",
    // A burst that takes more than a month to come back.
    "1/day burst 32",
  ])("refuses %j", (text) => {
    expect(parseRate("requests", text)).toBeUndefined();
  });

  test("every rate is written as it is read", () => {
    const window = fc.constantFrom("second", "minute", "hour", "day");
    const count = fc.integer({ min: 1, max: 1_000_000 });
    fc.assert(
      fc.property(window, count, count, (name, amount, burst) => {
        const rate = parseRate("tokens", `${amount}/${name} burst ${burst}`);
        fc.pre(rate !== undefined);
        if (rate !== undefined) expect(parseRate("tokens", formatRate(rate))).toEqual(rate);
      }),
    );
  });
});

describe("durations", () => {
  test.each([
    ["250ms", 250],
    ["90s", 90_000],
    ["15m", 900_000],
    ["24h", 86_400_000],
    ["0s", 0],
  ])("reads %s", (text, durationMs) => {
    expect(parseDurationMs(text)).toBe(durationMs);
  });

  test.each(["90", "1.5s", "-1s", "1 s", "1d", "01s", "", "s"])("refuses %j", (text) => {
    expect(parseDurationMs(text)).toBeUndefined();
  });

  test("every duration is written as it is read", () => {
    fc.assert(
      fc.property(fc.nat(10_000_000_000), (durationMs) => {
        expect(parseDurationMs(formatDurationMs(durationMs))).toBe(durationMs);
      }),
    );
  });
});
