import { describe, expect, test } from "vitest";
import { NOTHING } from "../../../../node/actors/account-book.ts";
import { MAILBOX_MAX, STORE_RETRY_MS } from "../../../../node/actors/actor-host.ts";
import { encodeLadder } from "../../../../node/actors/agent-record.ts";
import { newLadder } from "../../../../node/actors/ladder.ts";
import { balance, overrunBalance } from "../../../../node/table/lend.ts";
import { reserve, settle } from "../../../../node/table/reserve.ts";
import { standingOf, UNIT, unlimitedUnits } from "../../../../node/table/standing.ts";
import { Standing } from "../../../../proto/gen/altrace/v1/mesh_pb.ts";
import { policy } from "../../../support/builders.ts";
import { NodeWorld, settled, usd, usdLimits } from "./node-world.ts";

const A = "agent/t/a";
const B = "agent/t/b";
const USD = 1_000_000;

const world = (over: Partial<ConstructorParameters<typeof NodeWorld>[0]> = {}) =>
  new NodeWorld({ limits: usdLimits(100 * USD, { a: 10 * USD, b: 10 * USD }), ...over });

function holdUsd(one: NodeWorld, account: string, micros: bigint) {
  const { row } = one.row(account);
  const charges = { cost: usd(micros), overrunMicros: 0n, buckets: [] };
  return reserve(one.table, row, charges, one.clock.monoNs());
}

function endUsd(one: NodeWorld, account: string, held: bigint, spent: bigint): void {
  const { row } = one.row(account);
  settle(one.table, row, {
    held: usd(held),
    spent: usd(spent),
    overrunHeldMicros: 0n,
    overrunSpentMicros: 0n,
  });
  one.host.settled(account, usd(spent));
}

function refusal() {
  const offence = { cause: "refusal", judgedAt: "normal", requestId: "r1" } as const;
  return { t: "event", allowed: false, offence } as const;
}

/** The reply, or "waiting" while there is none. */
async function now<T>(promise: Promise<T>): Promise<T | "waiting"> {
  await settled();
  return Promise.race([promise, Promise.resolve("waiting" as const)]);
}

