import { expect, test } from "vitest";
import { RateGate } from "../../../coordinator/rate-gate.ts";

test("lets a burst through, and then so many a minute, by name", () => {
  const gate = new RateGate({ burst: 2, perMinute: 2 });
  expect([gate.pass("n1", 0), gate.pass("n1", 0), gate.pass("n1", 0)]).toEqual([true, true, false]);
  expect(gate.pass("n2", 0)).toBe(true);
  expect(gate.pass("n1", 29_999)).toBe(false);
  expect(gate.pass("n1", 30_001)).toBe(true);
  expect(gate.pass("n1", 30_001)).toBe(false);
});

test("saves up no more than its burst", () => {
  const gate = new RateGate({ burst: 2, perMinute: 2 });
  gate.pass("n1", 0);
  const passes = [1, 2, 3].map(() => gate.pass("n1", 86_400_000));
  expect(passes).toEqual([true, true, false]);
});

test("a gate of nothing lets nothing through", () => {
  const gate = new RateGate({ burst: 0, perMinute: 0 });
  expect(gate.pass("n1", 1_000_000)).toBe(false);
});
