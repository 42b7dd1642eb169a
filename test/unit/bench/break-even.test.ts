import { expect, test } from "vitest";
import { breakEven } from "../../../bench/break-even.ts";

const at = (bytes: number, inlineMicros: number, handedMicros: number) => ({
  bytes,
  inlineMicros,
  handedMicros,
});

test("the break-even lies between two sizes, nearer to where they are nearer to each other", () => {
  expect(breakEven([at(1_000, 10, 40), at(2_000, 50, 40)])).toBe(1_750);
});

test("it is the last place where the order changes, and may lie outside of what was measured", () => {
  expect(breakEven([at(1, 50, 40), at(2, 30, 40), at(3, 50, 40)])).toBe(2.5);
  expect(breakEven([at(1_000, 50, 40), at(2_000, 90, 40)])).toBe(1_000);
  expect(breakEven([at(1_000, 10, 40)])).toBe(Number.POSITIVE_INFINITY);
});
