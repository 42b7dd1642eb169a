import { describe, expect, test, vi } from "vitest";
import type { AccountLimits } from "../../../coordinator/account-limits.ts";
import { LedgerCorrupt, LedgerState } from "../../../coordinator/ledger-state.ts";
import { uuidV7 } from "../../../ports/random.ts";
import { LedgerWorld, START_MS } from "./ledger-world.ts";

const AGENT = "agent/pay/bot";
const OTHER = "agent/pay/helper";

const LIMITS: AccountLimits = [
  {
    account: "global",
    parent: undefined,
    limits: [{ unit: "usd_micros", window: "month", limit: 50_000 }],
  },
  {
    account: "team/pay",
    parent: "global",
    limits: [{ unit: "usd_micros", window: "day", limit: 3_000 }],
  },
  {
    account: AGENT,
    parent: "team/pay",
    limits: [
      { unit: "usd_micros", window: "total", limit: 10_000 },
      { unit: "usd_micros", window: "hour", limit: 2_000 },
      { unit: "calls", window: "day", limit: 100 },
    ],
  },
  {
    account: OTHER,
    parent: "team/pay",
    limits: [{ unit: "usd_micros", window: "day", limit: 5_000 }],
  },
  {
    account: "overrun",
    parent: undefined,
    limits: [{ unit: "usd_micros", window: "total", limit: 700 }],
  },
];

const HOUR = "hour:2026-11-22T09";
const DAY = "day:2026-11-22";

