import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type BucketCharge, bucketCharge } from "../../../../node/decision/bucket-charge.ts";
import type { Cost } from "../../../../node/decision/facts.ts";
import type { Charges } from "../../../../node/decision/verdict.ts";
import { ROW_LONG } from "../../../../node/table/layout.ts";
import {
  balance,
  lend,
  lendOverrun,
  overrunBalance,
  takeBack,
} from "../../../../node/table/lend.ts";
import { release, reserve, settle } from "../../../../node/table/reserve.ts";
import { rowLong } from "../../../../node/table/rows.ts";
import { setUnlimitedUnits, UNIT } from "../../../../node/table/standing.ts";
import { createTable, type Table } from "../../../../node/table/table.ts";
import { PlainRow } from "./plain-table.ts";

const SIZE = { rows: 4, loops: 2, scopes: 8, writers: 3, proofs: 64 };
const ROW = 2;
const NOTHING: Cost = { usdMicros: 0n, tokens: 0n, calls: 0n };

const cost = (usdMicros: number, tokens = 0, calls = 0): Cost => ({
  usdMicros: BigInt(usdMicros),
  tokens: BigInt(tokens),
  calls: BigInt(calls),
});
const charge = (of: Partial<Charges>): Charges => ({
  cost: NOTHING,
  overrunMicros: 0n,
  buckets: [],
  ...of,
});
/** `burst` at once, one more each millisecond. */
const requests = (amount: number, burst: number): BucketCharge =>
  bucketCharge({
    metric: "requests",
    amount: BigInt(amount),
    unitPicos: 1_000_000_000n,
    toleranceNs: BigInt(burst) * 1_000_000n,
  });

function tableWith(lent: Cost, overrunMicros = 0n): Table {
  const table = createTable(SIZE);
  lend(table, ROW, lent);
  lendOverrun(table, overrunMicros);
  return table;
}

