import { describe, expect, test } from "vitest";
import { type CommitInput, commit, commitLocal } from "../../../../node/decision/commit.ts";
import { decide } from "../../../../node/decision/decide.ts";
import type { Facts } from "../../../../node/decision/facts.ts";
import type { UpstreamRequest } from "../../../../node/decision/permit.ts";
import { beginKillReading, KILL_READING_MAX_NS } from "../../../../node/table/kill-reading.ts";
import { setKilled } from "../../../../node/table/scope-cells.ts";
import { setUnlimitedUnits, UNIT } from "../../../../node/table/standing.ts";
import { setOpenUntilNs, setPolicyVersion } from "../../../../node/table/table.ts";
import { facts, grant } from "../../../support/builders.ts";
import { CELLS, CONTEXT, LoopWorld } from "../loop-world.ts";

const UPSTREAM: UpstreamRequest = {
  requestId: "r1",
  origin: "https://api.openai.com",
  method: "POST",
  path: "/v1/chat/completions",
  headers: [],
  body: new Uint8Array(),
  credential: { name: "openai", dialect: "openai" },
};
const MONEY = { usdMicros: 6_000n, tokens: 1_500n, calls: 2n };
const RATE = [{ metric: "requests" as const, amount: 1, windowMs: 60_000, burst: 1 }];

function input(
  world: LoopWorld,
  over: Partial<Facts> = {},
): CommitInput & { upstream: UpstreamRequest } {
  const asked = facts({ policy: world.policy, ...over });
  const { row } = world.row;
  return { facts: asked, verdict: decide(asked), row, context: CONTEXT, upstream: UPSTREAM };
}

function funded(): LoopWorld {
  const world = new LoopWorld();
  world.lend(MONEY, 500n);
  return world;
}

const untouched = { ...MONEY, overrunMicros: 500n };

