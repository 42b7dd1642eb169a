import { expect, test } from "vitest";
import { judgeDelivery, miscounted } from "../../../bench/violations-verdict.ts";

const WANTED = new Map([
  ["a", 100],
  ["b", 200],
  ["c", 300],
]);

test("what came is timed from its record, what did not is lost, and what came again is no second time", () => {
  const told = [
    { key: "a", atMs: 110 },
    { key: "b", atMs: 205 },
    { key: "a", atMs: 900 },
    { key: "x", atMs: 901 },
  ];
  expect(judgeDelivery(WANTED, told)).toEqual({
    tookMs: [10, 5],
    lost: ["c"],
    twice: ["a"],
    unasked: ["x"],
  });
});

test("counts that are told add up, kind by kind", () => {
  const wanted = ["a", "a", "a", "b"];
  const first = [
    { key: "a", count: 1 },
    { key: "b", count: 1 },
  ];
  expect(miscounted(wanted, [...first, { key: "a", count: 2 }])).toEqual([]);
  expect(miscounted(wanted, first)).toEqual(["a"]);
  expect(miscounted(wanted, [...first, { key: "a", count: 3 }])).toEqual(["a"]);
  expect(miscounted(wanted, [...first, { key: "a", count: 2 }, { key: "c", count: 1 }])).toEqual([
    "c",
  ]);
});