describe("the actor host", () => {
  test("lends what a top-up asks for, and its row can pay for it", async () => {
    const one = world();
    const { row } = one.row(A);
    expect(await one.host.topUp(A, usd(700n))).toEqual({ outcome: "ok" });
    expect(balance(one.table, row).usdMicros).toBe(1_000_000n);
    expect(holdUsd(one, A, 700n)).toEqual({ taken: usd(700n) });
    expect(one.faults).toEqual([]);
  });

  test("fills the overrun account of the node by the same ways", async () => {
    const one = world();
    expect(await one.host.topUp("overrun", usd(5_000_000n))).toEqual({ outcome: "ok" });
    expect(overrunBalance(one.table)).toBe(5_000_000n);
  });

  test("A1: turns of one account never overlap, and each sees what the one before lent", async () => {
    const one = world();
    one.row(A);
    const answers = await Promise.all(
      Array.from({ length: 40 }, () => one.host.topUp(A, usd(200_000n))),
    );
    expect(answers.every(({ outcome }) => outcome === "ok")).toBe(true);
    const view = one.host.view(A);
    const lent = view?.state.book.leases.reduce((sum, lease) => sum + lease.lent.usdMicros, 0n);
    expect(view?.balance.usdMicros).toBe(lent);
  });

  test("A3: nothing is lent and nobody is told before the commit is on disk", async () => {
    const one = world();
    const { row } = one.row(A);
    let seen: unknown;
    one.fate = () => {
      seen = {
        lent: balance(one.table, row).usdMicros,
        stored: one.store.get(`book/${A}`) !== undefined,
      };
      return "good";
    };
    await one.host.topUp(A, usd(700n));
    expect(seen).toEqual({ lent: 0n, stored: false });
  });

  test("A3: a crash between commit and reply counts what nobody was told of as spent", async () => {
    const one = world();
    one.row(A);
    const { promise: crashed, resolve } = Promise.withResolvers<void>();
    one.fate = () => {
      // The commit is kept, and the process ends before anybody hears of it.
      queueMicrotask(() => resolve());
      return "good";
    };
    void one.host.topUp(A, usd(700n));
    await crashed;
    one.fate = () => "good";
    await one.crash();
    await settled();
    expect(await one.available(A, "usd_micros")).toBe(9 * USD);
  });

  test("A4: what was lent at a crash is spent, the rest of each lease goes back", async () => {
    const one = world();
    one.row(A);
    await one.host.topUp(A, usd(3_000_000n));
    holdUsd(one, A, 3_000_000n);
    endUsd(one, A, 3_000_000n, 1n);
    await settled();
    await one.crash();
    await settled();
    expect(await one.available(A, "usd_micros")).toBe(7 * USD);
    expect([...one.store.durable.keys()]).toEqual([]);
    expect(await one.host.topUp(A, usd(7_000_000n))).toEqual({ outcome: "row_gone" });
    one.row(A);
    expect(await one.host.topUp(A, usd(7_000_000n))).toEqual({ outcome: "ok" });
  });

  test.each(["fails_not_persisted", "fails_but_persisted"] as const)(
    "a commit that %s loses no money and leaves nobody waiting",
    async (fate) => {
      const one = world();
      const { row } = one.row(A);
      one.fate = () => fate;
      expect(await one.host.topUp(A, usd(700n))).toEqual({ outcome: "unavailable" });
      expect(balance(one.table, row)).toEqual(NOTHING);
      expect(await one.host.topUp(A, usd(700n))).toEqual({ outcome: "unavailable" });
      await one.pass(STORE_RETRY_MS);
      expect(balance(one.table, row)).toEqual(NOTHING);
      one.fate = () => "good";
      await one.pass(STORE_RETRY_MS);
      expect(await one.host.topUp(A, usd(700n))).toEqual({ outcome: "ok" });
      await one.pass(40_000);
      expect(one.host.view(A)?.state.book.leases ?? []).toEqual([]);
      expect(await one.available(A, "usd_micros")).toBe(10 * USD);
    },
  );

  test("a settlement whose commit failed and was kept is not lent from again", async () => {
    const one = world();
    const { row } = one.row(A);
    await one.host.topUp(A, usd(700n));
    one.fate = () => "fails_but_persisted";
    // Idle: everything goes back, and the closing of the lease is what fails.
    await one.pass(32_000);
    await one.host.topUp(A, usd(700n));
    expect(balance(one.table, row)).toEqual(NOTHING);
    one.fate = () => "good";
    await one.pass(2_000);
    expect(await one.available(A, "usd_micros")).toBe(10 * USD);
    expect(await one.host.topUp(A, usd(10_000_000n))).toEqual({ outcome: "ok" });
  });

  test("A5: a full mailbox refuses top-ups at once and keeps what was spent", async () => {
    const one = world();
    one.row(A);
    const first = one.host.topUp(A, usd(1n));
    for (let i = 0; i < MAILBOX_MAX + 10; i++) {
      one.host.tell(A, { t: "event", allowed: true, offence: undefined });
    }
    one.fate = () => "fails_not_persisted";
    await first;
    for (let i = 0; i < MAILBOX_MAX + 10; i++) {
      one.host.tell(A, { t: "event", allowed: true, offence: undefined });
    }
    expect(await one.host.topUp(A, usd(1n))).toEqual({ outcome: "unavailable" });
  });

  test("a lost answer is asked for again under its own id, so no grant is left behind", async () => {
    const one = world();
    one.row(A);
    one.passage = (method) => (method === "lease" ? { lost: "reply" } : {});
    const waiting = one.host.topUp(A, usd(700n));
    await one.pass(2_000);
    expect(await waiting).toEqual({ outcome: "unavailable" });
    expect(await one.available(A, "usd_micros")).toBe(9 * USD);
    one.passage = () => ({});
    await one.pass(2_000);
    // Found by a tick, with nobody asking; and given back once the account is idle.
    expect(one.host.view(A)?.state.book.leases).toHaveLength(1);
    await one.pass(40_000);
    expect(await one.available(A, "usd_micros")).toBe(10 * USD);
  });

  test("whoever is in use is let be once nothing is left to do, until told something or idle", async () => {
    const one = world({ policy: policy() });
    one.row(A);
    await one.host.topUp(A, usd(700n));
    await one.pass(12_000);
    let changes = 0;
    one.host.accounts.follow((account, what) => {
      if (account === A && what === "changed") changes += 1;
    });
    one.asked.length = 0;
    await one.pass(10_000);
    expect(changes).toBe(0);
    one.host.settled(A, usd(700n));
    await one.pass(6_000);
    // What it has spent is reported, though it is not idle.
    expect(one.asked).toEqual(["settle"]);
    expect(changes).toBeGreaterThan(0);
    await one.pass(40_000);
    expect(one.host.accounts.has(A)).toBe(false);
    expect(await one.available(A, "usd_micros")).toBe(10 * USD - 700);
  });

  test("a settlement that does not arrive is sent until it does", async () => {
    const one = world();
    one.row(A);
    await one.host.topUp(A, usd(700n));
    one.passage = (method) => (method === "settle" ? { lost: "request" } : {});
    await one.pass(35_000);
    expect([...one.store.durable.keys()].filter((key) => key.startsWith("settle/"))).toHaveLength(
      1,
    );
    one.passage = () => ({});
    await one.pass(5_000);
    expect([...one.store.durable.keys()]).toEqual([]);
    expect(await one.available(A, "usd_micros")).toBe(10 * USD);
  });

  test("whoever asks when a window is about to end has its money in the next one", async () => {
    const limits = usdLimits(100 * USD, {}).concat({
      account: A,
      parent: "team/t",
      limits: [{ unit: "usd_micros", window: "hour", limit: 10 * USD }],
    });
    const one = world({ limits, leaseTtlMs: 30_000 });
    one.row(A);
    expect(await one.host.topUp(A, usd(9_000_000n))).toEqual({ outcome: "ok" });
    holdUsd(one, A, 9_000_000n);
    endUsd(one, A, 9_000_000n, 9_000_000n);
    await one.pass(29 * 60_000 + 59_000);
    one.clock.advance(950);
    // On the way to and from the ledger 10 ms each: the window's end is 40 ms after the grant.
    one.passage = () => ({ delayMs: 10 });
    const answer = one.host.topUp(A, usd(500_000n));
    await settled();
    one.clock.advance(10);
    expect(await now(answer)).toBe("waiting");
    one.clock.advance(40);
    expect(await now(answer)).toBe("waiting");
    one.clock.advance(1);
    await settled();
    one.clock.advance(10);
    expect(await now(answer)).toEqual({ outcome: "ok" });
    expect(holdUsd(one, A, 500_000n)).toEqual({ taken: usd(500_000n) });
    await one.pass(2_000);
    // What was lent for an instant went back: the new window pays for what was lent in it, no other.
    const [row] = (await one.ledger.rows(A)).filter(({ unit }) => unit === "usd_micros");
    expect(row).toMatchObject({ window: "hour:2026-11-22T10", spent: 0, reserved: 1_000_000 });
    expect(one.faults).toEqual([]);
  });

  test("a no for want of money ends with the window that it was said in", async () => {
    const limits = usdLimits(100 * USD, {}).concat({
      account: A,
      parent: "team/t",
      limits: [{ unit: "usd_micros", window: "hour", limit: USD }],
    });
    const one = world({ limits });
    one.row(A);
    await one.host.topUp(A, usd(1_000_000n));
    holdUsd(one, A, 1_000_000n);
    await one.pass(29 * 60_000 + 59_000);
    one.clock.advance(850);
    const answer = await one.host.topUp(A, usd(500_000n));
    expect(answer).toMatchObject({ outcome: "exhausted" });
    const { untilNs = 0n } = answer.refusal ?? {};
    expect(untilNs - one.clock.monoNs()).toBe(150_000_000n);
    one.clock.advance(150);
    expect(await one.host.topUp(A, usd(500_000n))).toEqual({ outcome: "ok" });
  });

  test("no balance stays in the table after its lease's deadline, and holds stay good", async () => {
    const one = world();
    const { row } = one.row(A);
    await one.host.topUp(A, usd(700_000n));
    holdUsd(one, A, 700_000n);
    one.clock.advance(29_901);
    expect(balance(one.table, row)).toEqual(NOTHING);
    await settled();
    endUsd(one, A, 700_000n, 500_000n);
    await settled();
    expect(balance(one.table, row)).toEqual(NOTHING);
    await settled();
    expect(await one.available(A, "usd_micros")).toBe(10 * USD - 500_000);
  });

  test("a request that goes on past its lease keeps no more than its hold from the others", async () => {
    const one = world();
    one.row(A);
    await one.host.topUp(A, usd(100_000n));
    holdUsd(one, A, 100_000n);
    await one.pass(31_000);
    expect(await one.host.topUp(A, usd(8_900_000n))).toEqual({ outcome: "ok" });
    holdUsd(one, A, 8_900_000n);
    // One dollar was lent for the first; its 0.9 unheld came back before the lease could be closed.
    expect(await one.available(A, "usd_micros")).toBeGreaterThanOrEqual(0);
    endUsd(one, A, 100_000n, 100_000n);
    endUsd(one, A, 8_900_000n, 8_900_000n);
    await one.pass(70_000);
    expect(await one.available(A, "usd_micros")).toBe(USD);
  });

  test("row gone: what was lent to nobody comes back, and the asker hears of it", async () => {
    const one = world();
    expect(await one.host.topUp(A, usd(700n))).toEqual({ outcome: "row_gone" });
    await one.pass(40_000);
    expect(await one.available(A, "usd_micros")).toBe(10 * USD);
  });

  test("a unit without a limit is flagged on the row, and no longer than the lease lasts", async () => {
    const one = world();
    const { row } = one.row(A);
    await one.host.topUp(A, { usdMicros: 1n, tokens: 5n, calls: 1n });
    expect(unlimitedUnits(one.table, row)).toBe(UNIT.tokens | UNIT.calls);
    one.clock.advance(29_901);
    expect(unlimitedUnits(one.table, row)).toBe(0);
  });

  test("a limit that comes later holds: flags go at once, also of accounts that are forgotten", async () => {
    const one = world({ limits: usdLimits(100 * USD, {}), leaseTtlMs: 300_000 });
    const free = [{ account: A, parent: undefined, limits: [] }];
    one.ledger.setLimits(free);
    const { row } = one.row(A);
    await one.host.topUp(A, usd(5n));
    expect(unlimitedUnits(one.table, row)).toBe(UNIT.usd | UNIT.tokens | UNIT.calls);
    one.ledger.setLimits(usdLimits(USD, { a: 10 }));
    one.host.limitsChanged();
    expect(unlimitedUnits(one.table, row)).toBe(0);
    expect(await one.host.topUp(A, usd(11n))).toMatchObject({ outcome: "exhausted" });
    expect(await one.host.topUp(A, usd(10n))).toEqual({ outcome: "ok" });

    one.ledger.setLimits(free);
    one.host.limitsChanged();
    expect(await one.host.topUp(A, usd(9_000_000n))).toEqual({ outcome: "ok" });
    expect(unlimitedUnits(one.table, row)).not.toBe(0);
    await one.pass(70_000);
    expect(one.host.accounts.size).toBe(0);
    expect(unlimitedUnits(one.table, row)).toBe(0);
  });

  test("limits that change while the ledger is being asked leave no flag of before", async () => {
    const one = world();
    one.ledger.setLimits([{ account: A, parent: undefined, limits: [] }]);
    const { row } = one.row(A);
    one.passage = () => ({ delayMs: 10 });
    const waiting = one.host.topUp(A, usd(5n));
    await settled();
    // The ledger has answered by the old limits when the node hears of the new ones.
    one.clock.advance(10);
    one.host.limitsChanged();
    expect(await now(waiting)).toBe("waiting");
    expect(unlimitedUnits(one.table, row)).toBe(0);
    one.ledger.setLimits(usdLimits(USD, { a: 10 }));
    // The lease that came too late is given back, and the next question waits for that message.
    await one.pass(20);
    expect(await now(waiting)).toEqual({ outcome: "ok" });
    expect(unlimitedUnits(one.table, row)).toBe(UNIT.tokens | UNIT.calls);
  });

  test("an idle account gives its money back and is forgotten", async () => {
    const one = world();
    one.row(A);
    await one.host.topUp(A, usd(700n));
    expect(one.host.accounts.size).toBe(1);
    await one.pass(35_000);
    expect(one.host.accounts.size).toBe(0);
    expect(await one.available(A, "usd_micros")).toBe(10 * USD);
    expect([...one.store.durable.keys()]).toEqual([]);
  });

  test("what an agent spends is told as it goes on while a limit counts it, and else with its lease", async () => {
    const team = { account: "team/t", parent: undefined };
    const limits = [
      { ...team, limits: [{ unit: "usd_micros", window: "total", limit: 100 * USD }] },
      { account: A, parent: "team/t", limits: [] },
    ] as const;
    const settlements = async (one: NodeWorld) => {
      one.row(A);
      await one.host.topUp(A, usd(700n));
      holdUsd(one, A, 700n);
      endUsd(one, A, 700n, 123n);
      await one.pass(11_000);
      const told = one.asked.filter((method) => method === "settle").length;
      await one.pass(25_000);
      const inAll = one.asked.filter((method) => method === "settle").length;
      return { told, inAll, left: await one.available("team/t", "usd_micros") };
    };
    const left = 100 * USD - 123;
    expect(await settlements(world({ policy: policy() }))).toEqual({ told: 1, inAll: 2, left });
    expect(await settlements(world({ limits, policy: policy() }))).toEqual({
      told: 0,
      inAll: 1,
      left,
    });
  });

  test("draining settles everything exactly and refuses more", async () => {
    const one = world();
    one.row(A);
    one.row(B);
    await Promise.all([one.host.topUp(A, usd(700n)), one.host.topUp(B, usd(700n))]);
    holdUsd(one, A, 700n);
    endUsd(one, A, 700n, 123n);
    await one.host.drain();
    expect(await one.host.topUp(B, usd(1n))).toEqual({ outcome: "unavailable" });
    expect(await one.available(A, "usd_micros")).toBe(10 * USD - 123);
    expect(await one.available(B, "usd_micros")).toBe(10 * USD);
    expect([...one.store.durable.keys()]).toEqual([]);
  });

  test("a stored state that cannot be read leaves its account unserved, and the others served", async () => {
    const one = world();
    await one.store.commit([
      { key: `book/${A}`, value: Buffer.from("{") },
      { key: `ladder/${B}`, value: Buffer.from("[1]") },
    ]);
    await one.host.recover();
    expect(await one.host.topUp(A, usd(1n))).toEqual({ outcome: "unavailable" });
    expect(await one.host.topUp(B, usd(1n))).toEqual({ outcome: "unavailable" });
    one.host.settled(A, usd(1n));
    one.host.tell(B, { t: "event", allowed: true, offence: undefined });
    expect(await one.host.topUp("overrun", usd(1n))).toEqual({ outcome: "ok" });
    expect(one.faults.length).toBeGreaterThan(0);
    expect(one.store.get(`book/${A}`)).toEqual(new Uint8Array(Buffer.from("{")));
  });

  test("a row starts with the standing that is on disk, before anything is lent to it", async () => {
    const one = world({ policy: policy() });
    const nowMs = one.clock.nowMs();
    const blocked = encodeLadder({ ...newLadder(nowMs), standing: "block", level: "block" });
    await one.store.commit([{ key: `ladder/${A}`, value: blocked }]);
    const { row } = one.row(A);
    expect(standingOf(one.table, row)).toBe("block");
  });

  test("a standing climbs, is stored, is told, and outlives the process and the actor's memory", async () => {
    const one = world({ policy: policy() });
    const { row } = one.row(A);
    for (let i = 0; i < 3; i++) one.host.tell(A, refusal());
    await settled();
    expect(standingOf(one.table, row)).toBe("warning");
    expect(one.standings).toEqual([
      ["t/a", { from: "normal", to: "warning", cause: "refusal", requestId: "r1" }],
    ]);
    await one.crash();
    expect(standingOf(one.table, one.row(A).row)).toBe("warning");
    one.host.tell(A, { t: "revived" });
    await settled();
    await one.pass(61_000);
    expect(standingOf(one.table, one.row(A).row)).toBe("normal");
  });

  test("a score below every level is not forgotten with an idle account", async () => {
    const one = world({ policy: policy() });
    one.row(A);
    for (let i = 0; i < 2; i++) one.host.tell(A, refusal());
    await one.pass(40_000);
    expect(one.host.accounts.size).toBe(1);
    await one.pass(1_000_000);
    expect(one.host.accounts.size).toBe(0);
  });

  test("a spent budget blocks, and a top-up lifts the block though nobody may ask", async () => {
    const one = world({ policy: policy() });
    const { row } = one.row(A);
    expect(await one.host.topUp(A, usd(9_000_000n))).toEqual({ outcome: "ok" });
    expect(holdUsd(one, A, 9_000_000n)).toEqual({ taken: usd(9_000_000n) });
    endUsd(one, A, 9_000_000n, 8_500_000n);
    await settled();
    expect(standingOf(one.table, row)).toBe("warning");
    expect(await one.host.topUp(A, usd(1_500_000n))).toEqual({ outcome: "ok" });
    holdUsd(one, A, 1_500_000n);
    endUsd(one, A, 1_500_000n, 1_500_000n);
    await settled();
    expect(standingOf(one.table, row)).toBe("block");
    await one.pass(60_000);
    expect(standingOf(one.table, row)).toBe("block");
    one.ledger.setLimits(usdLimits(100 * USD, { a: 20 * USD, b: 10 * USD }));
    one.host.limitsChanged();
    await one.pass(1_000);
    expect(standingOf(one.table, row)).toBe("normal");
    expect(one.standings.map(([, { to, cause }]) => [to, cause])).toEqual([
      ["warning", "budget_warning"],
      ["block", "budget_block"],
      ["normal", "budget_lifted"],
    ]);
  });

  test("what another node reports holds an idle agent too, until that node reports otherwise", async () => {
    const one = world({ policy: policy() });
    const { row } = one.row(A);
    const standing = Standing.QUARANTINE;
    const other = { standing, standsAt: standing, cause: "content_medium", scoreMilli: 1 };
    one.meshStandings.report("t/a", "n2", other);
    expect(await one.host.topUp(A, usd(1n))).toEqual({ outcome: "ok" });
    await settled();
    expect(standingOf(one.table, row)).toBe("quarantine");
    for (let i = 0; i < 6; i++) {
      await one.pass(10_000);
      one.meshStandings.report("t/a", "n2", other);
    }
    expect(standingOf(one.table, row)).toBe("quarantine");
    one.meshStandings.report("t/a", "n2", {
      ...other,
      standing: Standing.NORMAL,
      standsAt: Standing.NORMAL,
    });
    await one.pass(5_000);
    expect(standingOf(one.table, row)).toBe("normal");
    // Of what the others say nothing was said back as this node's own view.
    expect(one.reported.every(({ standing }) => standing === Standing.NORMAL)).toBe(true);
  });

  test("what is grave is reported until it is heard, and its end as well", async () => {
    const grave = policy();
    const points = new Map([["content_medium" as const, 20_000]]);
    const one = world({ policy: { ...grave, ladder: { ...grave.ladder, points } } });
    one.row(A);
    one.passage = () => ({ lost: "request" });
    const offence = { cause: "content_medium", judgedAt: "normal", requestId: "r1" } as const;
    one.host.tell(A, { t: "event", allowed: false, offence });
    await one.pass(4_000);
    expect(one.reported).toEqual([]);
    one.passage = () => ({});
    await one.pass(5_000);
    expect(one.reported.at(-1)).toMatchObject({
      standing: Standing.QUARANTINE,
      cause: "content_medium",
      scoreMilli: 20_000n,
      askKill: false,
    });
    await one.pass(300_000);
    expect(one.reported.at(-1)?.standing).toBeLessThan(Standing.QUARANTINE);
    const reports = one.reported.length;
    await one.pass(60_000);
    expect(one.reported).toHaveLength(reports);
  });

  test("a kill that policy names is asked for until it is heard, also after a crash", async () => {
    const named = policy();
    const ladder = {
      ...named.ladder,
      points: new Map([["content_high" as const, 40_000]]),
      autoKill: new Set(["content_high" as const]),
    };
    const one = world({ policy: { ...named, ladder } });
    one.row(A);
    one.passage = () => ({ lost: "request" });
    const offence = { cause: "content_high", judgedAt: "normal", requestId: "r1" } as const;
    one.host.tell(A, { t: "event", allowed: false, offence });
    await settled();
    await one.crash();
    one.row(A);
    one.passage = () => ({});
    await one.pass(10_000);
    const asks = one.reported.filter(({ askKill }) => askKill);
    expect(asks).toMatchObject([{ cause: "content_high", standing: Standing.BLOCK }]);
  });

  test("siblings share what their team has, and the ledger alone says when it is gone", async () => {
    const one = world({ limits: usdLimits(3 * USD, { a: 10 * USD, b: 10 * USD }) });
    one.row(A);
    one.row(B);
    expect(await one.host.topUp(A, usd(1_500_000n))).toEqual({ outcome: "ok" });
    expect(await one.host.topUp(B, usd(1_500_000n))).toEqual({ outcome: "ok" });
    holdUsd(one, A, 1_500_000n);
    holdUsd(one, B, 1_500_000n);
    expect(await one.host.topUp(A, usd(1n))).toMatchObject({
      outcome: "exhausted",
      left: NOTHING,
      refusal: { shortfall: { account: "team/t", window: "total", endsAtMs: undefined } },
    });
    endUsd(one, B, 1_500_000n, 0n);
    // B's refund lies with B until it is idle; then A may have it.
    await one.pass(40_000);
    expect(await one.host.topUp(A, usd(1_500_000n))).toEqual({ outcome: "ok" });
  });
});