describe("lending", () => {
  test("a lease is charged to the agent and to everything above it, in every window", () => {
    const world = new LedgerWorld(LIMITS);
    const grant = world.granted(AGENT, { usd_micros: 400, calls: 3 });
    expect(grant).toMatchObject({ account: AGENT, epoch: 1, unlimited: ["tokens"] });
    expect(grant.amount).toEqual({ usd_micros: 400, tokens: 0, calls: 3 });
    const own = { reserved: 400, spent: 0, children: 0 };
    expect(world.row(AGENT, "usd_micros", HOUR)).toEqual({
      limit: 2_000,
      available: 1_600,
      ...own,
    });
    expect(world.row(AGENT, "usd_micros", "total")).toMatchObject({ available: 9_600, ...own });
    const below = { reserved: 0, spent: 0, children: 400 };
    expect(world.row("team/pay", "usd_micros", DAY)).toMatchObject({ available: 2_600, ...below });
    expect(world.row("global", "usd_micros", "month:2026-11")).toMatchObject(below);
  });

  test("the slice is a share of what is left, between its bounds, and never below the need", () => {
    const world = new LedgerWorld(LIMITS);
    world.activeNodes = 4;
    // 2,000 of the hour are the tightest: a share of 2,000 / 8 = 250.
    expect(world.granted(AGENT, { usd_micros: 1 }, { want: { usd_micros: 9_999 } }).amount).toEqual(
      { usd_micros: 250, tokens: 0, calls: 0 },
    );
    expect(world.granted(AGENT, { usd_micros: 600 }).amount.usd_micros).toBe(600);
    // 1,150 left: the share of 143 is above the least slice of 100, and only 120 were wanted.
    const modest = world.granted(AGENT, { usd_micros: 1 }, { want: { usd_micros: 120 } });
    expect(modest.amount.usd_micros).toBe(120);
    world.activeNodes = 100;
    const least = world.granted(AGENT, { usd_micros: 1 }, { want: { usd_micros: 9_999 } });
    expect(least.amount.usd_micros).toBe(100);
  });

  test("the largest slice bounds what is wanted but not what is needed", () => {
    const world = new LedgerWorld([
      {
        account: AGENT,
        parent: undefined,
        limits: [{ unit: "usd_micros", window: "total", limit: 1_000_000 }],
      },
    ]);
    const wanted = world.granted(AGENT, {}, { want: { usd_micros: 999_999 } });
    expect(wanted.amount.usd_micros).toBe(1_000);
    expect(world.granted(AGENT, { usd_micros: 5_000 }).amount.usd_micros).toBe(5_000);
  });

  test("a need that does not fit the tightest window is refused, and nothing is taken", () => {
    const world = new LedgerWorld(LIMITS);
    world.granted(AGENT, { usd_micros: 1_500 });
    expect(world.lease(AGENT, { usd_micros: 501 })).toEqual({
      refused: "budget_exhausted",
      message: `${AGENT} has 500 usd_micros left in ${HOUR}`,
      available: { usd_micros: 500, tokens: 0, calls: 100 },
      shortfall: {
        account: AGENT,
        unit: "usd_micros",
        window: HOUR,
        endsAtMs: Date.UTC(2026, 10, 22, 10),
      },
    });
    expect(world.row(AGENT, "usd_micros", HOUR).reserved).toBe(1_500);
    expect(world.granted(AGENT, { usd_micros: 500 }).amount.usd_micros).toBe(500);
  });

  test("siblings share the limit of their team", () => {
    const world = new LedgerWorld(LIMITS);
    world.granted(AGENT, { usd_micros: 2_000 });
    expect(world.lease(OTHER, { usd_micros: 1_001 })).toMatchObject({
      refused: "budget_exhausted",
      message: `team/pay has 1000 usd_micros left in ${DAY}`,
    });
    world.granted(OTHER, { usd_micros: 1_000 });
  });

  test("an account that policy does not list borrows nothing, nor one whose parent is missing", () => {
    const world = new LedgerWorld(LIMITS);
    expect(world.lease("agent/pay/ghost", {})).toMatchObject({ refused: "account_unknown" });
    world.setLimits(LIMITS.filter(({ account }) => account !== "global"));
    expect(world.lease(AGENT, {})).toMatchObject({ refused: "account_unknown" });
  });

  test("a cycle of parents borrows nothing", () => {
    const world = new LedgerWorld([
      { account: "team/a", parent: "team/b", limits: [] },
      { account: "team/b", parent: "team/a", limits: [] },
    ]);
    expect(world.lease("team/a", {})).toMatchObject({ refused: "account_unknown" });
  });

  test("overrun is an account like any other, with a refusal of its own", () => {
    const world = new LedgerWorld(LIMITS);
    world.granted("overrun", { usd_micros: 700 });
    expect(world.lease("overrun", { usd_micros: 1 })).toMatchObject({
      refused: "overrun_exhausted",
    });
  });

  test("a unit without any limit is unlimited and not counted", () => {
    const world = new LedgerWorld([{ account: AGENT, parent: undefined, limits: [] }]);
    const grant = world.granted(AGENT, { usd_micros: 5, tokens: 7, calls: 9 });
    expect(grant.unlimited).toEqual(["usd_micros", "tokens", "calls"]);
    expect(grant.amount).toEqual({ usd_micros: 0, tokens: 0, calls: 0 });
  });

  test("more leases than may be kept are refused", () => {
    const world = new LedgerWorld(LIMITS, { leasesMax: 2 });
    world.granted(AGENT, { calls: 1 });
    world.granted(AGENT, { calls: 1 });
    expect(world.lease(AGENT, { calls: 1 })).toMatchObject({ refused: "budget_unavailable" });
  });
});

