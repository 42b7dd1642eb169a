import { expect, test } from "vitest";
import { endOfWorker, THREAD_GONE_MS } from "../../../node/watched-worker.ts";
import { twinClock } from "../../../ports/twin-clock.ts";

const LIMIT_MS = 5_000;

/** The end of a thread that was told to end, step by step. */
function world() {
  const clock = twinClock();
  let terminated = 0;
  let exits: (code: number) => void = () => undefined;
  const exit = new Promise<number>((resolve) => {
    exits = resolve;
  });
  const worker = {
    terminate: async () => {
      terminated += 1;
      return 1;
    },
  };
  let isOver = false;
  const over = endOfWorker(worker, exit, clock, LIMIT_MS).then(() => {
    isOver = true;
  });
  const settled = async () => {
    await new Promise(setImmediate);
    return isOver;
  };
  return { clock, over, settled, exits: () => exits(0), terminated: () => terminated };
}

test("a thread that ends in its time is not ended by force", async () => {
  const { clock, over, exits, terminated } = world();
  clock.advance(LIMIT_MS - 1);
  exits();
  await over;
  expect(clock.pendingTimers).toBe(0);
  expect(terminated()).toBe(0);
});

test("one that hangs is ended, and its end waited for", async () => {
  const { clock, over, settled, exits, terminated } = world();
  clock.advance(LIMIT_MS);
  expect(terminated()).toBe(1);
  expect(await settled()).toBe(false);
  exits();
  await over;
  expect(clock.pendingTimers).toBe(0);
});

test("one that cannot be ended is left behind", async () => {
  const { clock, settled } = world();
  clock.advance(LIMIT_MS + THREAD_GONE_MS - 1);
  expect(await settled()).toBe(false);
  clock.advance(1);
  expect(await settled()).toBe(true);
});
