import { expect, test } from "vitest";
import { systemClock } from "../../../adapters/system-clock.ts";
import { ID_AGE_MS_MAX, ReplayGuard } from "../../../coordinator/replay-guard.ts";
import { uuidV7 } from "../../../ports/random.ts";

const NOW_MS = 1_795_345_082_816;
const clock = { ...systemClock, nowMs: () => NOW_MS };
let drawn = 0;
const id = (atMs: number): string =>
  uuidV7(atMs, { bytes: (count) => new Uint8Array(count).fill(++drawn) });

test("passes each request once, in the order of their times", () => {
  const guard = new ReplayGuard(clock);
  const [first, second] = [id(NOW_MS - 10), id(NOW_MS)];
  expect(guard.pass("n1 a/b", first)).toBe(true);
  expect(guard.pass("n1 a/b", second)).toBe(true);
  expect(guard.pass("n1 a/b", second)).toBe(false);
  expect(guard.pass("n1 a/b", first)).toBe(false);
});

test("two requests of one millisecond both pass, and neither passes again", () => {
  const guard = new ReplayGuard(clock);
  const [one, other] = [id(NOW_MS), id(NOW_MS)];
  expect(guard.pass("n1", one)).toBe(true);
  expect(guard.pass("n1", other)).toBe(true);
  expect(guard.pass("n1", one)).toBe(false);
});

test("what one sender said stops nobody else", () => {
  const guard = new ReplayGuard(clock);
  const one = id(NOW_MS);
  expect(guard.pass("n1", one)).toBe(true);
  expect(guard.pass("n2", one)).toBe(true);
});

test("a recording from before our start does not pass for its age, nor does an id without a time", () => {
  const guard = new ReplayGuard(clock);
  expect(guard.pass("n1", id(NOW_MS - ID_AGE_MS_MAX - 1))).toBe(false);
  expect(guard.pass("n1", id(NOW_MS + ID_AGE_MS_MAX + 1))).toBe(false);
  expect(guard.pass("n1", "request-1")).toBe(false);
});

test("who did not pass is told whether it is for its clock", () => {
  const guard = new ReplayGuard(clock);
  expect(guard.whyNot(id(NOW_MS - ID_AGE_MS_MAX))).toContain("replayed");
  expect(guard.whyNot("request-1")).toContain("replayed");
  const [behind, ahead] = [id(NOW_MS - 3_600_000), id(NOW_MS + 86_400_000)];
  expect(guard.whyNot(behind)).toEqual([
    "clock_off",
    "the node's clock is 3600 s behind the coordinator's",
  ]);
  expect(guard.whyNot(ahead)).toEqual([
    "clock_off",
    "the node's clock is 86400 s ahead of the coordinator's",
  ]);
});