describe("accounts", () => {
  test("a charge that fits is taken from every account", () => {
    const table = tableWith(cost(100, 50, 3), 20n);
    const result = reserve(table, ROW, charge({ cost: cost(60, 50, 1), overrunMicros: 6n }), 0n);
    expect(result).toEqual({ taken: cost(60, 50, 1) });
    expect(balance(table, ROW)).toEqual(cost(40, 0, 2));
    expect(overrunBalance(table)).toBe(14n);
  });

  test("a row to which nothing was lent is short of anything", () => {
    const table = createTable(SIZE);
    expect(reserve(table, ROW, charge({ cost: cost(1) }), 0n)).toEqual({ short: "usd" });
    expect(reserve(table, ROW, charge({ cost: cost(0, 1) }), 0n)).toEqual({ short: "tokens" });
    expect(reserve(table, ROW, charge({ cost: cost(0, 0, 1) }), 0n)).toEqual({ short: "calls" });
    expect(reserve(table, ROW, charge({ overrunMicros: 1n }), 0n)).toEqual({ short: "overrun" });
  });

  test("M3: whichever account is short, all the others are as before", () => {
    for (const lack of ["usd", "tokens", "calls", "overrun"] as const) {
      const lent = cost(
        lack === "usd" ? 9 : 10,
        lack === "tokens" ? 9 : 10,
        lack === "calls" ? 9 : 10,
      );
      const overrun = lack === "overrun" ? 9n : 10n;
      const table = tableWith(lent, overrun);
      const before = table.longs.slice();
      const charges = charge({
        cost: cost(10, 10, 10),
        overrunMicros: 10n,
        buckets: [requests(1, 5)],
      });
      expect(reserve(table, ROW, charges, 7n)).toEqual({ short: lack });
      expect(table.longs).toEqual(before);
    }
  });

  test("money of one row never pays for another", () => {
    const table = tableWith(cost(100));
    expect(reserve(table, ROW + 1, charge({ cost: cost(1) }), 0n)).toEqual({ short: "usd" });
    expect(reserve(table, ROW - 1, charge({ cost: cost(1) }), 0n)).toEqual({ short: "usd" });
  });

  test("a release gives all back, buckets included", () => {
    const table = tableWith(cost(100, 100, 100), 100n);
    const charges = charge({
      cost: cost(10, 20, 30),
      overrunMicros: 40n,
      buckets: [requests(2, 2)],
    });
    const result = reserve(table, ROW, charges, 5_000_000n);
    if (!("taken" in result)) throw new Error("not taken");
    release(table, ROW, { charges, taken: result.taken });
    expect(balance(table, ROW)).toEqual(cost(100, 100, 100));
    expect(overrunBalance(table)).toBe(100n);
    expect(reserve(table, ROW, charges, 5_000_000n)).toHaveProperty("taken");
  });

  test("a settlement returns what was held and not spent", () => {
    const table = tableWith(cost(100, 100, 100), 100n);
    reserve(table, ROW, charge({ cost: cost(50, 50, 1), overrunMicros: 10n }), 0n);
    const uncovered = settle(table, ROW, {
      held: cost(50, 50, 1),
      spent: cost(20, 30, 1),
      overrunHeldMicros: 10n,
      overrunSpentMicros: 0n,
    });
    expect(uncovered).toEqual({ ...NOTHING, overrunMicros: 0n });
    expect(balance(table, ROW)).toEqual(cost(80, 70, 99));
    expect(overrunBalance(table)).toBe(100n);
  });

  test("spending above the hold is paid by the overrun account where the caller says so", () => {
    const table = tableWith(cost(100), 100n);
    reserve(table, ROW, charge({ cost: cost(50), overrunMicros: 10n }), 0n);
    const uncovered = settle(table, ROW, {
      held: cost(50),
      spent: cost(75),
      overrunHeldMicros: 10n,
      overrunSpentMicros: 25n,
    });
    expect(uncovered).toEqual({ ...NOTHING, overrunMicros: 0n });
    expect(balance(table, ROW)).toEqual(cost(50));
    expect(overrunBalance(table)).toBe(75n);
  });

  test("M1: what neither account can pay is told, and no balance goes below zero", () => {
    const table = tableWith(cost(50, 10), 10n);
    reserve(table, ROW, charge({ cost: cost(50), overrunMicros: 10n }), 0n);
    const uncovered = settle(table, ROW, {
      held: cost(50),
      spent: cost(90, 15),
      overrunHeldMicros: 10n,
      overrunSpentMicros: 30n,
    });
    expect(uncovered).toEqual({ usdMicros: 10n, tokens: 5n, calls: 0n, overrunMicros: 20n });
    expect(balance(table, ROW)).toEqual(NOTHING);
    expect(overrunBalance(table)).toBe(0n);
  });

  test("taking back empties the row and says what was in it", () => {
    const table = tableWith(cost(7, 8, 9));
    expect(takeBack(table, ROW)).toEqual(cost(7, 8, 9));
    expect(balance(table, ROW)).toEqual(NOTHING);
  });
});

describe("flags", () => {
  test("a unit without a limit is not charged, and the others are", () => {
    const table = tableWith(cost(0, 0, 2));
    setUnlimitedUnits(table, ROW, UNIT.usd | UNIT.tokens);
    const result = reserve(table, ROW, charge({ cost: cost(1000, 1000, 1) }), 0n);
    expect(result).toEqual({ taken: cost(0, 0, 1) });
    expect(balance(table, ROW)).toEqual(cost(0, 0, 1));
  });

  test("a limit that arrives while a request runs is not paid into by its uncharged hold", () => {
    const table = tableWith(NOTHING);
    setUnlimitedUnits(table, ROW, UNIT.usd);
    const result = reserve(table, ROW, charge({ cost: cost(5_000) }), 0n);
    if (!("taken" in result)) throw new Error("not taken");
    setUnlimitedUnits(table, ROW, 0);
    lend(table, ROW, cost(100));
    settle(table, ROW, {
      held: result.taken,
      spent: cost(30),
      overrunHeldMicros: 0n,
      overrunSpentMicros: 0n,
    });
    expect(balance(table, ROW)).toEqual(cost(70));
  });

  test("spending in a unit without a limit leaves no debt", () => {
    const table = tableWith(NOTHING);
    setUnlimitedUnits(table, ROW, UNIT.usd);
    const uncovered = settle(table, ROW, {
      held: NOTHING,
      spent: cost(30),
      overrunHeldMicros: 0n,
      overrunSpentMicros: 0n,
    });
    expect(uncovered).toEqual({ ...NOTHING, overrunMicros: 0n });
  });
});

