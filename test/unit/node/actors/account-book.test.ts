import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  addLease,
  type Book,
  byUnit,
  closeLeases,
  coverExpired,
  coversCost,
  EMPTY_BOOK,
  interimSettlements,
  isNothing,
  type LeaseSettlement,
  least,
  lendable,
  lendFrom,
  minus,
  NOTHING,
  newLease,
  payDebt,
  plus,
  settleAfterCrash,
  spend,
  takenBack,
} from "../../../../node/actors/account-book.ts";
import { decodeBook, encodeBook, StoredStateError } from "../../../../node/actors/agent-record.ts";
import type { Cost } from "../../../../node/decision/facts.ts";
import { proofCount } from "../../../support/proof.ts";

const { count, seed } = proofCount("an account's book", { small: 300, full: 20_000 });

const usd = (usdMicros: bigint): Cost => ({ ...NOTHING, usdMicros });
const lease = (id: string, amount: Cost, deadlineNs = 1_000n) =>
  newLease({ id, epoch: 1, amount, deadlineNs });
const told = (spent: Cost, uncovered: Cost = NOTHING) => ({ spent, uncovered });

const amount = fc
  .tuple(fc.bigInt(0n, 50n), fc.bigInt(0n, 50n), fc.bigInt(0n, 5n))
  .map(([usdMicros, tokens, calls]): Cost => ({ usdMicros, tokens, calls }));

const operation = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant("lease" as const), amount, ttl: fc.bigInt(0n, 20n) }),
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constant("lend" as const), amount }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant("hold" as const), amount }) },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant("end" as const),
      which: fc.nat(),
      share: fc.integer({ min: 0, max: 1_300 }),
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("tell" as const) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("take_back" as const) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("pass" as const), ns: fc.bigInt(0n, 8n) }) },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant("close" as const), giveBack: fc.boolean() }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("report" as const) }) },
);
type Operation = typeof operation extends fc.Arbitrary<infer T> ? T : never;

/** The table, the loops and the ledger around one book, as plain sums. */
class World {
  book: Book = EMPTY_BOOK;
  nowNs = 0n;
  balance = NOTHING;
  readonly holds: Cost[] = [];
  /** Ended in the table, and not yet told. */
  untold = told(NOTHING);
  spent = NOTHING;
  readonly granted = new Map<string, { readonly amount: Cost; readonly deadlineNs: bigint }>();
  readonly settled = new Map<string, Cost>();
  readonly reported = new Map<string, Cost>();

  run(one: Operation): void {
    switch (one.do) {
      case "lease": {
        const id = `l${this.granted.size}`;
        const deadlineNs = this.nowNs + one.ttl;
        this.granted.set(id, { amount: one.amount, deadlineNs });
        this.book = payDebt(addLease(this.book, lease(id, one.amount, deadlineNs)), this.nowNs);
        return;
      }
      case "lend": {
        const part = least(one.amount, lendable(this.book, this.nowNs));
        this.book = lendFrom(this.book, part, this.nowNs);
        this.balance = plus(this.balance, part);
        return;
      }
      case "hold":
        if (!coversCost(this.balance, one.amount)) return;
        this.balance = minus(this.balance, one.amount);
        this.holds.push(one.amount);
        return;
      case "end":
        this.#end(one.which, BigInt(one.share));
        return;
      case "tell":
        this.book = spend(this.book, this.untold, this.nowNs);
        this.untold = told(NOTHING);
        return;
      case "take_back":
        this.takeBack();
        return;
      case "pass":
        this.nowNs += one.ns;
        return;
      case "close":
        this.close(one.giveBack);
        return;
      case "report": {
        const { book, settlements } = interimSettlements(this.book);
        this.book = book;
        for (const { leaseId, spent } of settlements) this.#report(leaseId, spent);
        return;
      }
    }
  }

  takeBack(): void {
    this.book = takenBack(this.book, this.balance, this.nowNs);
    this.balance = NOTHING;
  }

  close(giveBack: boolean): void {
    const covered = coverExpired(payDebt(this.book, this.nowNs), this.nowNs);
    const { book, settlements } = closeLeases(covered, { nowNs: this.nowNs, giveBack });
    this.book = book;
    for (const one of settlements) this.settle(one);
  }

  settle({ leaseId, spent, final }: LeaseSettlement): void {
    expect(final).toBe(true);
    expect(this.settled.has(leaseId), `${leaseId} is settled once`).toBe(false);
    this.#report(leaseId, spent);
    this.settled.set(leaseId, spent);
  }

