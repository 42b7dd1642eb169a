import { expect, test } from "vitest";
import { theilSen } from "../../../bench/harness/theil-sen.ts";

function samples(count: number, value: (i: number) => number) {
  return Array.from({ length: count }, (_, i) => ({ atS: 2 * i, value: value(i) }));
}

/** Between 0 and 1, by a multiplicative step that repeats after far more than is drawn here. */
const noise = (i: number): number => ((i * 7_919 + 13) % 1_009) / 1_009;

test("a line is found exactly", () => {
  expect(theilSen(samples(20, (i) => 5 + 3 * i))).toEqual({ slope: 1.5, low: 1.5, high: 1.5 });
});

test("a fifth of wild samples do not move it", () => {
  const { slope } = theilSen(samples(50, (i) => (i % 5 === 0 ? 10_000 * noise(i) : i)));
  expect(slope).toBeGreaterThan(0.4);
  expect(slope).toBeLessThan(0.6);
});

test("noise around nothing may as well fall, and growth within it may not", () => {
  const flat = theilSen(samples(60, (i) => 300 + 10 * noise(i)));
  expect(flat.low).toBeLessThanOrEqual(0);
  expect(flat.high).toBeGreaterThanOrEqual(0);
  expect(theilSen(samples(60, (i) => 300 + 10 * noise(i) + i)).low).toBeGreaterThan(0.3);
});

test("few samples, and samples of one moment, are no trend", () => {
  expect(() => theilSen(samples(7, (i) => i))).toThrow(RangeError);
  expect(() => theilSen(samples(9, (i) => i).map((one) => ({ ...one, atS: 0 })))).toThrow(
    RangeError,
  );
});
