import { describe, expect, test } from "vitest";
import type { AccountLimits } from "../../../coordinator/account-limits.ts";
import type { LeaseGrant } from "../../../coordinator/ledger.ts";
import { amountsOf, LedgerWorld, SETTINGS } from "./ledger-world.ts";

const BOT = "agent/pay/bot";
const LIMITS: AccountLimits = [
  {
    account: BOT,
    parent: undefined,
    limits: [{ unit: "usd_micros", window: "total", limit: 10_000 }],
  },
];
const EXPIRY_MS = (SETTINGS.leaseTtlMs * 1_010) / 1_000 + SETTINGS.expiryGuardMs;

const spent = (world: LedgerWorld) => world.row(BOT, "usd_micros", "total");
const roll = (world: LedgerWorld, ms: number) => {
  world.pass(ms);
  world.ledger.roll(world.env());
};

describe("leases that run out and whose nodes do not come back", () => {
  /** Leases of 100 that run out one after another. */
  function expired(world: LedgerWorld, nodes: readonly string[]): readonly LeaseGrant[] {
    const grants = nodes.map((node) => {
      world.pass(1_000);
      return world.granted(BOT, { usd_micros: 100 }, { node });
    });
    roll(world, EXPIRY_MS);
    return grants;
  }

  test.each([false, true])(
    "are kept up to so many, the latest, and the rest is spent; after a restart: %s",
    (isRestarted) => {
      const world = new LedgerWorld(LIMITS, { unsettledMax: isRestarted ? 9 : 2 });
      const nodes = ["n1", "n2", "n1", "n3", "n4"];
      const grants = expired(world, nodes);
      if (isRestarted) {
        Object.assign(world.settings, { unsettledMax: 2 });
        world.restart();
        roll(world, 1_000);
      }
      expect(world.state.leaseCount).toBe(2);
      expect(spent(world)).toMatchObject({ reserved: 0, spent: 500, available: 9_500 });
      const unknown = (usd_micros: number) => amountsOf({ usd_micros });
      expect(world.ledger.ends.takeWrittenOff()).toEqual([
        { node: "n1", leases: 2, unknown: unknown(200), because: "many" },
        { node: "n2", leases: 1, unknown: unknown(100), because: "many" },
      ]);
      expect(world.ledger.ends.takeWrittenOff()).toEqual([]);
      const settle = (no: number) =>
        world.settle(
          grants[no] as LeaseGrant,
          { usd_micros: 30 },
          {
            node: nodes[no] as string,
            final: true,
          },
        );
      // Whoever comes back too late gives nothing back; who is still known does, however late.
      expect(settle(0)).toMatchObject({ refused: "lease_unknown" });
      roll(world, 90 * 86_400_000);
      expect(settle(3)).toMatchObject({ final: true });
      expect(spent(world)).toMatchObject({ reserved: 0, spent: 430 });
      world.restart();
      expect(spent(world)).toMatchObject({ reserved: 0, spent: 430 });
    },
  );

  test("make room for one another: who has few of them loses none to a node that has many", () => {
    const world = new LedgerWorld(LIMITS, { unsettledMax: 4 });
    const grants = expired(world, ["n2", "n1", "n1", "n3", "n1", "n1", "n1"]);
    const kept = [0, 3, 5, 6].map((no) => grants[no]?.leaseId);
    expect([...world.state.leases()].map(({ id }) => id)).toEqual(kept);
    expect(world.ledger.ends.takeWrittenOff()).toMatchObject([{ node: "n1", leases: 3 }]);
    world.settle(grants[3] as LeaseGrant, {}, { node: "n3", final: true });
    for (let no = 0; no < 2; no += 1) world.granted(BOT, { usd_micros: 100 }, { node: "n1" });
    roll(world, EXPIRY_MS);
    expect(world.ledger.ends.takeWrittenOff()).toMatchObject([{ node: "n1", leases: 1 }]);
    expect(world.state.lease(grants[5]?.leaseId ?? "")).toBeUndefined();
  });

  test("are written off down to the share of each node that has more", () => {
    const world = new LedgerWorld(LIMITS, { unsettledMax: 5 });
    expired(world, ["n1", "n1", "n1", "n1", "n3", "n3", "n3", "n2"]);
    expect(world.ledger.ends.takeWrittenOff()).toMatchObject([
      { node: "n1", leases: 2 },
      { node: "n3", leases: 1 },
    ]);
    expect(world.state.leaseCount).toBe(5);
  });

  test("one that was written off is not lent again to who repeats its request", () => {
    const world = new LedgerWorld(LIMITS, { unsettledMax: 0 });
    const requestId = "01939000-0000-7000-8000-000000000000";
    world.granted(BOT, { usd_micros: 100 }, { requestId });
    roll(world, EXPIRY_MS);
    expect(world.lease(BOT, { usd_micros: 100 }, { requestId })).toMatchObject({
      refused: "request_forgotten",
    });
    expect(spent(world)).toMatchObject({ spent: 100 });
  });

  test("are written off a minute after their node was removed, those that run out then as well", () => {
    const world = new LedgerWorld(LIMITS);
    const [, ofOther] = expired(world, ["n1", "n2"]);
    world.granted(BOT, { usd_micros: 7 }, { node: "n1" });
    world.removed.add("n1");
    roll(world, 60_000);
    expect(world.ledger.ends.takeWrittenOff()).toMatchObject([
      { node: "n1", leases: 1, because: "removed" },
    ]);
    expect(spent(world)).toMatchObject({ reserved: 7, spent: 200 });
    roll(world, EXPIRY_MS);
    roll(world, 60_000);
    expect([...world.state.leases()].map(({ id }) => id)).toEqual([ofOther?.leaseId]);
    expect(world.ledger.ends.takeWrittenOff()).toHaveLength(1);
    expect(spent(world)).toMatchObject({ reserved: 0, spent: 207 });
  });

  test("are told with what was not reported of them, and count in full", () => {
    const world = new LedgerWorld(LIMITS);
    const grant = world.granted(BOT, { usd_micros: 100 });
    world.settle(grant, { usd_micros: 30 });
    world.removed.add("n1");
    roll(world, EXPIRY_MS);
    expect(world.ledger.ends.takeWrittenOff()).toEqual([
      { node: "n1", leases: 1, unknown: amountsOf({ usd_micros: 70 }), because: "removed" },
    ]);
    expect(spent(world)).toMatchObject({ reserved: 0, spent: 100 });
  });

  test("are written off though an earlier version has not kept that their node asked", () => {
    const world = new LedgerWorld(LIMITS);
    expired(world, ["n1"]);
    world.flush();
    world.stored.delete("ledger/start/n1");
    world.restart();
    world.removed.add("n1");
    roll(world, 60_000);
    expect([world.state.leaseCount, [...world.state.nodes()]]).toEqual([0, []]);
  });

  test("are looked through for removed nodes once a minute", () => {
    const world = new LedgerWorld(LIMITS);
    expired(world, ["n1"]);
    world.removed.add("n1");
    roll(world, 59_000);
    expect(world.state.leaseCount).toBe(1);
    roll(world, 1_000);
    expect(world.state.leaseCount).toBe(0);
  });

  test("do not keep anybody from lending", () => {
    const world = new LedgerWorld(LIMITS, { unsettledMax: 3, leasesMax: 5 });
    for (let no = 0; no < 20; no += 1) {
      world.granted(BOT, { usd_micros: 10 });
      roll(world, EXPIRY_MS);
    }
    expect(world.state.leaseCount).toBe(3);
    expect(spent(world)).toMatchObject({ reserved: 0, spent: 200 });
  });
});

