import { expect, test } from "vitest";
import { Waits } from "../../../../node/dataplane/waits.ts";
import { twinClock } from "../../../../ports/twin-clock.ts";

function world() {
  const clock = twinClock();
  const waits = new Waits(clock);
  const due: string[] = [];
  const begin = (name: string, ms: number) =>
    waits.begin({ onDue: () => due.push(name) }, ms, clock.monoNs());
  return { clock, waits, due, begin };
}

test("W1: each falls due once, at its own time, whatever the others wait for", () => {
  const { clock, due, begin } = world();
  begin("a", 100);
  clock.advance(30);
  begin("b", 100);
  begin("c", 20);
  clock.advance(19.9);
  expect(due).toEqual([]);
  clock.advance(0.1);
  expect(due).toEqual(["c"]);
  clock.advance(50);
  expect(due).toEqual(["c", "a"]);
  clock.advance(30);
  expect(due).toEqual(["c", "a", "b"]);
  clock.advance(10_000);
  expect(due).toHaveLength(3);
});

test("W1: one that was ended never falls due, and ending it again does nothing", () => {
  const { clock, waits, due, begin } = world();
  const [first, middle, last] = ["a", "b", "c"].map((name) => begin(name, 50));
  for (const wait of [first, middle, middle]) if (wait !== undefined) waits.end(wait);
  clock.advance(50);
  expect(due).toEqual(["c"]);
  if (last !== undefined) waits.end(last);
  clock.advance(50);
  expect(due).toEqual(["c"]);
});

test("W1: what one does when it falls due may end another and begin a third", () => {
  const { clock, waits, due, begin } = world();
  waits.begin(
    {
      onDue: () => {
        due.push("a");
        waits.end(second);
        begin("c", 50);
      },
    },
    50,
    clock.monoNs(),
  );
  const second = begin("b", 50);
  clock.advance(50);
  expect(due).toEqual(["a"]);
  clock.advance(50);
  expect(due).toEqual(["a", "c"]);
});

test("W1: a fault of one costs no other its end", () => {
  const { clock, waits, due, begin } = world();
  const fault = new Error("a bug");
  waits.begin(
    {
      onDue: () => {
        throw fault;
      },
    },
    50,
    clock.monoNs(),
  );
  begin("b", 50);
  expect(() => clock.advance(50)).toThrow(fault);
  clock.advance(0);
  expect(due).toEqual(["b"]);
});

test("W2: of each length one timer runs, however many wait, and none when nobody does", () => {
  const { clock, waits, begin } = world();
  const all = Array.from({ length: 500 }, (_, no) => begin(String(no), no % 2 ? 100 : 200));
  expect(clock.pendingTimers).toBe(2);
  for (const wait of all) waits.end(wait);
  clock.advance(200);
  expect(clock.pendingTimers).toBe(0);
  begin("later", 100);
  expect(clock.pendingTimers).toBe(1);
});
