import { describe, expect, test } from "vitest";
import type { AccountLimits } from "../../../coordinator/account-limits.ts";
import { ledgerSettings } from "../../../coordinator/config.ts";
import { beginEpoch } from "../../../coordinator/epoch.ts";
import type { CoordinatorEvent } from "../../../coordinator/events.ts";
import type { LeaseGrant } from "../../../coordinator/ledger.ts";
import {
  type ActorLeaseAsk,
  LedgerActor,
  LedgerFault,
  type LedgerStore,
} from "../../../coordinator/ledger-actor.ts";
import { LedgerCorrupt } from "../../../coordinator/ledger-state.ts";
import { NO_AMOUNTS } from "../../../coordinator/ledger-window.ts";
import { twinClock } from "../../../ports/twin-clock.ts";
import { twinRandom } from "../../../ports/twin-random.ts";
import {
  type CommitFate,
  type TwinStore,
  type TwinStoreOptions,
  twinStore,
} from "../../../ports/twin-store.ts";

const LIMITS: AccountLimits = [
  {
    account: "overrun",
    parent: undefined,
    limits: [{ unit: "usd_micros", window: "total", limit: 1_000 }],
  },
];

class ActorWorld {
  readonly clock = twinClock();
  readonly random = twinRandom(1);
  readonly told: CoordinatorEvent[] = [];
  readonly writtenOff: unknown[] = [];
  readonly removed = new Set<string>();
  fencedCount = 0;
  store: TwinStore;
  #requestNo = 0;

  constructor(options: TwinStoreOptions = {}) {
    this.store = twinStore(options);
  }

  async open(mailboxMax = 1_000, store: LedgerStore = this.store): Promise<LedgerActor> {
    const actor = new LedgerActor({
      store,
      clock: this.clock,
      random: this.random,
      tell: (event, fields) => {
        this.told.push(event);
        if (event === "leases_written_off") this.writtenOff.push(fields);
      },
      settings: ledgerSettings({ leaseTtlMs: 60_000, usdMicros: { min: 1, max: 1_000 } }),
      epoch: await beginEpoch(this.store),
      activeNodes: () => 1,
      isRemoved: (node) => this.removed.has(node),
      mailboxMax,
      onFenced: () => {
        this.fencedCount += 1;
      },
    });
    actor.setLimits(LIMITS);
    return actor;
  }

  ask(
    actor: LedgerActor,
    usdMicros: number,
    requestId = `r${++this.#requestNo}`,
    of: Partial<Pick<ActorLeaseAsk, "bootId" | "barred">> = {},
  ) {
    const amounts = { ...NO_AMOUNTS, usd_micros: usdMicros };
    return actor.lease({
      node: "n1",
      bootId: "b1",
      requestId,
      account: "overrun",
      need: amounts,
      want: amounts,
      ...of,
    });
  }
}

