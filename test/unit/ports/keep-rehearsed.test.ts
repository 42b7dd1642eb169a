import { expect, test } from "vitest";
import {
  FIRST_KILLS,
  FIRST_PARTS,
  keepRehearsed,
  PART_EVERY_MS,
  PART_KILLS,
} from "../../../ports/keep-rehearsed.ts";
import { twinClock } from "../../../ports/twin-clock.ts";

const onFault = (error: unknown) => {
  throw error;
};
const turn = () => new Promise(setImmediate);

test("a rehearsal goes on part by part, seldom once all is compiled, until it is told to end", async () => {
  const clock = twinClock();
  const stopping = new AbortController();
  let kills = 0;
  const kept = keepRehearsed({ clock, signal: stopping.signal, onFault }, async (count) => {
    kills += count;
  });
  const pass = async (ms: number): Promise<number> => {
    clock.advance(ms);
    await turn();
    return kills;
  };
  expect(await pass(PART_EVERY_MS.first - 1)).toBe(0);
  expect(await pass(1)).toBe(PART_KILLS);
  for (let part = 1; part < FIRST_PARTS; part += 1) await pass(PART_EVERY_MS.first);
  expect(kills).toBe(FIRST_KILLS);
  expect(await pass(PART_EVERY_MS.later - 1)).toBe(FIRST_KILLS);
  expect(await pass(1)).toBe(FIRST_KILLS + PART_KILLS);
  stopping.abort();
  await kept;
  expect(await pass(PART_EVERY_MS.later)).toBe(FIRST_KILLS + PART_KILLS);
  expect(clock.pendingTimers).toBe(0);
});

test("an end during a part is waited for, and no other part follows", async () => {
  const clock = twinClock();
  const stopping = new AbortController();
  const part = Promise.withResolvers<void>();
  let [parts, isOver] = [0, false];
  const kept = keepRehearsed({ clock, signal: stopping.signal, onFault }, () => {
    parts += 1;
    return part.promise;
  }).then(() => {
    isOver = true;
  });
  clock.advance(PART_EVERY_MS.first);
  await turn();
  stopping.abort();
  await turn();
  expect([parts, isOver]).toEqual([1, false]);
  part.resolve();
  await kept;
  expect([parts, clock.pendingTimers]).toEqual([1, 0]);
});

test("a part that fails is told and is the last, and whoever waits for the end need not know", async () => {
  const clock = twinClock();
  const { signal } = new AbortController();
  const faults: unknown[] = [];
  let parts = 0;
  const kept = keepRehearsed(
    { clock, signal, onFault: (error) => faults.push(error) },
    async () => {
      parts += 1;
      throw new RangeError("no memory");
    },
  );
  clock.advance(PART_EVERY_MS.first);
  await kept;
  expect([parts, faults, clock.pendingTimers]).toEqual([1, [new RangeError("no memory")], 0]);
});