describe("time", () => {
  test("a lease lasts its time, or until its first limited window ends", () => {
    const world = new LedgerWorld(LIMITS);
    expect(world.granted(AGENT, { usd_micros: 1 }).ttlMs).toBe(300_000);
    world.pass(29 * 60_000);
    expect(world.granted(AGENT, { usd_micros: 1 }).ttlMs).toBe(60_000);
    // The helper has no limit by the hour: its lease may pass the hour's end.
    expect(world.granted(OTHER, { usd_micros: 1 }).ttlMs).toBe(300_000);
  });

  test("a new window begins empty and the old one is gone", () => {
    const world = new LedgerWorld(LIMITS);
    world.granted(AGENT, { usd_micros: 2_000 });
    expect(world.lease(AGENT, { usd_micros: 1 })).toHaveProperty("refused");
    world.pass(30 * 60_000);
    expect(world.granted(AGENT, { usd_micros: 1 }).amount.usd_micros).toBe(1);
    expect(world.row(AGENT, "usd_micros", "hour:2026-11-22T10").reserved).toBe(1);
    expect(world.row(AGENT, "usd_micros", "total").available).toBe(10_000 - 2_001);
    expect(() => world.row(AGENT, "usd_micros", HOUR)).toThrow("no row");
  });

  test("L2: a wall clock that goes back does not bring an ended window back", () => {
    const world = new LedgerWorld(LIMITS);
    world.granted(AGENT, { usd_micros: 2_000 });
    world.pass(30 * 60_000);
    world.granted(AGENT, { usd_micros: 999 });
    world.nowMs -= 30 * 60_000;
    expect(world.lease(AGENT, { usd_micros: 1_002 })).toHaveProperty("refused");
    world.restart();
    expect(world.lease(AGENT, { usd_micros: 1_002 })).toHaveProperty("refused");
    expect(world.granted(AGENT, { usd_micros: 1 }).ttlMs).toBe(300_000);
  });

  test("I7: a lease expires after its time, the drift of clocks and the guard", () => {
    const world = new LedgerWorld(LIMITS);
    world.granted(AGENT, { usd_micros: 400 });
    world.pass(300_000 + 3_000 + 2_000 - 1);
    world.ledger.roll(world.env());
    expect(world.row(AGENT, "usd_micros", "total")).toMatchObject({ reserved: 400, spent: 0 });
    world.pass(1_000);
    world.ledger.roll(world.env());
    expect(world.row(AGENT, "usd_micros", "total")).toMatchObject({
      available: 9_600,
      reserved: 0,
      spent: 400,
    });
  });

  test("after a restart leases count anew, so none expires too soon", () => {
    const world = new LedgerWorld(LIMITS);
    world.granted(OTHER, { usd_micros: 400 });
    world.pass(200_000);
    world.restart();
    world.pass(300_000);
    world.ledger.roll(world.env());
    expect(world.row(OTHER, "usd_micros", DAY).reserved).toBe(400);
    world.pass(6_000);
    world.ledger.roll(world.env());
    expect(world.row(OTHER, "usd_micros", DAY)).toMatchObject({ reserved: 0, spent: 400 });
  });
});