describe("buckets", () => {
  test("a burst passes at once, then one each period", () => {
    const table = createTable(SIZE);
    const one = charge({ buckets: [requests(1, 3)] });
    const now = 10_000_000_000n;
    for (let i = 0; i < 3; i++) expect(reserve(table, ROW, one, now)).toHaveProperty("taken");
    expect(reserve(table, ROW, one, now)).toMatchObject({ limited: "requests", retryAfterMs: 1 });
    expect(reserve(table, ROW, one, now + 999_999n)).toHaveProperty("limited");
    expect(reserve(table, ROW, one, now + 1_000_000n)).toHaveProperty("taken");
    expect(reserve(table, ROW, one, now + 1_000_000n)).toHaveProperty("limited");
  });

  test("a bucket that rested is full and not more than full", () => {
    const table = createTable(SIZE);
    const one = charge({ buckets: [requests(1, 3)] });
    reserve(table, ROW, one, 1_000_000_000n);
    let passed = 0;
    for (let i = 0; i < 10; i++) {
      if ("taken" in reserve(table, ROW, one, 900_000_000_000n)) passed++;
    }
    expect(passed).toBe(3);
  });

  test("the wait that a refusal names is enough and not longer than a millisecond more", () => {
    const table = createTable(SIZE);
    const five = charge({ buckets: [requests(5, 8)] });
    reserve(table, ROW, five, 0n);
    const refused = reserve(table, ROW, five, 0n);
    expect(refused).toEqual({ limited: "requests", retryAfterMs: 2, asked: 5n, fits: 3n });
    expect(reserve(table, ROW, five, 1_000_000n)).toHaveProperty("limited");
    expect(reserve(table, ROW, five, 2_000_000n)).toHaveProperty("taken");
  });

  test("M3: a second bucket that is empty leaves the first as it was, whatever their order", () => {
    const empty: BucketCharge = { ...requests(2, 1), metric: "tokens" };
    for (const buckets of [
      [requests(1, 1), empty],
      [empty, requests(1, 1)],
    ]) {
      const table = createTable(SIZE);
      const before = table.longs.slice();
      expect(reserve(table, ROW, charge({ buckets }), 9n)).toMatchObject({ limited: "tokens" });
      expect(table.longs).toEqual(before);
    }
  });

  test.each([
    [1, "taken", 2],
    [3, "limited", 3],
  ])(
    "%i of 3 that another thread takes between the look and the taking count: %s",
    (others, said, all) => {
      const table = createTable(SIZE);
      const cell = rowLong(table, ROW) + ROW_LONG.bucketRequests;
      const now = 10_000_000_000n;
      const buckets = [requests(1, 3)];
      const charges: Charges = {
        cost: NOTHING,
        buckets,
        // Asked for once the buckets have been looked at.
        get overrunMicros() {
          Atomics.compareExchange(table.longs, cell, 0n, now + BigInt(others) * 1_000_000n);
          return 0n;
        },
      };
      expect(reserve(table, ROW, charges, now)).toHaveProperty(said);
      expect(table.longs[cell]).toBe(now + BigInt(all) * 1_000_000n);
    },
  );

  test("what is lent and the row's own are two buckets", () => {
    const table = createTable(SIZE);
    const own = requests(3, 3);
    const lent: BucketCharge = { ...own, lent: true };
    const now = 10_000_000_000n;
    expect(reserve(table, ROW, charge({ buckets: [own] }), now)).toHaveProperty("taken");
    expect(reserve(table, ROW, charge({ buckets: [own] }), now)).toHaveProperty("limited");
    expect(reserve(table, ROW, charge({ buckets: [lent] }), now)).toHaveProperty("taken");
    expect(reserve(table, ROW, charge({ buckets: [lent] }), now)).toHaveProperty("limited");
    expect(reserve(table, ROW + 1, charge({ buckets: [own] }), now)).toHaveProperty("taken");
    expect(reserve(table, ROW + 1, charge({ buckets: [lent] }), now)).toHaveProperty("taken");
  });

  test("fractions of a nanosecond are charged in full", () => {
    const table = createTable(SIZE);
    const tiny = bucketCharge({ metric: "tokens", amount: 1n, unitPicos: 1n, toleranceNs: 2n });
    expect(reserve(table, ROW, charge({ buckets: [tiny] }), 0n)).toHaveProperty("taken");
    expect(reserve(table, ROW, charge({ buckets: [tiny] }), 0n)).toHaveProperty("taken");
    expect(reserve(table, ROW, charge({ buckets: [tiny] }), 0n)).toHaveProperty("limited");
  });
});

