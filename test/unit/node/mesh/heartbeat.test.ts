import { expect, test } from "vitest";
import { Heartbeat } from "../../../../node/mesh/heartbeat.ts";
import { twinClock } from "../../../../ports/twin-clock.ts";
import { twinRandom } from "../../../../ports/twin-random.ts";
import { signers } from "./mesh-world.ts";

const EVERY_MS = 2_000;
const HASH = new Uint8Array(32);
const PULSE = { lastSeq: 1, stateHash: HASH, durableStateHash: HASH, closed: true, open: true };

/** A node's heartbeat that has not started, on a bus that is up or not, and how many it has said. */
function beating(isUp: boolean) {
  const clock = twinClock();
  const bus = { isUp: () => world.isUp, send: () => void world.said.push(clock.nowMs()) };
  const heartbeat = new Heartbeat({
    node: "n1",
    bootId: "boot",
    everyMs: EVERY_MS,
    clock,
    random: twinRandom(1),
    signer: signers.stranger,
    pulse: () => PULSE,
    bus,
  });
  const world = { clock, heartbeat, isUp, said: [] as number[] };
  return world;
}

/** Beats of a node whose connection is away for so long from a beat on: with the next one, and in the period after. */
function saidAfter(awayMs: number, meanwhile: (heartbeat: Heartbeat) => void = () => undefined) {
  const world = beating(true);
  const { clock, heartbeat } = world;
  heartbeat.start();
  while (world.said.length < 3) clock.advance(1);
  world.isUp = false;
  clock.advance(awayMs);
  meanwhile(heartbeat);
  expect(world.said, "nobody would have heard it").toHaveLength(3);
  world.isUp = true;
  heartbeat.connected();
  const atOnce = world.said.length - 3;
  clock.advance(EVERY_MS);
  return { atOnce, soon: world.said.length - 3 };
}

test("a node that was away for less than two beats is heard with its next regular one", () => {
  expect(saidAfter(10)).toEqual({ atOnce: 0, soon: 1 });
  expect(saidAfter(2 * EVERY_MS - 1)).toEqual({ atOnce: 0, soon: 1 });
});

test("a node that was away for two beats is heard at once", () => {
  expect(saidAfter(2 * EVERY_MS).atOnce).toBe(1);
});

test("what somebody waited for is said as soon as there is a connection, once", () => {
  const policy = { version: 2, refusedVersion: 0, refused: "" };
  const news = (heartbeat: Heartbeat) => heartbeat.note({ agents: 0, connections: 0, policy });
  expect(saidAfter(10, news).atOnce).toBe(1);
  expect(saidAfter(10, (heartbeat) => heartbeat.beat()).atOnce).toBe(1);
});

test("a node that starts without a connection is heard with the first one", () => {
  const world = beating(false);
  world.heartbeat.start();
  expect(world.said).toEqual([]);
  world.isUp = true;
  world.heartbeat.connected();
  world.heartbeat.connected();
  expect(world.said).toHaveLength(1);
});
