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
  const over = endOfWorker(worker, exit, clock, LIMIT_MS).then((isGone) => {
    isOver = true;
    return isGone;
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
  expect(await over).toBe(true);
  expect(clock.pendingTimers).toBe(0);
  expect(terminated()).toBe(0);
});

test("one that hangs is ended, and its end waited for", async () => {
  const { clock, over, settled, exits, terminated } = world();
  clock.advance(LIMIT_MS);
  expect(terminated()).toBe(1);
  expect(await settled()).toBe(false);
  exits();
  expect(await over).toBe(true);
  expect(clock.pendingTimers).toBe(0);
});

test("one that cannot be ended is left behind, and that is said", async () => {
  const { clock, over, settled } = world();
  clock.advance(LIMIT_MS + THREAD_GONE_MS - 1);
  expect(await settled()).toBe(false);
  clock.advance(1);
  expect(await settled()).toBe(true);
  expect(await over).toBe(false);
});
