import { expect, test } from "vitest";
import { newAgent } from "../../../../node/actors/agent-state.ts";
import { countTick, isQuietAfter, newSeat, phaseOf } from "../../../../node/actors/seat.ts";
import { TickRound } from "../../../../node/actors/tick-round.ts";
import { twinClock } from "../../../../ports/twin-clock.ts";

const SECOND_MS = 1_000;
const members = (count: number) => new Map(Array.from({ length: count }, (_, no) => [no, no]));

test("a large round is gone through in parts within a second, each member once", () => {
  const clock = twinClock();
  const round = new TickRound<number>(clock);
  const seen: number[] = [];
  round.begin(members(10_000), (no) => seen.push(no));
  expect(seen.length).toBeLessThanOrEqual(500);
  clock.advance(SECOND_MS);
  expect(seen).toEqual([...members(10_000).keys()]);
});

test("a small round is over when it has begun", () => {
  const seen: number[] = [];
  new TickRound<number>(twinClock()).begin(members(49), (no) => seen.push(no));
  expect(seen.length).toBe(49);
});

test("who joins meanwhile is visited, who left is not, and no round begins within another", () => {
  const clock = twinClock();
  const round = new TickRound<number>(clock);
  const all = members(10_000);
  const seen: number[] = [];
  const visit = (no: number) => seen.push(no);
  round.begin(all, visit);
  all.delete(9_999);
  all.set(10_000, 10_000);
  round.begin(all, visit);
  clock.advance(SECOND_MS);
  expect(seen.length).toBe(10_000);
  expect(seen.at(-1)).toBe(10_000);
});

test("nobody is visited once it was stopped", () => {
  const clock = twinClock();
  const round = new TickRound<number>(clock);
  const seen: number[] = [];
  round.begin(members(10_000), (no) => seen.push(no));
  const before = seen.length;
  round.stop();
  clock.advance(SECOND_MS);
  round.begin(members(1), (no) => seen.push(no));
  expect(seen.length).toBe(before);
});

test("a seat is left alone after a tick that found nothing, and after nothing else", () => {
  const till = {} as Parameters<typeof newSeat>[0]["till"];
  const state = newAgent(0);
  const seat = newSeat({ account: "agent/research/worker-1", till, state, nowNs: 1n });
  const tick = { t: "tick", report: true } as const;
  const nothing = { state, effects: [], durable: false };
  expect(isQuietAfter(seat, tick, nothing)).toBe(true);
  // One that told nothing says so of an agent alone that no limit counts.
  const untold = { t: "tick", report: false } as const;
  expect(isQuietAfter(seat, untold, nothing)).toBe(true);
  expect(isQuietAfter({ ...seat, account: "contract/c1" }, untold, nothing)).toBe(false);
  const use = { unit: "calls", window: "total", limit: 9, spent: 1, endsAtMs: 0 } as const;
  const counted = { ...state, ladder: { ...state.ladder, uses: [use] } };
  expect(isQuietAfter({ ...seat, state: counted }, untold, nothing)).toBe(false);
  expect(isQuietAfter(seat, { t: "limits_changed" }, nothing)).toBe(false);
  const told = { ...nothing, effects: [{ t: "take_back" as const }] };
  expect(isQuietAfter(seat, tick, told)).toBe(false);
  const marks = [
    { rung: 1 as const },
    { level: "warning" as const },
    { standing: "throttle" as const },
    { watchedUntilMs: 1 },
    { killFor: "budget_block" as const },
  ];
  for (const mark of marks) {
    const marked = { ...state, ladder: { ...state.ladder, ...mark } };
    expect(isQuietAfter(seat, tick, { ...nothing, state: marked })).toBe(false);
  }
  const moved = { ...state, book: { ...state.book } };
  expect(isQuietAfter(seat, tick, { ...nothing, state: moved })).toBe(false);
});

test("a seat that rested has ticks again until all that came is done, though it is quiet by then", () => {
  const till = {} as Parameters<typeof newSeat>[0]["till"];
  const seat = newSeat({ account: "agent/t/a", till, state: newAgent(0), nowNs: 0n });
  const phaseAt = (nowNs: bigint) => phaseOf(seat, nowNs, 30n);
  seat.isQuiet = true;
  expect(phaseAt(1n)).toBe("rests");
  // A question of a message in between has had no answer, and a tick finds nothing else to do.
  Object.assign(seat, { isQuiet: false, unanswered: true });
  expect(phaseAt(2n)).toBe("used");
  seat.isQuiet = true;
  expect(phaseAt(3n)).toBe("used");
  seat.unanswered = false;
  expect(phaseAt(4n)).toBe("rests");
  expect(phaseAt(31n)).toBe("idle");
});

test("what leases have paid for is told every five ticks; of an agent that no limit counts, every sixty", () => {
  const till = {} as Parameters<typeof newSeat>[0]["till"];
  const use = { unit: "calls", window: "total", limit: 9, spent: 1, endsAtMs: 0 } as const;
  const free = newAgent(0);
  const counted = { ...free, ladder: { ...free.ladder, uses: [use] } };
  const tellsOf = (account: string, state = free) => {
    const seat = newSeat({ account, till, state, nowNs: 0n });
    const ticks = Array.from({ length: 120 }, (_, no) => no + 1);
    return ticks.filter(() => countTick(seat, 0n).tell);
  };
  const everyFive = Array.from({ length: 24 }, (_, no) => 5 * (no + 1));
  expect(tellsOf("agent/t/a")).toEqual([60, 120]);
  expect(tellsOf("agent/t/a", counted)).toEqual(everyFive);
  expect(tellsOf("contract/c")).toEqual(everyFive);
});
