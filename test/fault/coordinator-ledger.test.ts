import fc from "fast-check";
import { expect, test } from "vitest";
import type { AccountLimits } from "../../coordinator/account-limits.ts";
import { ledgerSettings } from "../../coordinator/config.ts";
import { beginEpoch } from "../../coordinator/epoch.ts";
import type { LeaseGrant } from "../../coordinator/ledger.ts";
import { LedgerActor } from "../../coordinator/ledger-actor.ts";
import { NO_AMOUNTS } from "../../coordinator/ledger-window.ts";
import { twinClock } from "../../ports/twin-clock.ts";
import { twinRandom } from "../../ports/twin-random.ts";
import { type CommitFate, type TwinStore, twinStore } from "../../ports/twin-store.ts";
import { proofCount } from "../support/proof.ts";

// Nodes borrow and settle while the disk fails in both ways and the coordinator crashes. What nodes
// were told must be on disk, must never exceed the limit, and must be the same for the same request.

const { count, seed } = proofCount("the ledger under faults", { small: 60, full: 3000 });
const LIMIT = 1_000;
const LIMITS: AccountLimits = [
  {
    account: "overrun",
    parent: undefined,
    limits: [{ unit: "usd_micros", window: "total", limit: LIMIT }],
  },
];

const fate = fc.constantFrom<CommitFate>(
  "good",
  "good",
  "fails_not_persisted",
  "fails_but_persisted",
);
const step = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant("lease" as const),
      request: fc.integer({ min: 0, max: 15 }),
      need: fc.integer({ min: 1, max: 300 }),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant("settle" as const),
      which: fc.nat(),
      share: fc.integer({ min: 0, max: 1_000 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("crash" as const) }) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant("crash_amid" as const), request: fc.nat(15) }),
  },
);

class Bank {
  readonly clock = twinClock();
  readonly random = twinRandom(7);
  readonly told = new Map<string, LeaseGrant>();
  /** What a node reported as final: it spends no more from then on, and repeats the same figure. */
  readonly finals = new Map<string, number>();
  readonly #fates: readonly CommitFate[];
  #at = 0;
  isFaulty = true;
  store: TwinStore;
  actor!: LedgerActor;

  constructor(fates: readonly CommitFate[]) {
    this.#fates = fates;
    this.store = twinStore({
      commitFate: (writes) => {
        if (!this.isFaulty || writes.some(({ key }) => key === "epoch")) return "good";
        this.#at += 1;
        return this.#fates[this.#at % this.#fates.length] ?? "good";
      },
    });
  }

  async open(): Promise<void> {
    this.actor = new LedgerActor({
      store: this.store,
      clock: this.clock,
      random: this.random,
      tell: () => undefined,
      settings: ledgerSettings({ leaseTtlMs: 60_000, usdMicros: { min: 1, max: 500 } }),
      epoch: await beginEpoch(this.store),
      activeNodes: () => 2,
      isRemoved: () => false,
      mailboxMax: 100,
      onFenced: () => undefined,
    });
    this.actor.setLimits(LIMITS);
  }

  async crash(): Promise<void> {
    void this.actor.stop();
    this.store = this.store.crash();
    await this.open();
  }

  async lease(request: number, need: number): Promise<void> {
    const requestId = `r${request}`;
    const amounts = { ...NO_AMOUNTS, usd_micros: need };
    const ask = { node: "n1", bootId: "b1", requestId, account: "overrun" };
    const answer = await this.actor
      .lease({ ...ask, need: amounts, want: amounts })
      .catch(() => undefined);
    if (!answer || "refused" in answer) return;
    const before = this.told.get(requestId);
    if (before) {
      expect(answer.leaseId).toBe(before.leaseId);
      expect(answer.amount).toEqual(before.amount);
    }
    this.told.set(requestId, answer);
    expect(this.store.durable.has(`ledger/lease/${answer.leaseId}`), "I4").toBe(true);
  }

  async settle(which: number, share: number): Promise<void> {
    const leases = [...this.told.values()];
    const lease = leases[which % Math.max(1, leases.length)];
    if (!lease) return;
    const portion = Math.floor((lease.amount.usd_micros * share) / 1_000);
    const spent = this.finals.get(lease.leaseId) ?? portion;
    this.finals.set(lease.leaseId, spent);
    const answer = await this.actor
      .settle({
        node: "n1",
        leaseId: lease.leaseId,
        epoch: lease.epoch,
        spent: { ...NO_AMOUNTS, usd_micros: spent },
        final: true,
      })
      .catch(() => undefined);
    if (!answer || "refused" in answer) return;
    const settled = { spent: { ...NO_AMOUNTS, usd_micros: spent }, final: true };
    expect(answer, "I8").toMatchObject({ ...settled, account: lease.account });
  }

  /** What nodes may have spent, by what they were told. */
  get exposure(): number {
    let sum = 0;
    for (const lease of this.told.values()) {
      sum += this.finals.get(lease.leaseId) ?? lease.amount.usd_micros;
    }
    return sum;
  }
}

test("what nodes were told never exceeds the limit, through failing disks and crashes", {
  timeout: 120_000,
}, async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fate, { minLength: 1, maxLength: 12 }),
      fc.array(step, { maxLength: 40 }),
      async (fates, steps) => {
        const bank = new Bank(fates);
        await bank.open();
        for (const one of steps) {
          if (one.do === "lease") await bank.lease(one.request, one.need);
          else if (one.do === "settle") await bank.settle(one.which, one.share);
          else {
            if (one.do === "crash_amid") void bank.lease(one.request, 50);
            await bank.crash();
          }
          expect(bank.exposure).toBeLessThanOrEqual(LIMIT);
        }
        bank.isFaulty = false;
        await bank.crash();
        const [row] = await bank.actor.rows("overrun");
        const charged = (row?.reserved ?? 0) + (row?.spent ?? 0);
        expect(charged, "I2: everything told is charged").toBeGreaterThanOrEqual(bank.exposure);
        expect(charged, "I1").toBeLessThanOrEqual(LIMIT);
      },
    ),
    { numRuns: count, seed },
  );
});