  /** As `settle` of the table does it: more than the hold comes out of the balance, then nowhere. */
  #end(which: number, share: bigint): void {
    if (this.holds.length === 0) return;
    const [held] = this.holds.splice(which % this.holds.length, 1) as [Cost];
    const spent = byUnit((unit) => (held[unit] * share) / 1_000n);
    const owed = byUnit((unit) => (spent[unit] > held[unit] ? spent[unit] - held[unit] : 0n));
    const paid = least(owed, this.balance);
    this.balance = byUnit((unit) => {
      const back = spent[unit] < held[unit] ? held[unit] - spent[unit] : 0n;
      return this.balance[unit] + back - paid[unit];
    });
    this.spent = plus(this.spent, spent);
    const uncovered = plus(this.untold.uncovered, minus(owed, paid));
    this.untold = { spent: plus(this.untold.spent, spent), uncovered };
  }

  #report(leaseId: string, spent: Cost): void {
    const before = this.reported.get(leaseId) ?? NOTHING;
    expect(coversCost(spent, before), "B3: what is reported never falls").toBe(true);
    this.reported.set(leaseId, spent);
  }

  check(): void {
    for (const { lent, spent, amount: all } of this.book.leases) {
      expect(coversCost(all, lent) && coversCost(lent, spent), "B1").toBe(true);
      expect(coversCost(spent, NOTHING), "B1").toBe(true);
    }
    const lent = this.book.leases.reduce((sum, one) => plus(sum, one.lent), NOTHING);
    const charged = this.book.leases.reduce((sum, one) => plus(sum, one.spent), NOTHING);
    const held = this.holds.reduce(plus, NOTHING);
    const covered = minus(this.untold.spent, this.untold.uncovered);
    // Conservation: what is lent and not charged lies in the table, is held, or was spent untold.
    expect(minus(lent, charged)).toEqual(plus(plus(this.balance, held), covered));
  }
}