describe("settling", () => {
  test("moves from reserved to spent, and a final report gives the rest back once", () => {
    const world = new LedgerWorld(LIMITS);
    const grant = world.granted(AGENT, { usd_micros: 400, calls: 4 });
    expect(world.settle(grant, { usd_micros: 150, calls: 1 })).toEqual({
      account: AGENT,
      spent: { usd_micros: 150, tokens: 0, calls: 1 },
      final: false,
    });
    expect(world.row(AGENT, "usd_micros", HOUR)).toMatchObject({ reserved: 250, spent: 150 });
    world.settle(grant, { usd_micros: 180, calls: 1 }, { final: true });
    const settled = { available: 1_820, reserved: 0, spent: 180 };
    expect(world.row(AGENT, "usd_micros", HOUR)).toMatchObject(settled);
    expect(world.row("team/pay", "usd_micros", DAY).children).toBe(180);
    world.settle(grant, { usd_micros: 180, calls: 1 }, { final: true });
    world.settle(grant, { usd_micros: 10 }, { final: true });
    expect(world.row(AGENT, "usd_micros", HOUR)).toMatchObject(settled);
  });

  test("I8: an older report changes nothing, and a final one stays", () => {
    const world = new LedgerWorld(LIMITS);
    const grant = world.granted(AGENT, { usd_micros: 400 });
    world.settle(grant, { usd_micros: 300 });
    expect(world.settle(grant, { usd_micros: 100 })).toMatchObject({
      spent: { usd_micros: 300 },
    });
    expect(world.settle(grant, { usd_micros: 200 }, { final: true })).toMatchObject({
      spent: { usd_micros: 300 },
      final: true,
    });
    expect(world.settle(grant, { usd_micros: 350 })).toMatchObject({
      spent: { usd_micros: 300 },
      final: true,
    });
  });

  test("a report after expiry refunds the rest, once", () => {
    const world = new LedgerWorld(LIMITS);
    const grant = world.granted(OTHER, { usd_micros: 400 });
    world.pass(400_000);
    world.ledger.roll(world.env());
    expect(world.settle(grant, { usd_micros: 100 })).toMatchObject({ final: false });
    expect(world.row(OTHER, "usd_micros", DAY)).toMatchObject({ reserved: 0, spent: 400 });
    for (let i = 0; i < 2; i++) {
      world.settle(grant, { usd_micros: 100 }, { final: true });
      expect(world.row(OTHER, "usd_micros", DAY)).toMatchObject({ available: 4_900, spent: 100 });
    }
  });

  test("what an expired lease still holds is kept, and the rest is to be had at once", () => {
    const world = new LedgerWorld(LIMITS);
    const lease = world.granted(AGENT, { usd_micros: 1_500 });
    world.pass(lease.ttlMs + 10_000);
    world.ledger.roll(world.env());
    world.settle(lease, { usd_micros: 100 }, { keep: { usd_micros: 300 } });
    expect(world.row(AGENT, "usd_micros", HOUR)).toMatchObject({ available: 1_600, spent: 400 });
    // An earlier report that comes late brings nothing back.
    world.settle(lease, { usd_micros: 50 }, { keep: { usd_micros: 900 } });
    expect(world.row(AGENT, "usd_micros", HOUR)).toMatchObject({ available: 1_600, spent: 400 });
    expect(world.settle(lease, { usd_micros: 401 })).toMatchObject({
      refused: "settle_above_lease",
    });
    world.settle(lease, { usd_micros: 350 }, { final: true });
    expect(world.row(AGENT, "usd_micros", HOUR)).toMatchObject({ available: 1_650, spent: 350 });
  });

  test("a report after its window ended refunds only windows that still run", () => {
    const world = new LedgerWorld(LIMITS);
    const grant = world.granted(AGENT, { usd_micros: 400 });
    world.pass(30 * 60_000);
    world.settle(grant, { usd_micros: 100 }, { final: true });
    expect(world.row(AGENT, "usd_micros", "total")).toMatchObject({ available: 9_900, spent: 100 });
    expect(world.row(AGENT, "usd_micros", "hour:2026-11-22T10")).toMatchObject({
      available: 2_000,
      spent: 0,
    });
  });

  test("a report of more than was lent is refused and the lease stays charged in full", () => {
    const world = new LedgerWorld(LIMITS);
    const grant = world.granted(AGENT, { usd_micros: 400 });
    expect(world.settle(grant, { usd_micros: 401 }, { final: true })).toMatchObject({
      refused: "settle_above_lease",
    });
    expect(world.row(AGENT, "usd_micros", HOUR).reserved).toBe(400);
  });

  test("nobody settles another node's lease, nor one under a wrong epoch", () => {
    const world = new LedgerWorld(LIMITS);
    const grant = world.granted(AGENT, { usd_micros: 400 });
    expect(world.settle(grant, {}, { node: "n2", final: true })).toHaveProperty("refused");
    expect(world.settle(grant, {}, { epoch: 2, final: true })).toHaveProperty("refused");
    expect(world.row(AGENT, "usd_micros", HOUR).reserved).toBe(400);
    world.restart();
    expect(world.settle(grant, {}, { final: true })).toMatchObject({ final: true });
  });
});

/** Rewrites the entries of rows as earlier versions had them. */
function formerRows(stored: Map<string, Uint8Array>): void {
  for (const [key, value] of [...stored]) {
    if (!key.startsWith("ledger/rows/")) continue;
    stored.delete(key);
    const rows: Record<string, number[]> = JSON.parse(Buffer.from(value).toString());
    for (const [name, [reserved, spent, children]] of Object.entries(rows)) {
      const former = JSON.stringify({ reserved, spent, children });
      stored.set(`ledger/row/${key.slice(12)}|${name}`, Buffer.from(former));
    }
  }
}

/** The id of a request that its node asked so long after the world began. */
function idAt(ms: number): string {
  return uuidV7(START_MS + ms, { bytes: (count) => new Uint8Array(count) });
}

