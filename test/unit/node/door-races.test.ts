import fc from "fast-check";
import { expect, onTestFinished, test, vi } from "vitest";
import { LingerPlaces } from "../../../node/dataplane/lingering-close.ts";
import { resetConnection } from "../../../node/dataplane/reset-connection.ts";
import { setKilled } from "../../../node/table/scope-cells.ts";
import { setStanding } from "../../../node/table/standing.ts";
import { setOpenUntilNs, setPolicyVersion } from "../../../node/table/table.ts";
import type { CompiledPolicy } from "../../../policy/compiled-policy.ts";
import { grant } from "../../support/builders.ts";
import { proofCount } from "../../support/proof.ts";
import { eventually } from "./dataplane/door.ts";
import {
  answerInPieces,
  begin,
  LIVES,
  type Life,
  type LivesWorld,
  type Living,
  turns,
  Writes,
} from "./door-lives.ts";
import { doorsWorld } from "./doors-world.ts";
import { CELLS } from "./loop-world.ts";
import { AGENT } from "./tunnel-world.ts";

const { count: RUNS, seed } = proofCount("kills and leaves in any turn of anything", {
  small: 200,
  full: 10_000,
});

const { count: CLOSES } = proofCount("doors that close", { small: 40, full: 1_000 });

type Happen = (it: LivesWorld, living: Living) => void | Promise<void>;

/** What may happen while something is under way. */
const EVENTS: Readonly<Record<string, Happen>> = {
  "a kill": (it) => {
    forbid(it, () => setKilled(it.world.table, CELLS.agent, true));
    void it.connections.cutScope("agent", `agent/${AGENT}`);
  },
  "a kill of its team, of which word comes later": async (it) => {
    forbid(it, () => setKilled(it.world.table, CELLS.team, true));
    await turns(10);
    void it.connections.cutScope("team", `team/${TEAM}`);
  },
  "a stale mesh": async (it) => {
    forbid(it, () => setOpenUntilNs(it.world.table, 0n));
    await turns(10);
    void it.connections.closeAll({ by: "reason", reason: "mesh_stale" });
  },
  "another policy": async ({ world, loop }) => {
    const version = world.policy.version + 1;
    world.policy = { ...world.policy, version, agents: new Map([[AGENT, grant({ hosts: [] })]]) };
    setPolicyVersion(world.table, version);
    await loop.live.judge(loop);
  },
  quarantine: (it) => {
    setStanding(it.world.table, it.world.row.row, "quarantine");
    void it.connections.cutAtLevel(AGENT, "quarantine");
  },
  "a reset": (_it, { socket }) => {
    if (socket?.connecting) socket.destroy();
    else if (socket !== undefined) resetConnection(socket);
  },
  "an end": (_it, { socket }) => void socket?.end(),
  "a far side that goes away": ({ far, inside, captured }) => {
    for (const one of [far, inside, captured]) for (const leg of one.sockets) leg.destroy();
  },
  nothing: () => undefined,
};

const TEAM = AGENT.slice(0, AGENT.indexOf("/"));

/** From within the turn in which the cells say so on, nothing may leave. */
function forbid({ writes }: LivesWorld, close: () => void): void {
  close();
  writes.isForbidden = true;
}

function undo(it: LivesWorld, policy: CompiledPolicy): void {
  const { world, writes } = it;
  writes.isForbidden = false;
  for (const cell of [CELLS.agent, CELLS.team]) setKilled(world.table, cell, false);
  setOpenUntilNs(world.table, 1n << 60n);
  setStanding(world.table, world.row.row, "normal");
  world.policy = { ...policy, version: world.policy.version };
}

const race = fc.record({
  life: fc.constantFrom(...LIVES.keys()),
  /** One, or another behind it. */
  events: fc.array(fc.constantFrom(...Object.keys(EVENTS)), { minLength: 1, maxLength: 2 }),
  /** Turns before each. */
  at: fc.tuple(fc.nat(60), fc.nat(10)),
  gap: fc.nat(3),
  farGap: fc.nat(4),
});

const closing = fc.record({
  life: fc.constantFrom(...LIVES.keys()),
  /** Turns before they take no more. */
  at: fc.nat(40),
  /** And from then on to the end. */
  told: fc.nat(20),
  gap: fc.nat(3),
  farGap: fc.nat(4),
});

