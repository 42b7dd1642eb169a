import { describe, expect, test } from "vitest";
import {
  BROADCAST_EVERY_MS,
  KillBroadcasts,
  NODES_PER_PERIOD,
  PERIODS_WAITED_MAX,
} from "../../../coordinator/broadcast.ts";
import type { Command } from "../../../coordinator/command.ts";
import { twinClock } from "../../../ports/twin-clock.ts";

const COMMAND = { cmdId: "c1", scope: "team/red", bytes: new Uint8Array(1) } as Command;

/** A kill that is said to so many live nodes, of which none has answered. */
function said(liveNodes: number) {
  const clock = twinClock();
  const world = { clock, times: 0, broadcasts: undefined as unknown as KillBroadcasts };
  world.broadcasts = new KillBroadcasts({
    bus: {
      send: () => {
        world.times += 1;
      },
    } as never,
    clock,
    replica: { state: { get: () => ({ cmdId: COMMAND.cmdId }) } } as never,
    isAwaited: () => true,
    liveNodes: () => liveNodes,
  });
  world.broadcasts.say(COMMAND);
  return world;
}

describe("a kill that not all have answered", () => {
  test.each([
    [NODES_PER_PERIOD - 1, 1],
    [NODES_PER_PERIOD, 2],
    [10 * NODES_PER_PERIOD, 11],
    [100 * NODES_PER_PERIOD, PERIODS_WAITED_MAX + 1],
  ])(
    "is said again to %i nodes that are silent after %i periods, and so on",
    (liveNodes, periods) => {
      const world = said(liveNodes);
      for (const times of [1, 2]) {
        world.clock.advance(periods * BROADCAST_EVERY_MS - 1);
        expect(world.times).toBe(times);
        world.clock.advance(1);
        expect(world.times).toBe(times + 1);
      }
    },
  );

  test("is said again a period after the last answer, if it has waited for as many nodes by then", () => {
    const world = said(NODES_PER_PERIOD);
    for (let i = 0; i < 3; i += 1) {
      world.broadcasts.noteAnswer(COMMAND.cmdId);
      world.clock.advance(BROADCAST_EVERY_MS);
    }
    expect(world.times).toBe(1);
    world.clock.advance(BROADCAST_EVERY_MS);
    expect(world.times).toBe(2);
  });

  test.each([
    [0, PERIODS_WAITED_MAX + 1],
    [10 * NODES_PER_PERIOD, PERIODS_WAITED_MAX + 11],
    [100 * NODES_PER_PERIOD, 2 * PERIODS_WAITED_MAX + 1],
  ])(
    "is said again to %i nodes after %i periods in each of which another one answered",
    (liveNodes, periods) => {
      const world = said(liveNodes);
      for (let i = 0; i < periods; i += 1) {
        expect(world.times).toBe(1);
        world.broadcasts.noteAnswer(COMMAND.cmdId);
        world.clock.advance(BROADCAST_EVERY_MS);
      }
      expect(world.times).toBe(2);
    },
  );
});
