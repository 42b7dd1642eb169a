import { describe, expect, test } from "vitest";
import type { LoopToControl } from "../../../node/thread-messages.ts";
import { CAPTURE_TAKES_MAX_MS, captureWhenReady, capturing } from "../../../node/when-ready.ts";
import { twinClock } from "../../../ports/twin-clock.ts";

/** A loop that takes in what is captured, or cannot. */
function loopThat(fault: string | undefined) {
  const posted: string[] = [];
  const listeners: ((message: LoopToControl) => void)[] = [];
  return {
    ...{ no: 0, posted },
    onMessage: (fn: (message: LoopToControl) => void) => void listeners.push(fn),
    post: ({ t }: { readonly t: string }) => {
      posted.push(t);
      for (const tell of listeners) tell({ t: "captured", fault });
    },
  };
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

describe("what is captured", () => {
  test("is taken in once the node is ready", async () => {
    const clock = twinClock();
    let because: readonly string[] = ["no_digest"];
    const loop = loopThat(undefined);
    const taken = captureWhenReady({ closedBecause: async () => because }, clock, [loop]);
    await turn();
    expect(loop.posted).toEqual([]);
    because = [];
    clock.advance(1_000);
    expect(await taken).toBeUndefined();
    expect(loop.posted).toEqual(["capture"]);
  });

  test("is taken in all the same where the node does not become ready", async () => {
    const clock = twinClock();
    const loop = loopThat(undefined);
    const taken = captureWhenReady({ closedBecause: async () => ["no_policy"] }, clock, [loop]);
    for (let seconds = 0; seconds < 6; seconds += 1) {
      await turn();
      clock.advance(1_000);
    }
    expect(await taken).toBeUndefined();
    expect(loop.posted).toEqual(["capture"]);
  });

  test("makes a node unfit where it cannot be taken in, and only then", async () => {
    const view = { closedBecause: async () => [] };
    const faulty = capturing(view, twinClock(), [loopThat("descriptor 7: EINVAL")]);
    expect((await faulty.unfit).message).toContain("descriptor 7: EINVAL");
    const whole = capturing(view, twinClock(), [loopThat(undefined)]);
    await whole.tried;
    expect(await Promise.race([whole.unfit, turn()])).toBeUndefined();
  });

  test("makes a node unfit where a loop does not answer", async () => {
    const clock = twinClock();
    const silent = { ...loopThat(undefined), post: () => undefined };
    const taken = captureWhenReady({ closedBecause: async () => [] }, clock, [silent]);
    await turn();
    clock.advance(CAPTURE_TAKES_MAX_MS);
    expect(await taken).toContain("data loop 0 did not listen");
  });

  test("is said not to be, and why, where one loop cannot", async () => {
    const loops = [loopThat(undefined), loopThat("descriptor 7: EINVAL")];
    const taken = captureWhenReady({ closedBecause: async () => [] }, twinClock(), loops);
    expect(await taken).toBe("descriptor 7: EINVAL");
  });
});