describe("I5: repetition", () => {
  test("who repeats a request whose lease was settled and forgotten is granted no other", () => {
    const world = new LedgerWorld(LIMITS, { leasesRemembered: 0 });
    const [first, second] = [idAt(1_000), idAt(2_000)];
    for (const requestId of [second, first]) {
      world.settle(world.granted(AGENT, { usd_micros: 400 }, { requestId }), {}, { final: true });
    }
    world.pass(60_000);
    world.ledger.roll(world.env());
    expect(world.state.leaseCount).toBe(0);
    const asked = (requestId: string, more = {}) =>
      world.lease(AGENT, { usd_micros: 1 }, { requestId, ...more });
    const forgotten = { refused: "request_forgotten" };
    // Of one as old that was never heard of nobody can tell, and its node asks anew.
    for (const id of [first, second, idAt(1_500)]) expect(asked(id)).toMatchObject(forgotten);
    world.restart();
    expect(asked(second)).toMatchObject(forgotten);
    expect(asked(second, { node: "n2" })).toHaveProperty("leaseId");
    expect(asked(idAt(2_001))).toHaveProperty("leaseId");
    expect(asked(second, { bootId: "b2" })).toHaveProperty("leaseId");
  });

  test("where there is room a settled lease answers for its request for as long as it may", () => {
    const world = new LedgerWorld(LIMITS, { leasesRemembered: 1 });
    const ids = [1_000, 2_000].map(idAt);
    const settle = (requestId: string) =>
      world.settle(world.granted(AGENT, { usd_micros: 4 }, { requestId }), {}, { final: true });
    const roll = (ms: number) => {
      world.pass(ms);
      world.ledger.roll(world.env());
      return world.state.leaseCount;
    };
    for (const id of ids) settle(id);
    expect([roll(59_000), roll(1_000)]).toEqual([2, 1]);
    expect(roll(539_000)).toBe(1);
    expect(world.lease(AGENT, { usd_micros: 4 }, { requestId: ids[1] as string })).toMatchObject({
      ttlMs: 0,
    });
    expect([roll(1_000), roll(60_000)]).toEqual([0, 0]);
  });

  test("a lease that is not settled is remembered, however old it and its request are", () => {
    const world = new LedgerWorld(LIMITS, { leasesRemembered: 0 });
    const first = world.granted(AGENT, { usd_micros: 400 }, { requestId: idAt(1_000) });
    const next = world.granted(AGENT, { usd_micros: 1 }, { requestId: idAt(2_000) });
    world.settle(next, {}, { final: true });
    world.pass(4_000_000);
    world.ledger.roll(world.env());
    const again = world.granted(AGENT, { usd_micros: 400 }, { requestId: idAt(1_000) });
    expect(again).toMatchObject({ leaseId: first.leaseId, ttlMs: 0 });
  });

  test("an earlier start's lease that is settled late takes nothing from what is forgotten since", () => {
    const world = new LedgerWorld(LIMITS, { leasesRemembered: 0 });
    const old = world.granted(AGENT, { usd_micros: 400 }, { requestId: idAt(0), bootId: "b0" });
    world.pass(10_000);
    const own = world.granted(AGENT, { usd_micros: 1 }, { requestId: idAt(10_000) });
    world.settle(own, {}, { final: true });
    world.pass(120_000);
    world.ledger.roll(world.env());
    world.settle(old, {}, { final: true });
    world.pass(130_000);
    world.ledger.roll(world.env());
    expect(world.state.leaseCount).toBe(0);
    const repeated = world.lease(AGENT, { usd_micros: 1 }, { requestId: idAt(10_000) });
    expect(repeated).toMatchObject({ refused: "request_forgotten" });
  });

  test("the same request gets the same lease, also after a restart, with the time that is left", () => {
    const world = new LedgerWorld(LIMITS);
    const first = world.granted(AGENT, { usd_micros: 400 }, { requestId: "same" });
    world.pass(100_000);
    const again = world.granted(AGENT, { usd_micros: 400 }, { requestId: "same" });
    expect(again).toEqual({ ...first, ttlMs: 200_000 });
    world.restart();
    expect(world.granted(AGENT, { usd_micros: 9 }, { requestId: "same" })).toEqual(again);
    expect(world.row(AGENT, "usd_micros", HOUR).reserved).toBe(400);
  });

  test("the same id of another node or another boot is another request", () => {
    const world = new LedgerWorld(LIMITS);
    const ids = [
      world.granted(AGENT, { usd_micros: 1 }, { requestId: "same" }),
      world.granted(AGENT, { usd_micros: 1 }, { requestId: "same", node: "n2" }),
      world.granted(AGENT, { usd_micros: 1 }, { requestId: "same", bootId: "b2" }),
    ].map(({ leaseId }) => leaseId);
    expect(new Set(ids).size).toBe(3);
  });

  test("a lease that is over is granted again with no time left", () => {
    const world = new LedgerWorld(LIMITS);
    const first = world.granted(AGENT, { usd_micros: 400 }, { requestId: "same" });
    world.settle(first, { usd_micros: 0 }, { final: true });
    expect(world.granted(AGENT, { usd_micros: 400 }, { requestId: "same" })).toEqual({
      ...first,
      ttlMs: 0,
    });
  });

  test("a finished request is forgotten in the end", () => {
    const world = new LedgerWorld(LIMITS);
    const first = world.granted(OTHER, { usd_micros: 400 }, { requestId: "same" });
    world.settle(first, { usd_micros: 0 }, { final: true });
    world.pass(600_001);
    world.ledger.roll(world.env());
    world.restart();
    const later = world.granted(OTHER, { usd_micros: 400 }, { requestId: "same" });
    expect(later.leaseId).not.toBe(first.leaseId);
  });

  test("so is one that was looked at while it was still remembered", () => {
    const world = new LedgerWorld(LIMITS);
    const first = world.granted(OTHER, { usd_micros: 400 }, { requestId: "same" });
    world.settle(first, { usd_micros: 0 }, { final: true });
    world.pass(590_000);
    world.ledger.roll(world.env());
    expect(world.granted(OTHER, { usd_micros: 400 }, { requestId: "same" })).toMatchObject({
      leaseId: first.leaseId,
    });
    world.pass(10_001);
    world.ledger.roll(world.env());
    world.restart();
    const later = world.granted(OTHER, { usd_micros: 400 }, { requestId: "same" });
    expect(later.leaseId).not.toBe(first.leaseId);
  });
});