describe("the ledger's actor", () => {
  test("a start counts from its first question on, though nothing may be lent to it", async () => {
    const world = new ActorWorld();
    const actor = await world.open();
    await world.ask(actor, 10, "r1");
    const barred = { refused: "killed_agent", message: "agent/pay/bot" };
    expect(await world.ask(actor, 10, "r2", { bootId: "b2", barred })).toEqual(barred);
    await actor.stop();
    world.clock.advance(1_000);
    const later = await world.open();
    expect(await world.ask(later, 10, "r3")).toMatchObject({ refused: "boot_ended" });
    expect(await world.ask(later, 10, "r4", { bootId: "b2" })).toHaveProperty("leaseId");
  });

  test("what was written off is told once it is on the disk, and once", async () => {
    let fate: CommitFate = "good";
    const world = new ActorWorld({ commitFate: () => fate });
    const actor = await world.open();
    await world.ask(actor, 10);
    world.removed.add("n1");
    fate = "fails_not_persisted";
    world.clock.advance(120_000);
    await expect(actor.rows()).rejects.toThrow(LedgerFault);
    expect(world.writtenOff).toEqual([]);
    fate = "good";
    for (let no = 0; no < 3; no += 1) {
      world.clock.advance(60_000);
      await actor.rows();
    }
    const unknown = { ...NO_AMOUNTS, usd_micros: 10 };
    expect(world.writtenOff).toEqual([{ node: "n1", leases: 1, because: "removed", ...unknown }]);
  });

  test("A1: calls of one turn are one commit, and no answer leaves before it", async () => {
    const commits: number[] = [];
    let answered = 0;
    const world = new ActorWorld({
      commitFate: (writes) => {
        commits.push(writes.filter(({ key }) => key.startsWith("ledger/lease/")).length);
        expect(answered).toBe(0);
        return "good";
      },
    });
    const actor = await world.open();
    commits.length = 0;
    const asked = Array.from({ length: 20 }, () =>
      world.ask(actor, 10).then(() => {
        answered += 1;
      }),
    );
    await Promise.all(asked);
    expect(commits).toEqual([20]);
    expect(answered).toBe(20);
  });

  test("refusals need no commit", async () => {
    const world = new ActorWorld();
    const actor = await world.open();
    await world.ask(actor, 1_000);
    let commits = 0;
    const commit = world.store.commit.bind(world.store);
    world.store.commit = (...args) => {
      commits += 1;
      return commit(...args);
    };
    expect(await world.ask(actor, 1)).toMatchObject({ refused: "overrun_exhausted" });
    expect(commits).toBe(0);
  });

  test("a request that was refused stays refused, another one does not", async () => {
    const world = new ActorWorld();
    const actor = await world.open();
    const lease = await world.ask(actor, 1_000);
    if ("refused" in lease) throw new Error("refused");
    expect(await world.ask(actor, 1, "again")).toHaveProperty("refused");
    const spent = { ...NO_AMOUNTS };
    await actor.settle({ node: "n1", leaseId: lease.leaseId, epoch: 1, spent, final: true });
    expect(await world.ask(actor, 1, "again")).toHaveProperty("refused");
    expect(await world.ask(actor, 1)).toHaveProperty("leaseId");
  });

  test("A2: once another run has begun, nothing more is granted", async () => {
    const world = new ActorWorld();
    const [first] = [await world.open()];
    const second = await world.open();
    await expect(world.ask(first, 10)).rejects.toThrow(LedgerFault);
    await expect(world.ask(first, 10)).rejects.toThrow("another coordinator");
    expect(world.fencedCount).toBe(1);
    expect(await world.ask(second, 1_000)).toMatchObject({ epoch: 2 });
  });

  test("A3: after a commit that failed the ledger is what the store holds", async () => {
    for (const fate of ["fails_not_persisted", "fails_but_persisted"] as const) {
      let isBroken = false;
      const world = new ActorWorld({ commitFate: () => (isBroken ? fate : "good") });
      const actor = await world.open();
      isBroken = true;
      await expect(world.ask(actor, 600, "lost")).rejects.toThrow(LedgerFault);
      isBroken = false;
      const [row] = await actor.rows("overrun");
      expect(row?.reserved).toBe(fate === "fails_but_persisted" ? 600 : 0);
      // Whether it was stored or not, a repetition gets the one lease and no second one.
      expect(await world.ask(actor, 600, "lost")).toMatchObject({ amount: { usd_micros: 600 } });
      expect((await actor.rows("overrun"))[0]?.reserved).toBe(600);
      expect(world.told).toContain("ledger_failed");
    }
  });

  test("A4: a full mailbox refuses at once", async () => {
    const world = new ActorWorld();
    const actor = await world.open(3);
    const answers = await Promise.all(Array.from({ length: 5 }, () => world.ask(actor, 10)));
    expect(answers.filter((answer) => "refused" in answer)).toEqual([
      { refused: "budget_unavailable", message: "3 calls wait for the ledger" },
      { refused: "budget_unavailable", message: "3 calls wait for the ledger" },
    ]);
  });

  test("where the store is full nothing more is lent; what was lent is told again, and settled", async () => {
    const world = new ActorWorld();
    let fill = 0.99;
    const { store } = world;
    const actor = await world.open(1_000, {
      get: (key) => store.get(key),
      list: (prefix, options) => store.list(prefix, options),
      commit: (writes, guard) => store.commit(writes, guard),
      get fill() {
        return fill;
      },
    });
    const lent = (await world.ask(actor, 10, "before")) as LeaseGrant;
    fill = 1;
    expect(await world.ask(actor, 10)).toEqual({
      refused: "budget_unavailable",
      message: "the ledger's journal is full",
    });
    expect(await world.ask(actor, 10, "before")).toMatchObject({ leaseId: lent.leaseId });
    const spent = { ...NO_AMOUNTS, usd_micros: 4 };
    const { leaseId, epoch } = lent;
    expect(await actor.settle({ node: "n1", leaseId, epoch, spent, final: true })).toMatchObject({
      final: true,
    });
    fill = 0.5;
    expect(await world.ask(actor, 10)).toHaveProperty("leaseId");
  });

  test("leases expire on disk while nobody asks", async () => {
    const world = new ActorWorld();
    const actor = await world.open();
    await world.ask(actor, 400);
    for (let s = 0; s < 65; s += 1) {
      world.clock.advance(1_000);
      await new Promise((resolve) => setImmediate(resolve));
    }
    const stored = [...world.store.durable].find(([key]) => key.startsWith("ledger/lease/"));
    expect(JSON.parse(Buffer.from(stored?.[1] ?? "").toString()).status).toBe("expired");
  });

  test("a store that does not add up is not lent on", async () => {
    const world = new ActorWorld();
    const actor = await world.open();
    await world.ask(actor, 400);
    await actor.stop();
    const value = Buffer.from('{"usd_micros|total":[1,0,0]}');
    await world.store.commit([{ key: "ledger/rows/overrun", value }]);
    await expect(world.open()).rejects.toThrow(LedgerCorrupt);
  });

  test("a stopped ledger takes no more calls and has ended its writes", async () => {
    const world = new ActorWorld();
    const actor = await world.open();
    const asked = world.ask(actor, 10);
    await Promise.resolve();
    const stopped = actor.stop();
    await expect(world.ask(actor, 10)).rejects.toThrow("stopping");
    await stopped;
    await asked.catch(() => undefined);
  });
});