describe("commit", () => {
  test("holds the money, writes one record, and gives a permit for exactly what it was shown", () => {
    const world = funded();
    const result = commit(input(world), world.commitDeps);
    if (!("permit" in result)) throw new Error("not allowed");
    expect(world.left).toEqual({ usdMicros: 1_000n, tokens: 500n, calls: 1n, overrunMicros: 0n });
    expect(world.records).toHaveLength(1);
    expect(world.decisions[0]).toMatchObject({
      dec: "allow",
      rc: "ok",
      hold: { usd_u: 5_000, tok: 1_000, calls: 1, over_u: 500, acct: "agent/research/worker-1" },
    });
    expect(result.permit.request).toBe(UPSTREAM);
    expect(result.permit.consume()).toBe(true);
  });

  test.each(["usdMicros", "tokens", "calls"] as const)(
    "a shortage of %s takes nothing and writes nothing",
    (unit) => {
      const world = new LoopWorld();
      world.lend({ ...MONEY, [unit]: 0n }, 500n);
      const before = world.left;
      const short = unit === "usdMicros" ? "usd" : unit;
      expect(commit(input(world), world.commitDeps)).toEqual({ short });
      expect(world.left).toEqual(before);
      expect(world.records).toEqual([]);
    },
  );

  test("a shortage of overrun gives back what was taken before it", () => {
    const world = new LoopWorld();
    world.lend(MONEY, 499n);
    expect(commit(input(world), world.commitDeps)).toEqual({ short: "overrun" });
    expect(world.left).toEqual({ ...MONEY, overrunMicros: 499n });
  });

  test("a bucket that has run dry refuses with the time to come back, and takes no money", () => {
    const world = funded();
    const limited = { grant: grant({ rate: RATE }) };
    const first = commit(input(world, limited), world.commitDeps);
    expect("permit" in first).toBe(true);
    world.lend(MONEY, 500n);
    const before = world.left;
    const second = commit(input(world, limited), world.commitDeps);
    expect(second).toEqual({
      refusal: {
        reason: "rate_requests",
        stage: 13,
        retryAfterMs: 60_000,
        detail: "all of it fits in 60000 ms",
      },
      recorded: false,
      dry: "requests",
    });
    expect(world.left).toEqual(before);
  });

  test.each([
    [
      "says that it cannot allow",
      (world: LoopWorld) => {
        world.canAllow = false;
      },
    ],
    [
      "cannot write",
      (world: LoopWorld) => {
        world.onAppend = () => {
          throw new Error("disk full");
        };
      },
    ],
  ])("a log that %s refuses, and everything is given back", (_, breakLog) => {
    const world = funded();
    breakLog(world);
    const result = commit(input(world), world.commitDeps);
    expect(result).toEqual({
      refusal: { reason: "audit_unavailable", stage: 14 },
      recorded: false,
    });
    expect(world.left).toEqual(untouched);
    expect(world.records).toEqual([]);
  });

  test.each([
    ["global", 0, "killed_global"],
    ["team", CELLS.team, "killed_team"],
    ["agent", CELLS.agent, "killed_agent"],
    ["contract", CELLS.contract, "killed_contract"],
  ] as const)(
    "a %s kill between the decision and the record leaves no record of an allow",
    (_, cell, reason) => {
      const world = funded();
      setKilled(world.table, cell, true);
      const result = commit(input(world), world.commitDeps);
      expect(result).toEqual({ refusal: { reason, stage: 3 }, recorded: false });
      expect(world.left).toEqual(untouched);
      expect(world.records).toEqual([]);
    },
  );

  test("the log has handed over all that it took when a permit is used, and not before", () => {
    const world = funded();
    const handedOver: number[] = [];
    world.onHandOver = () => handedOver.push(world.decisions.length);
    const result = commit(input(world), world.commitDeps);
    expect([world.soon.length, handedOver]).toEqual([1, []]);
    expect("permit" in result && result.permit.consume()).toBe(true);
    expect(handedOver).toEqual([1]);
  });

  test("a kill that comes while the record is written makes a permit useless", () => {
    const world = funded();
    world.onHandOver = () => setKilled(world.table, CELLS.agent, true);
    const result = commit(input(world), world.commitDeps);
    expect("permit" in result && result.permit.consume()).toBe(false);
  });

  test("a record that the kernel does not take makes a permit useless", () => {
    const world = funded();
    const result = commit(input(world), world.commitDeps);
    world.onHandOver = () => {
      throw new Error("disk full");
    };
    expect("permit" in result && result.permit.consume()).toBe(false);
  });

  test("a kill between the record and the permit undoes the record by a settlement of nothing", () => {
    const world = funded();
    world.onAppend = ({ k }) => {
      if (k === "decision") setKilled(world.table, CELLS.agent, true);
    };
    const result = commit(input(world), world.commitDeps);
    expect(result).toEqual({ refusal: { reason: "killed_agent", stage: 3 }, recorded: true });
    expect(world.left).toEqual(untouched);
    expect(world.settlements).toMatchObject([
      { rc: "killed_agent", ph: "response", settled: { usd_u: 0, tok: 0, calls: 0, over_u: 0 } },
    ]);
    expect(world.decisions).toHaveLength(1);
  });

  test("an undo waits with the record that it undoes", () => {
    const world = funded();
    world.onAppend = ({ k }) => {
      if (k === "decision") setKilled(world.table, CELLS.agent, true);
    };
    commit(input(world), world.commitDeps);
    expect(world.soon).toMatchObject([{ k: "decision" }, { k: "settle" }]);
  });

  test("a kill after the permit was minted makes it useless", () => {
    const world = funded();
    const result = commit(input(world), world.commitDeps);
    if (!("permit" in result)) throw new Error("not allowed");
    setKilled(world.table, CELLS.team, true);
    expect(result.permit.consume()).toBe(false);
  });

  test("a kill that is read for too long makes a permit useless: it may be this agent's", () => {
    const world = funded();
    const result = commit(input(world), world.commitDeps);
    beginKillReading(world.table, world.clock.monoNs() - KILL_READING_MAX_NS);
    expect("permit" in result && result.permit.consume()).toBe(false);
  });

  test("a node that has gone stale mints nothing, and a permit goes stale with it", () => {
    const world = funded();
    const result = commit(input(world), world.commitDeps);
    setOpenUntilNs(world.table, world.clock.monoNs());
    expect("permit" in result && result.permit.consume()).toBe(false);
    world.lend(MONEY, 500n);
    expect(commit(input(world), world.commitDeps)).toEqual({
      refusal: { reason: "mesh_stale", stage: 3 },
      recorded: false,
    });
  });

  test("a policy that moved before the record starts the decision again, with nothing recorded", () => {
    const world = funded();
    setPolicyVersion(world.table, 2);
    expect(commit(input(world), world.commitDeps)).toEqual({ moved: true });
    expect(world.left).toEqual(untouched);
    expect(world.records).toEqual([]);
  });

  test("a policy that moves after the record ends the request: it has one decision on record", () => {
    const world = funded();
    world.onAppend = ({ k }) => {
      if (k === "decision") setPolicyVersion(world.table, 2);
    };
    const result = commit(input(world), world.commitDeps);
    expect(result).toEqual({ refusal: { reason: "policy_changed", stage: 14 }, recorded: true });
    expect(world.left).toEqual(untouched);
    expect([world.decisions.length, world.settlements.length]).toEqual([1, 1]);
  });

  test("an undo that cannot be written gives the money back all the same", () => {
    const world = funded();
    world.onAppend = ({ k }) => {
      if (k === "settle") throw new Error("disk full");
      setKilled(world.table, CELLS.agent, true);
    };
    expect(commit(input(world), world.commitDeps)).toMatchObject({ recorded: true });
    expect(world.left).toEqual(untouched);
  });

  test("a request that the node answers itself is recorded and holds nothing", () => {
    const world = funded();
    const result = commitLocal(
      input(world, { cost: undefined, model: undefined }),
      world.commitDeps,
    );
    expect(result).toEqual({ local: true });
    expect(world.left).toEqual(untouched);
    expect(world.decisions).toHaveLength(1);
    // Nothing is waited for that would write it.
    expect(world.soon).toEqual([]);
    expect(world.decisions[0]?.hold).toBeUndefined();
  });

  test("a unit without a limit is not taken, and so cannot be given back", () => {
    const world = new LoopWorld();
    setUnlimitedUnits(world.table, world.row.row, UNIT.tokens | UNIT.calls);
    world.lend({ usdMicros: 5_000n }, 500n);
    const result = commit(input(world), world.commitDeps);
    const taken = { usdMicros: 5_000n, tokens: 0n, calls: 0n };
    expect("reserved" in result && result.reserved.taken).toEqual(taken);
  });
});