describe("limits", () => {
  test("an operator's limit stands over policy until its window ends", () => {
    const world = new LedgerWorld(LIMITS);
    world.granted(AGENT, { usd_micros: 2_000 });
    const raise = [{ unit: "usd_micros" as const, window: HOUR, limit: 2_500 }];
    expect(world.ledger.override(AGENT, raise, 1, world.env())).toBe(true);
    expect(world.granted(AGENT, { usd_micros: 500 }).amount.usd_micros).toBe(500);
    world.setLimits(LIMITS);
    expect(world.row(AGENT, "usd_micros", HOUR)).toMatchObject({ limit: 2_500, available: 0 });
    world.restart();
    expect(world.row(AGENT, "usd_micros", HOUR).limit).toBe(2_500);
    world.pass(30 * 60_000);
    world.ledger.roll(world.env());
    expect(world.row(AGENT, "usd_micros", "hour:2026-11-22T10").limit).toBe(2_000);
  });

  test("policy's new limits are in force for all at once, though no account is looked at for that", () => {
    const world = new LedgerWorld(LIMITS);
    world.granted(AGENT, { usd_micros: 1_500 });
    world.granted(OTHER, { usd_micros: 500 });
    const lower = LIMITS.map((entry) => ({
      ...entry,
      limits: entry.limits.map((one) => ({ ...one, limit: Math.floor(one.limit / 2) })),
    }));
    const looks = (["rows", "rowsOf", "row"] as const).map((name) => vi.spyOn(world.state, name));
    world.setLimits(lower);
    for (const look of looks) expect(look).not.toHaveBeenCalled();
    vi.restoreAllMocks();
    expect(world.row(AGENT, "usd_micros", HOUR)).toMatchObject({ limit: 1_000, available: -500 });
    // Less than its own limit leaves: the team's row, which nobody has looked at since, says no.
    expect(world.lease(OTHER, { usd_micros: 1 })).toMatchObject({ refused: "budget_exhausted" });
    world.setLimits(LIMITS);
    expect(world.row(AGENT, "usd_micros", HOUR)).toMatchObject({ limit: 2_000, available: 500 });
    world.granted(OTHER, { usd_micros: 1_000 });
  });

  test("an operator's limit of a window that policy does not limit is one", () => {
    const world = new LedgerWorld(LIMITS);
    const cap = [{ unit: "tokens" as const, window: DAY, limit: 50 }];
    world.ledger.override(AGENT, cap, 1, world.env());
    expect(world.lease(AGENT, { tokens: 51 })).toMatchObject({ refused: "budget_exhausted" });
    expect(world.granted(AGENT, { tokens: 50 }).unlimited).toEqual([]);
  });

  test("a record says all that an operator has set: what it leaves out is policy's again", () => {
    const world = new LedgerWorld(LIMITS);
    const hour = { unit: "usd_micros" as const, window: HOUR, limit: 2_500 };
    const calls = { unit: "calls" as const, window: HOUR, limit: 7 };
    world.ledger.override(AGENT, [hour], 1, world.env());
    world.ledger.override(AGENT, [hour, calls], 2, world.env());
    expect(world.row(AGENT, "usd_micros", HOUR).limit).toBe(2_500);
    expect(world.row(AGENT, "calls", HOUR).limit).toBe(7);
    world.ledger.override(AGENT, [calls], 3, world.env());
    expect(world.row(AGENT, "usd_micros", HOUR).limit).toBe(2_000);
    world.restart();
    expect(world.row(AGENT, "usd_micros", HOUR).limit).toBe(2_000);
    expect(world.row(AGENT, "calls", HOUR).limit).toBe(7);
  });

  test("an older record or an ended window changes nothing", () => {
    const world = new LedgerWorld(LIMITS);
    const set = (v: number, limit: number, window = HOUR): boolean =>
      world.ledger.override(AGENT, [{ unit: "usd_micros", window, limit }], v, world.env());
    expect(set(3, 900)).toBe(true);
    expect(set(2, 9_999)).toBe(false);
    expect(world.row(AGENT, "usd_micros", HOUR).limit).toBe(900);
    // A record that speaks of an ended window alone leaves nothing standing.
    expect(set(9, 9_999, "hour:2026-11-22T08")).toBe(true);
    expect(world.row(AGENT, "usd_micros", HOUR).limit).toBe(2_000);
  });

  test("a limit lowered below what is taken lends nothing until that is true again", () => {
    const world = new LedgerWorld(LIMITS);
    const grant = world.granted(AGENT, { usd_micros: 1_500 });
    const lower = [{ unit: "usd_micros" as const, window: HOUR, limit: 1_000 }];
    world.ledger.override(AGENT, lower, 1, world.env());
    expect(world.row(AGENT, "usd_micros", HOUR)).toMatchObject({ limit: 1_000, available: -500 });
    expect(world.lease(AGENT, { usd_micros: 1 })).toHaveProperty("refused");
    world.settle(grant, { usd_micros: 600 }, { final: true });
    expect(world.granted(AGENT, { usd_micros: 400 }).amount.usd_micros).toBe(400);
  });

  test("a limit that policy adds counts what was lent before it", () => {
    const world = new LedgerWorld(LIMITS);
    world.granted(OTHER, { usd_micros: 800 });
    const added = LIMITS.map((entry) =>
      entry.account === OTHER
        ? { ...entry, limits: [{ unit: "usd_micros", window: "hour", limit: 1_000 } as const] }
        : entry,
    );
    world.setLimits(added);
    expect(world.lease(OTHER, { usd_micros: 201 })).toHaveProperty("refused");
    world.granted(OTHER, { usd_micros: 200 });
  });
});