describe("what is to be looked at", () => {
  test("is each lease once, settled or not, and one that ran out only when it is settled", () => {
    const world = new LedgerWorld(LIMITS, { leasesRemembered: 0 });
    const grants = [1, 2, 3].map(() => world.granted(BOT, { usd_micros: 10 }));
    expect(world.ledger.ends.dueCount).toBe(3);
    world.settle(grants[0] as LeaseGrant, {}, { final: true });
    world.settle(grants[0] as LeaseGrant, {}, { final: true });
    expect(world.ledger.ends.dueCount).toBe(3);
    roll(world, 60_000);
    expect(world.ledger.ends.dueCount).toBe(2);
    roll(world, EXPIRY_MS);
    expect(world.ledger.ends.dueCount).toBe(0);
    world.settle(grants[1] as LeaseGrant, {}, { final: true });
    expect(world.ledger.ends.dueCount).toBe(1);
    world.restart();
    expect(world.ledger.ends.dueCount).toBe(1);
    roll(world, 60_000);
    expect([world.ledger.ends.dueCount, world.state.leaseCount]).toEqual([0, 1]);
  });

  test("a lease that is settled while it runs is forgotten after twice the time at most", () => {
    const world = new LedgerWorld(LIMITS, { leasesRemembered: 0 });
    const grant = world.granted(BOT, { usd_micros: 10 });
    roll(world, 60_000);
    roll(world, 10_000);
    world.settle(grant, {}, { final: true });
    roll(world, 49_000);
    expect(world.state.leaseCount).toBe(1);
    roll(world, 1_000);
    expect(world.state.leaseCount).toBe(0);
  });
});
