import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { formatMilli, formatUsdMicros, parseMilli, parseUsdMicros } from "../../../policy/money.ts";

describe("money", () => {
  test.each([
    ["0", 0],
    ["0.000001", 1],
    ["12.50", 12_500_000],
    ["12.5", 12_500_000],
    ["100", 100_000_000],
    // As floats, 0.1 + 0.2 and 1.005 * 1e6 are off by a part; as text they are exact.
    ["1.005", 1_005_000],
    ["4.35", 4_350_000],
    ["9007199254.740991", Number.MAX_SAFE_INTEGER],
  ])("reads %s as %i micro-dollars", (text, micros) => {
    expect(parseUsdMicros(text)).toBe(micros);
  });

  test.each([
    "",
    " 1",
    "1 ",
    "-1",
    "+1",
    ".5",
    "1.",
    "01",
    "00",
    "1e3",
    "1,50",
    "1_000",
    "$5",
    "0x10",
    "1.0000001",
    "NaN",
    "Infinity",
    "９",
    "1.5\n",
    "9007199254.740992",
    "99999999999",
  ])("refuses %j", (text) => {
    expect(parseUsdMicros(text)).toBeUndefined();
  });

  test("every amount is written as it is read", () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), (micros) => {
        expect(parseUsdMicros(formatUsdMicros(micros))).toBe(micros);
      }),
    );
  });

  test("any decimal is exactly the integer its digits spell", () => {
    const digits = (max: number) => fc.stringMatching(new RegExp(`^[0-9]{1,${max}}$`));
    fc.assert(
      fc.property(fc.nat(999_999_999), digits(6), (whole, fraction) => {
        const micros = BigInt(`${whole}${fraction.padEnd(6, "0")}`);
        expect(parseUsdMicros(`${whole}.${fraction}`)).toBe(Number(micros));
      }),
    );
  });
});

describe("ratios", () => {
  test.each([
    ["1.1", 1100],
    ["10", 10_000],
    ["1.001", 1001],
    ["0.5", 500],
  ])("reads %s as %i thousandths", (text, milli) => {
    expect(parseMilli(text)).toBe(milli);
  });

  test.each(["1.0001", "1e1", "-1", "", "1000", "1.", ".1", "01"])("refuses %j", (text) => {
    expect(parseMilli(text)).toBeUndefined();
  });

  test("every ratio is written as it is read", () => {
    fc.assert(
      fc.property(fc.nat(999_999), (milli) => {
        expect(parseMilli(formatMilli(milli))).toBe(milli);
      }),
    );
  });
});