test(`whatever happens in whatever turn of ${RUNS} conversations, nothing leaves after a kill and nothing is left`, async () => {
  const it: LivesWorld = { ...(await doorsWorld()), writes: new Writes() };
  const { policy } = it.world;
  const taken = vi.spyOn(LingerPlaces.prototype, "take");
  const given = vi.spyOn(LingerPlaces.prototype, "give");
  onTestFinished(() => {
    for (const spy of [taken, given]) spy.mockRestore();
  });
  await fc.assert(
    fc.asyncProperty(race, async ({ life, events, at, gap, farGap }) => {
      answerInPieces(it, farGap);
      const before = balances(it);
      const living: Living = { socket: undefined, gap, isOver: false };
      begin(LIVES.get(life) as Life, it, living);
      for (const [i, event] of events.entries()) {
        await turns(at[i] as number);
        await EVENTS[event]?.(it, living);
      }
      await eventually(() => living.isOver, `the end of what the client of ${life} says`);
      await turns(60);
      living.socket?.destroy();
      await eventually(() => isOver(it, before), `the end of ${life}`);
      expect(it.writes.late.splice(0), "what left after the kill").toEqual([]);
      undo(it, policy);
      expectNothingLeft(it, before);
    }),
    { numRuns: RUNS, seed: seed | 0 },
  );
  const places = taken.mock.results.filter(({ value }) => value === true).length;
  expect(given.mock.calls.length).toBe(places);
});

test(`doors that are closed in whatever turn of ${CLOSES} conversations close, and nothing is left`, async () => {
  const socketsBefore = openSockets();
  await fc.assert(
    fc.asyncProperty(closing, async ({ life, at, gap, farGap, told }) => {
      const it: LivesWorld = { ...(await doorsWorld()), writes: new Writes() };
      answerInPieces(it, farGap);
      const before = balances(it);
      const living: Living = { socket: undefined, gap, isOver: false };
      begin(LIVES.get(life) as Life, it, living);
      await turns(at);
      for (const door of [it.doors, it.capture]) door.stopAccepting();
      await turns(told);
      await Promise.all([it.doors.close(), it.capture.close()]);
      await eventually(() => living.isOver && isOver(it, before), `the end of ${life}`);
      living.socket?.destroy();
      expectNothingLeft(it, before);
      await it.close();
      await eventually(() => openSockets() <= socketsBefore, "every socket is closed");
    }),
    { numRuns: CLOSES, seed: seed | 0 },
  );
});

function openSockets(): number {
  return process.getActiveResourcesInfo().filter((name) => name.startsWith("TCP")).length;
}

/** What its agent's row has, and how many have pinned it. */
function balances({ world }: LivesWorld) {
  const { layout, ints } = world.table;
  return { ...world.left, pins: ints[layout.pinsAt + world.row.row] };
}

/** What waits for a connection to be closed has its turn behind that. */
function isOver(it: LivesWorld, { pins }: ReturnType<typeof balances>): boolean {
  const { connections, loop } = it;
  const open = connections.count() + loop.holds.count + loop.live.count;
  return open === 0 && balances(it).pins === pins;
}

function expectNothingLeft(it: LivesWorld, before: ReturnType<typeof balances>): void {
  const { world, connections, faults } = it;
  const settled = world.settled.splice(0);
  const allowed = world.decisions.filter(({ dec, ph }) => dec === "allow" && ph === "request");
  const ended = world.settlements;
  world.records.length = 0;
  const spent = (of: "usdMicros" | "tokens" | "calls") =>
    settled.reduce((sum, one) => sum + one.spent[of], 0n);
  const overrun = settled.reduce((sum, one) => sum + one.overrunSpentMicros, 0n);
  expect({
    faults,
    bodies: connections.waitingBodies(AGENT),
    exchanges: connections.countOf(AGENT),
    balances: balances(it),
    ended: ended.map(({ rid }) => rid).toSorted(),
  }).toEqual({
    faults: [],
    bodies: 0,
    exchanges: 0,
    balances: {
      usdMicros: before.usdMicros - spent("usdMicros"),
      tokens: before.tokens - spent("tokens"),
      calls: before.calls - spent("calls"),
      overrunMicros: before.overrunMicros - overrun,
      pins: before.pins,
    },
    ended: allowed.map(({ rid }) => rid).toSorted(),
  });
}
