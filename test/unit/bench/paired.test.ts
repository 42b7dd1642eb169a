import { describe, expect, test } from "vitest";
import { interleave, judgePairs, median, type Pair } from "../../../bench/harness/paired.ts";

function pairs(...ratios: number[]): Pair[] {
  return ratios.map((ratio) => ({ subject: ratio * 10, baseline: 10 }));
}

describe("judgePairs", () => {
  test("four of five pairs and the median over the limit are a breach", () => {
    expect(judgePairs(pairs(2.1, 2.2, 1.9, 2.3, 2.4), 2).isBreach).toBe(true);
  });

  test("a median over the limit with three pairs over is none", () => {
    const verdict = judgePairs(pairs(2.1, 2.2, 1.9, 1.8, 2.4), 2);
    expect(verdict).toMatchObject({ median: 2.1, over: 3, isBreach: false });
  });

  test("one bad pair is none", () => {
    expect(judgePairs(pairs(1, 1, 1, 1, 90), 2).isBreach).toBe(false);
  });

  test("a ratio at the limit is within it", () => {
    expect(judgePairs(pairs(2, 2, 2, 2, 2), 2)).toMatchObject({ over: 0, isBreach: false });
  });

  test("too few pairs, and figures that are not there, are no measurement", () => {
    expect(() => judgePairs(pairs(1, 1, 1, 1), 2)).toThrow(RangeError);
    expect(() => judgePairs(pairs(1, 1, 1, 1, 0), 2)).toThrow(RangeError);
    expect(() => judgePairs(pairs(1, 1, 1, 1, Number.NaN), 2)).toThrow(RangeError);
  });
});

test("the median of an even number is the mean of the middle two", () => {
  expect(median([4, 1, 3, 2])).toBe(2.5);
  expect(median([9, 1, 5])).toBe(5);
});

test("subject and baseline are measured in turn", async () => {
  const order: string[] = [];
  const measure = (name: string) => async () => {
    order.push(name);
    return 1;
  };
  await interleave(2, { subject: measure("a"), baseline: measure("b") });
  expect(order).toEqual(["a", "b", "a", "b"]);
});