describe("an account without a limit", () => {
  const limits = LIMITS.map((entry) =>
    entry.account === OTHER ? { ...entry, limits: [] } : entry,
  );

  test("is counted, and what was taken stays taken when an operator sets one", () => {
    const world = new LedgerWorld(limits);
    world.granted(OTHER, { usd_micros: 400 });
    expect(world.ledger.rows(OTHER)).toEqual([]);
    const limit = { unit: "usd_micros", window: DAY, limit: 500 } as const;
    expect(world.ledger.override(OTHER, [limit], 1, world.env())).toBe(true);
    for (const _ of ["", "after a restart"]) {
      expect(world.row(OTHER, "usd_micros", DAY)).toMatchObject({ available: 100, reserved: 400 });
      expect(world.lease(OTHER, { usd_micros: 101 })).toMatchObject({
        refused: "budget_exhausted",
      });
      world.restart();
    }
    expect(world.granted(OTHER, { usd_micros: 100 }).ttlMs).toBe(300_000);
  });

  test("and when policy does", () => {
    const world = new LedgerWorld(limits);
    world.granted(OTHER, { usd_micros: 400 });
    world.setLimits(LIMITS);
    expect(world.row(OTHER, "usd_micros", DAY)).toMatchObject({ available: 4_600, reserved: 400 });
  });
});

