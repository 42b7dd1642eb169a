import type { Socket } from "node:net";
import { expect, test } from "vitest";
import {
  ConnectionWatch,
  type Watched,
} from "../../../../../node/dataplane/http1/connection-watch.ts";
import { twinClock } from "../../../../../ports/twin-clock.ts";

const LIMITS = {
  headTimeoutMs: 10_000,
  headSweepMs: 500,
  keepAliveTimeoutMs: 65_000,
  idleEvictableMs: 1_000,
};

function watched() {
  const clock = twinClock();
  const watch = new ConnectionWatch({ clock, limits: LIMITS });
  const ended: string[] = [];
  const open = (name: string, hasBegun = false): Watched => {
    const one: Watched = {
      socket: { destroy: () => void ended.push(`${name} closed`) } as unknown as Socket,
      hasBegun,
      headTooSlow: () => void ended.push(`${name} too slow`),
    };
    watch.opened(one);
    return one;
  };
  /** In steps of a sweep, as time goes. */
  const pass = (ms: number): void => {
    for (let passedMs = 0; passedMs < ms; passedMs += LIMITS.headSweepMs) {
      clock.advance(LIMITS.headSweepMs);
    }
  };
  /** As a connection does for a request that comes at once and is over. */
  const serve = (one: Watched): void => {
    watch.isBusy(one);
    watch.rests(one);
  };
  return { clock, watch, ended, open, pass, serve };
}

test("a first head has its time from the connection on, a later one from its first byte on", () => {
  const { watch, ended, open, pass, serve } = watched();
  const [silent, talks] = [open("silent"), open("talks")];
  serve(talks);
  pass(9_500);
  watch.owesHead(talks);
  expect(ended).toEqual([]);
  pass(500);
  expect(ended).toEqual(["silent too slow"]);
  // More bytes of it give it no more time.
  watch.owesHead(talks);
  pass(9_500);
  expect(ended).toEqual(["silent too slow", "talks too slow"]);
  watch.isBusy(silent);
});

test("a silent connection is kept a second longer than its client was told", () => {
  const { ended, open, pass, serve } = watched();
  serve(open("a"));
  pass(65_500);
  expect(ended).toEqual([]);
  pass(500);
  expect(ended).toEqual(["a closed"]);
});

test("whoever is served is neither slow nor silent", () => {
  const { watch, ended, open, pass } = watched();
  const one = open("a");
  watch.isBusy(one);
  pass(200_000);
  expect([ended, watch.evict()]).toEqual([[], undefined]);
  // The timer that has run out meanwhile is set again.
  watch.rests(one);
  pass(66_000);
  expect(ended).toEqual(["a closed"]);
});

test("the connection that rests for longest makes room, if it does so for long enough", () => {
  const { watch, ended, open, pass, serve } = watched();
  const [first, second] = [open("first"), open("second")];
  serve(first);
  expect(watch.evict()).toBeUndefined();
  pass(1_000);
  expect([watch.evict(), watch.evict(), watch.evict()]).toEqual([second, first, undefined]);
  expect(ended).toEqual(["second closed", "first closed"]);
});

test("at an end those rest that were served and have said nothing of a next request", () => {
  const { watch, open, serve } = watched();
  const [fresh, resting, asking] = [open("fresh"), open("resting", true), open("asking", true)];
  for (const one of [resting, asking]) serve(one);
  watch.owesHead(asking);
  expect(watch.resting()).toEqual([resting]);
  expect(fresh.hasBegun).toBe(false);
});