const smallCost = fc.record({
  usdMicros: fc.bigInt(0n, 40n),
  tokens: fc.bigInt(0n, 40n),
  calls: fc.bigInt(0n, 4n),
});
const anyCharge = (metric: BucketCharge["metric"]) =>
  fc
    .record({
      metric: fc.constant(metric),
      amount: fc.bigInt(0n, 9n),
      unitPicos: fc.constantFrom(1n, 333n, 1000n, 7_777n),
      toleranceNs: fc.constantFrom(3n, 20n, 100n),
    })
    .map(bucketCharge);
const charges: fc.Arbitrary<Charges> = fc.record({
  cost: smallCost,
  overrunMicros: fc.bigInt(0n, 10n),
  buckets: fc
    .tuple(
      fc.option(anyCharge("requests")),
      fc.option(anyCharge("tokens")),
      fc.option(anyCharge("usd_micros")),
    )
    .chain((three) => {
      const some = three.filter((one) => one !== null);
      return fc.shuffledSubarray(some, { minLength: some.length });
    }),
});
const step = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant("reserve" as const), charges }) },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant("settle" as const),
      spent: smallCost,
      overrun: fc.bigInt(0n, 20n),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("release" as const) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("lend" as const), amount: smallCost }) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant("overrun" as const), by: fc.bigInt(0n, 30n) }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("take_back" as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("unlimited" as const), set: fc.nat(7) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("wait" as const), ns: fc.bigInt(0n, 60n) }) },
);

test("any sequence of calls leaves the cells as a plain model of them says", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      const table = createTable(SIZE);
      const plain = new PlainRow();
      const open: { charges: Charges; taken: Cost }[] = [];
      let now = 0n;
      for (const one of steps) {
        if (one.do === "reserve") {
          const result = reserve(table, ROW, one.charges, now);
          const said =
            "taken" in result ? "taken" : "short" in result ? result.short : result.limited;
          const expected = plain.reserve(one.charges, now);
          // The bucket "tokens" and the account "tokens" share a word; the kind of answer must agree too.
          expect(said).toBe(expected);
          if ("taken" in result) {
            expect(result.taken).toEqual(plain.chargeable(one.charges.cost));
            open.push({ charges: one.charges, taken: result.taken });
          }
        } else if (one.do === "settle" || one.do === "release") {
          const hold = open.shift();
          if (!hold) continue;
          if (one.do === "release") {
            release(table, ROW, hold);
            plain.release(hold.taken, hold.charges);
          } else {
            const settlement = {
              held: hold.taken,
              spent: one.spent,
              overrunHeldMicros: hold.charges.overrunMicros,
              overrunSpentMicros: one.overrun,
            };
            settle(table, ROW, settlement);
            plain.settle(settlement);
          }
        } else if (one.do === "lend") {
          lend(table, ROW, one.amount);
          plain.usd += one.amount.usdMicros;
          plain.tokens += one.amount.tokens;
          plain.calls += one.amount.calls;
        } else if (one.do === "overrun") {
          lendOverrun(table, one.by);
          plain.overrun += one.by;
        } else if (one.do === "take_back") {
          takeBack(table, ROW);
          plain.usd = plain.tokens = plain.calls = 0n;
        } else if (one.do === "unlimited") {
          setUnlimitedUnits(table, ROW, one.set);
          plain.unlimited = new Set(
            (["usd", "tokens", "calls"] as const).filter((unit) => one.set & UNIT[unit]),
          );
        } else {
          now += one.ns;
        }
        expect(balance(table, ROW)).toEqual({
          usdMicros: plain.usd,
          tokens: plain.tokens,
          calls: plain.calls,
        });
        expect(overrunBalance(table)).toBe(plain.overrun);
      }
    }),
    { numRuns: 400 },
  );
});