describe("account book", () => {
  test("B1, B3: money is conserved in every order of operations, and settled exactly", () => {
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 60 }), (operations) => {
        const world = new World();
        for (const one of operations) {
          world.run(one);
          world.check();
        }
        // Everything ends: holds, news, balances; then one large lease pays what debt is left.
        while (world.holds.length > 0) world.run({ do: "end", which: 0, share: 500 });
        world.run({ do: "tell" });
        world.takeBack();
        const rest = { usdMicros: 10_000n, tokens: 10_000n, calls: 10_000n };
        world.run({ do: "lease", amount: rest, ttl: 5n });
        world.close(true);
        expect(world.book.leases).toEqual([]);
        expect(isNothing(world.book.debt)).toBe(true);
        const settled = [...world.settled.values()].reduce(plus, NOTHING);
        expect(settled).toEqual(world.spent);
        for (const [id, spent] of world.settled) {
          const grant = world.granted.get(id);
          expect(grant && coversCost(grant.amount, spent), "B1").toBe(true);
        }
      }),
      { numRuns: count, seed },
    );
  });

  test("B2: a crash at any point charges at least what was spent, and never more than was leased", () => {
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 40 }), (operations) => {
        const world = new World();
        for (const one of operations) world.run(one);
        const { settlements, debt } = settleAfterCrash(decodeBook(encodeBook(world.book)));
        for (const one of settlements) {
          expect(coversCost(world.granted.get(one.leaseId)?.amount ?? NOTHING, one.spent)).toBe(
            true,
          );
          world.settle(one);
        }
        const settled = [...world.settled.values()].reduce(plus, NOTHING);
        // What nobody told, and neither hold nor balance covered, is lost with the process.
        expect(coversCost(plus(plus(settled, debt), world.untold.uncovered), world.spent)).toBe(
          true,
        );
      }),
      { numRuns: count, seed },
    );
  });

  test("B4: nothing is lendable of a lease whose deadline has come", () => {
    const book = addLease(EMPTY_BOOK, lease("a", usd(10n), 100n));
    expect(lendable(book, 99n)).toEqual(usd(10n));
    expect(lendable(book, 100n)).toEqual(NOTHING);
    expect(() => lendFrom(book, usd(1n), 100n)).toThrow("B1");
  });

  test("what is spent after a lease has ended is not charged to it while another can pay", () => {
    let book = addLease(EMPTY_BOOK, lease("old", usd(100n), 100n));
    book = lendFrom(book, usd(100n), 0n);
    book = spend(book, told(usd(30n)), 50n);
    // The window ends: 60 lie in the table, 10 are held by a request that goes on.
    book = takenBack(book, usd(60n), 100n);
    book = lendFrom(addLease(book, lease("new", usd(100n), 200n)), usd(80n), 110n);
    book = spend(book, told(usd(50n)), 120n);
    const charged = (id: string) => book.leases.find((one) => one.id === id)?.spent.usdMicros;
    expect([charged("old"), charged("new")]).toEqual([30n, 50n]);
  });

  test("a live lease stands for what is held of an expired one, which then goes back at once", () => {
    let book = lendFrom(addLease(EMPTY_BOOK, lease("old", usd(100n), 100n)), usd(10n), 0n);
    expect(
      closeLeases(coverExpired(book, 100n), { nowNs: 100n, giveBack: false }).settlements,
    ).toEqual([]);
    book = coverExpired(addLease(book, lease("new", usd(20n), 200n)), 100n);
    const closed = closeLeases(book, { nowNs: 100n, giveBack: false });
    expect(closed.settlements).toEqual([{ leaseId: "old", epoch: 1, spent: NOTHING, final: true }]);
    expect(lendable(closed.book, 100n)).toEqual(usd(10n));
  });

  test("what is held of several expired leases is gathered in the last, and the others go back", () => {
    let book = addLease(EMPTY_BOOK, lease("a", usd(100n), 100n));
    book = lendFrom(book, usd(10n), 0n);
    book = addLease(book, lease("b", usd(100n), 150n));
    book = lendFrom(book, usd(110n), 0n);
    book = takenBack(book, usd(90n), 0n);
    // 30 are held in all, more than nothing of each.
    const { settlements, book: left } = closeLeases(coverExpired(book, 200n), {
      nowNs: 200n,
      giveBack: false,
    });
    expect(settlements.map(({ leaseId }) => leaseId)).toEqual(["a"]);
    expect(left.leases).toMatchObject([{ id: "b", lent: usd(30n) }]);
  });

  test("a lease with money left in one unit and none in another is charged unit by unit", () => {
    const both = (usdMicros: bigint, tokens: bigint): Cost => ({ usdMicros, tokens, calls: 0n });
    let book = addLease(
      addLease(EMPTY_BOOK, lease("a", both(10n, 100n))),
      lease("b", both(10n, 100n)),
    );
    book = lendFrom(book, both(20n, 60n), 0n);
    book = spend(book, told(both(15n, 60n)), 0n);
    expect(book.leases.map(({ spent }) => spent)).toEqual([both(10n, 60n), both(5n, 0n)]);
    expect(interimSettlements(book).settlements.map(({ leaseId }) => leaseId)).toEqual(["a", "b"]);
    expect(closeLeases(book, { nowNs: 0n, giveBack: false }).settlements).toEqual([]);
  });

  test("a debt is paid by the next lease before anything is lent from it", () => {
    let book = lendFrom(addLease(EMPTY_BOOK, lease("a", usd(10n))), usd(10n), 0n);
    book = spend(book, told(usd(25n), usd(15n)), 0n);
    expect(book.debt).toEqual(usd(15n));
    book = payDebt(addLease(book, lease("b", usd(40n))), 0n);
    expect(book.debt).toEqual(NOTHING);
    expect(lendable(book, 0n)).toEqual(usd(25n));
  });

  test("what leases have paid is reported once", () => {
    let book = spend(
      lendFrom(addLease(EMPTY_BOOK, lease("a", usd(10n))), usd(5n), 0n),
      told(usd(5n)),
      0n,
    );
    const first = interimSettlements(book);
    expect(first.settlements).toEqual([{ leaseId: "a", epoch: 1, spent: usd(5n), final: false }]);
    book = first.book;
    expect(interimSettlements(book).settlements).toEqual([]);
  });

  test("the stored form refuses what it does not write", () => {
    expect(() => decodeBook(Buffer.from("{}"))).toThrow(StoredStateError);
    const text = JSON.stringify({
      leases: [{ id: "a", epoch: 1, amount: ["1", "0", "0"], lent: ["2", "0", "0"] }],
      debt: ["0", "0", "0"],
    });
    expect(() => decodeBook(Buffer.from(text))).toThrow(StoredStateError);
  });
});
