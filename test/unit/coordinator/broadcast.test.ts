import { describe, expect, test } from "vitest";
import {
  BROADCAST_EVERY_MS,
  KillBroadcasts,
  NODES_PER_PERIOD,
  PERIODS_WAITED_MAX,
  RETURN_KILLS_MAX,
  RETURN_MS,
  RETURN_PERIODS,
} from "../../../coordinator/broadcast.ts";
import type { Command } from "../../../coordinator/command.ts";
import { twinClock } from "../../../ports/twin-clock.ts";

const COMMAND = { cmdId: "team/red", scope: "team/red", bytes: new Uint8Array(1) } as Command;

/** A mesh of more nodes than are waited for any longer, and so many kills. */
function cameBack(kills = 1) {
  const world = said(100 * NODES_PER_PERIOD);
  const { broadcasts } = world;
  for (let i = 1; i < kills; i += 1) {
    broadcasts.say({ ...COMMAND, cmdId: `team/more-${i}`, scope: `team/more-${i}` });
  }
  broadcasts.sayAll();
  world.times = 0;
  broadcasts.sayAll();
  return { world, broadcasts };
}

/** A kill that is said to so many live nodes, of which none has answered. */
function said(liveNodes: number) {
  const clock = twinClock();
  const world = {
    clock,
    times: 0,
    isAwaited: true,
    broadcasts: undefined as unknown as KillBroadcasts,
  };
  world.broadcasts = new KillBroadcasts({
    bus: {
      send: () => {
        world.times += 1;
      },
    } as never,
    clock,
    replica: { state: { get: (scope: string) => ({ cmdId: scope }) } } as never,
    isAwaited: () => world.isAwaited,
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

describe("after this coordinator has come back", () => {
  test("a kill is said at once, ahead of each digest, and soon again, whatever the fleet's size", () => {
    const { world, broadcasts } = cameBack();
    expect(world.times).toBe(1);
    broadcasts.beforeDigest();
    expect(world.times).toBe(2);
    world.clock.advance((RETURN_PERIODS + 1) * BROADCAST_EVERY_MS - 1);
    expect(world.times).toBe(2);
    world.clock.advance(1);
    expect(world.times).toBe(3);
  });

  test("for so long as nodes come back, and then as ever", () => {
    const { world, broadcasts } = cameBack();
    world.clock.advance(RETURN_MS);
    world.times = 0;
    broadcasts.beforeDigest();
    expect(world.times).toBe(0);
    world.clock.advance((RETURN_PERIODS + 2) * BROADCAST_EVERY_MS);
    expect(world.times).toBe(0);
    world.clock.advance(PERIODS_WAITED_MAX * BROADCAST_EVERY_MS);
    expect(world.times).toBe(1);
  });

  test("many kills are said no more often than before: who lacks them asks once for all", () => {
    const { world, broadcasts } = cameBack(RETURN_KILLS_MAX + 1);
    world.times = 0;
    broadcasts.beforeDigest();
    world.clock.advance((RETURN_PERIODS + 1) * BROADCAST_EVERY_MS);
    expect(world.times).toBe(0);
  });

  test("but not after its first connection, which nobody came back with", () => {
    const world = said(100 * NODES_PER_PERIOD);
    world.broadcasts.sayAll();
    world.times = 0;
    world.broadcasts.beforeDigest();
    world.clock.advance((RETURN_PERIODS + 1) * BROADCAST_EVERY_MS);
    expect(world.times).toBe(0);
  });

  test("what every live node has answered is said no more", () => {
    const { world, broadcasts } = cameBack();
    world.isAwaited = false;
    world.times = 0;
    broadcasts.beforeDigest();
    world.clock.advance(RETURN_MS);
    expect(world.times).toBe(0);
  });
});