describe("store", () => {
  test("all rows of an account are one entry, and what an earlier version wrote becomes that", () => {
    const world = new LedgerWorld(LIMITS);
    world.granted(AGENT, { usd_micros: 400, calls: 3 });
    world.flush();
    const names = [...world.stored.keys()].filter((key) => key.includes(AGENT));
    expect(names).toEqual([`ledger/rows/${AGENT}`]);
    const row = world.row(AGENT, "usd_micros", HOUR);
    formerRows(world.stored);
    expect(world.stored.has(`ledger/row/${AGENT}|usd_micros|${HOUR}`)).toBe(true);
    world.restart();
    expect(world.row(AGENT, "usd_micros", HOUR)).toEqual(row);
    world.granted(AGENT, { usd_micros: 100 });
    world.restart();
    expect(world.row(AGENT, "usd_micros", HOUR).reserved).toBe(500);
    expect([...world.stored.keys()].filter((key) => key.startsWith("ledger/row/"))).toEqual([]);
  });

  test("the rows of a window that is over leave the store, though nobody uses their account", () => {
    const world = new LedgerWorld(LIMITS);
    world.settle(world.granted(AGENT, { usd_micros: 400 }), { usd_micros: 9 }, { final: true });
    world.flush();
    world.pass(3_600_000);
    world.ledger.roll(world.env());
    world.restart();
    const rows = Buffer.from(world.stored.get(`ledger/rows/${AGENT}`) ?? "").toString();
    expect(rows).toContain(DAY);
    expect(rows).not.toContain(HOUR);
  });

  test("a row that disagrees with its leases is not loaded", () => {
    const world = new LedgerWorld(LIMITS);
    world.granted(AGENT, { usd_micros: 400 });
    world.flush();
    const key = `ledger/rows/${AGENT}`;
    const tampered = Buffer.from(`{"usd_micros|${HOUR}":[300,0,0]}`);
    const entries = [...world.stored, [key, tampered] as const];
    expect(() => LedgerState.load(entries, 0)).toThrow(LedgerCorrupt);
  });

  test("a value that is not the ledger's is not loaded", () => {
    for (const [key, value] of [
      ["ledger/row/a|usd_micros|total", '{"reserved":-1,"spent":0,"children":0}'],
      ["ledger/row/a|usd_micros|total", '{"reserved":1}'],
      ["ledger/row/a|euros|total", '{"reserved":1,"spent":0,"children":0}'],
      ["ledger/row/a|usd_micros|week", '{"reserved":1,"spent":0,"children":0}'],
      ["ledger/rows/a", '{"usd_micros|total":[-1,0,0]}'],
      ["ledger/rows/a", '{"usd_micros|total":[1,0]}'],
      ["ledger/rows/a", '{"euros|total":[1,0,0]}'],
      ["ledger/rows/a", '{"usd_micros|week":[1,0,0]}'],
      ["ledger/rows/", '{"usd_micros|total":[1,0,0]}'],
      ["ledger/rows/a", "1"],
      ["ledger/start/n1", '{"bootId":"b"}'],
      ["ledger/start/n1", '{"bootId":1,"askedMs":1}'],
      ["ledger/forgotten/n1", '{"bootId":"b","askedMs":1}'],
      ["ledger/lease/x", "{}"],
      ["ledger/now", "1.5"],
      ["ledger/other", "1"],
      ["ledger/now", "{"],
    ] as const) {
      expect(() => LedgerState.load([[key, Buffer.from(value)]], 0)).toThrow(LedgerCorrupt);
    }
  });
});
