import { expect, test } from "vitest";
import { Enforcer, type EnforcerDeps } from "../../../../node/kernel/enforcer.ts";
import { twinClock } from "../../../../ports/twin-clock.ts";

const nothing = () => undefined;

/** An enforcer without pods, and the programs that it has started to follow. */
async function enforcerThatFollows() {
  const clock = twinClock();
  const started: { readonly program: string; readonly end: () => void; isStopped: boolean }[] = [];
  const deps: Partial<Record<keyof EnforcerDeps, unknown>> = {
    clock,
    keeper: {
      load: async (_view: unknown, onInForce: () => void) => onInForce(),
      missing: async () => [],
    },
    gate: { killedAddresses: () => [], loaded: nothing },
    pods: { start: nothing, stop: nothing, staleBecause: nothing },
    kept: { on: () => [], keep: nothing },
    readMachine: async () => ({ links: [], routes: [], noted: [] }),
    follow: (program: string, _args: unknown, { end }: { end: () => void }) => {
      const one = { program, end, isStopped: false };
      started.push(one);
      return () => {
        one.isStopped = true;
      };
    },
    infraLinks: [],
    checkMs: 1e9,
    events: { onLoaded: nothing, onAnswer: nothing },
  };
  const enforcer = new Enforcer(deps as EnforcerDeps);
  await enforcer.start();
  return { enforcer, clock, started };
}

test("a program that ends is started again, and what has ended is not kept", async () => {
  const { enforcer, clock, started } = await enforcerThatFollows();
  expect(started.map(({ program }) => program)).toEqual(["nft", "ip"]);
  for (let ended = 0; ended < 3; ended++) {
    started.findLast(({ program }) => program === "nft")?.end();
    clock.advance(1_000);
  }
  expect(started.map(({ program }) => program)).toEqual(["nft", "ip", "nft", "nft", "nft"]);
  enforcer.stop();
  expect(started.map(({ isStopped }) => isStopped)).toEqual([false, true, false, false, true]);
});
