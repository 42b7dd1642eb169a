import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { AccountLimits } from "../../../coordinator/account-limits.ts";
import type { LeaseGrant } from "../../../coordinator/ledger.ts";
import {
  LEDGER_UNITS,
  type LedgerUnit,
  WINDOW_KINDS,
  windowAt,
} from "../../../coordinator/ledger-window.ts";
import { proofCount } from "../../support/proof.ts";
import { amountsOf, LedgerWorld, START_MS } from "./ledger-world.ts";

// An adversary calls the ledger in any order: nodes that lie, repeat, forget and run slow clocks, an
// operator who changes limits, a wall clock that jumps, a coordinator that crashes. A second, simpler
// account of what was lent is kept beside it, and every invariant is checked after every step.

const { count, seed } = proofCount("the ledger's invariants", { small: 150, full: 5000 });
const NODES = ["n1", "n2", "n3"];
const ACCOUNTS = ["agent/t/a", "agent/t/b", "overrun"];
const CHAIN: { readonly [account: string]: readonly string[] } = {
  "agent/t/a": ["agent/t/a", "team/t"],
  "agent/t/b": ["agent/t/b", "team/t"],
  overrun: ["overrun"],
};

const amount = fc.oneof(fc.integer({ min: 0, max: 300 }), fc.constant(0));
const amounts = fc.record({ usd_micros: amount, tokens: amount, calls: amount });
const windowLimit = fc.record({
  unit: fc.constantFrom(...LEDGER_UNITS),
  window: fc.constantFrom(...WINDOW_KINDS),
  limit: fc.integer({ min: 0, max: 2_000 }),
});
const limitsOf = fc
  .array(fc.array(windowLimit, { maxLength: 4 }), { minLength: 4, maxLength: 4 })
  .map(
    ([team, a, b, overrun]): AccountLimits => [
      { account: "team/t", parent: undefined, limits: team ?? [] },
      { account: "agent/t/a", parent: "team/t", limits: a ?? [] },
      { account: "agent/t/b", parent: "team/t", limits: b ?? [] },
      { account: "overrun", parent: undefined, limits: overrun ?? [] },
    ],
  );

const step = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant("lease" as const),
      node: fc.constantFrom(...NODES),
      account: fc.constantFrom(...ACCOUNTS),
      need: amounts,
      want: amounts,
      // Few ids, so that repetitions happen, also with another need.
      request: fc.integer({ min: 0, max: 12 }),
      boot: fc.integer({ min: 0, max: 1 }),
    }),
  },
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant("settle" as const),
      which: fc.nat(),
      // Thousandths of the lease, more than all of it now and then.
      share: fc.integer({ min: 0, max: 1_100 }),
      final: fc.boolean(),
      wrongNode: fc.boolean(),
      wrongEpoch: fc.boolean(),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant("pass" as const),
      ms: fc.constantFrom(1, 1_000, 60_000, 299_999, 306_000, 1_800_000, 86_400_000),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant("jump" as const),
      ms: fc.integer({ min: -7_200_000, max: 7_200_000 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("limits" as const), limits: limitsOf }) },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant("override" as const),
      account: fc.constantFrom(...ACCOUNTS, "team/t"),
      limit: windowLimit,
      v: fc.integer({ min: 1, max: 5 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("restart" as const) }) },
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

/** What the adversary remembers of one lease. */
type Shadow = {
  readonly grant: LeaseGrant;
  readonly node: string;
  readonly account: string;
  readonly grantedAtMs: number;
  /** Real monotonic ms after which the slowest correct node has stopped. */
  deadlineMs: number;
  spent: number[];
  final: boolean;
  expired: boolean;
};

class Adversary {
  readonly world: LedgerWorld;
  readonly shadows: Shadow[] = [];
  readonly byRequest = new Map<string, Shadow>();
  ledgerNowMs = START_MS;

  constructor(limits: AccountLimits) {
    this.world = new LedgerWorld(limits, { memoMs: 7 * 86_400_000 });
    this.world.ledger.roll(this.world.env());
  }

  run(one: Step): void {
    const { world } = this;
    switch (one.do) {
      case "lease":
        this.#lease(one);
        break;
      case "settle":
        this.#settle(one);
        break;
      case "pass":
        world.pass(one.ms);
        world.ledger.roll(world.env());
        break;
      case "jump":
        world.nowMs += one.ms;
        world.ledger.roll(world.env());
        break;
      case "limits":
        world.setLimits(one.limits);
        break;
      case "override": {
        const { unit, window, limit } = one.limit;
        const instance = windowAt(window, world.nowMs);
        const override = { window: instance, limit, v: one.v };
        world.ledger.override(one.account, unit, override, world.env());
        break;
      }
      case "restart":
        world.restart();
        world.ledger.roll(world.env());
        break;
    }
    this.ledgerNowMs = Math.max(this.ledgerNowMs, world.nowMs);
    this.#check();
  }

  #lease(one: Extract<Step, { do: "lease" }>): void {
    const { world } = this;
    const requestId = `r${one.request}`;
    const bootId = `b${one.boot}`;
    const before = new Map(this.#rows().map((row) => [row.key, row]));
    const answer = world.lease(one.account, one.need, {
      want: one.want,
      node: one.node,
      requestId,
      bootId,
    });
    const memo = `${one.node}/${bootId}/${requestId}`;
    const known = this.byRequest.get(memo);
    if ("refused" in answer) {
      expect(known, "I5: a request that was granted once is refused").toBeUndefined();
      return;
    }
    const deadlineMs = world.monoMs + answer.ttlMs * 1.01;
    if (known) {
      expect(answer.leaseId, "I5: a second lease for one request").toBe(known.grant.leaseId);
      expect(answer.amount, "I5: another amount for one request").toEqual(known.grant.amount);
      // The node counts from its repetition; what it is told must keep I7 all the same.
      known.deadlineMs = Math.max(known.deadlineMs, deadlineMs);
      return;
    }
    for (const unit of LEDGER_UNITS) {
      if (!answer.unlimited.includes(unit)) {
        expect(answer.amount[unit], "a grant below the need").toBeGreaterThanOrEqual(
          one.need[unit],
        );
      }
    }
    this.ledgerNowMs = Math.max(this.ledgerNowMs, world.nowMs);
    for (const row of this.#rows()) {
      const taken = row.reserved + row.spent + row.children;
      const moved = taken - (before.get(row.key)?.taken ?? 0);
      if (moved > 0) expect(taken, `I1: ${row.key}`).toBeLessThanOrEqual(row.limit);
    }
    const shadow: Shadow = {
      grant: answer,
      node: one.node,
      account: one.account,
      grantedAtMs: this.ledgerNowMs,
      deadlineMs,
      spent: [0, 0, 0],
      final: false,
      expired: false,
    };
    this.shadows.push(shadow);
    this.byRequest.set(memo, shadow);
  }

  #settle(one: Extract<Step, { do: "settle" }>): void {
    const shadow = this.shadows[one.which % Math.max(1, this.shadows.length)];
    if (!shadow) return;
    const { grant } = shadow;
    const spent = LEDGER_UNITS.map((unit) => Math.floor((grant.amount[unit] * one.share) / 1_000));
    const answer = this.world.settle(
      grant,
      amountsOf(Object.fromEntries(LEDGER_UNITS.map((unit, i) => [unit, spent[i]]))),
      {
        node: one.wrongNode ? "n9" : shadow.node,
        epoch: one.wrongEpoch ? grant.epoch + 100 : grant.epoch,
        final: one.final,
      },
    );
    if (one.wrongNode || one.wrongEpoch) {
      expect(answer).toHaveProperty("refused");
      return;
    }
    if (spent.some((amount, i) => amount > grant.amount[LEDGER_UNITS[i] as LedgerUnit])) {
      expect(answer).toHaveProperty("refused", "settle_above_lease");
      return;
    }
    if (!shadow.final) {
      shadow.spent = shadow.spent.map((before, i) => Math.max(before, spent[i] as number));
      shadow.final = one.final;
    }
    // I8: what the ledger says is the greatest report, and the final one for ever.
    expect(answer).toMatchObject({
      spent: amountsOf(Object.fromEntries(LEDGER_UNITS.map((unit, i) => [unit, shadow.spent[i]]))),
      final: shadow.final,
    });
  }

  #rows() {
    return this.world.ledger.rows().map((row) => ({
      key: `${row.account}|${row.unit}|${row.window}`,
      limit: row.limit as number,
      available: row.available,
      reserved: row.reserved,
      spent: row.spent,
      children: row.children,
      taken: row.reserved + row.spent + row.children,
    }));
  }

  #check(): void {
    const { world } = this;
    const open = new Set(
      world.ledger.openLeases().flatMap((lease) => (lease.status === "open" ? [lease.id] : [])),
    );
    for (const shadow of this.shadows) {
      const isOpen = open.has(shadow.grant.leaseId);
      if (!isOpen && !shadow.final && !shadow.expired) {
        shadow.expired = true;
        expect(world.monoMs, "I7: expired before its node stopped").toBeGreaterThan(
          shadow.deadlineMs,
        );
      }
      if (shadow.expired && isOpen) throw new Error("an expired lease is open again");
    }
    for (const row of world.state.rows()) {
      const paid = this.#expected(row.account, row.unit, row.window);
      const { reserved, spent, children } = row;
      const name = `${row.account} ${row.unit} ${row.window}`;
      expect({ reserved, spent, children }, `I2: ${name}`).toEqual(paid);
      if (row.limit !== undefined) {
        expect(row.available, `L1: ${name}`).toBe(row.limit - reserved - spent - children);
      }
    }
    expect(world.state.flaws()).toEqual([]);
  }

  /** What a row must hold, from the shadows alone. */
  #expected(account: string, unit: LedgerUnit, window: string) {
    const paid = { reserved: 0, spent: 0, children: 0 };
    const index = LEDGER_UNITS.indexOf(unit);
    for (const shadow of this.shadows) {
      const chain = CHAIN[shadow.account] as readonly string[];
      const inWindow = WINDOW_KINDS.some((kind) => windowAt(kind, shadow.grantedAtMs) === window);
      if (!chain.includes(account) || !inWindow) continue;
      const lent = shadow.grant.amount[unit];
      const reported = shadow.spent[index] as number;
      const charge = shadow.final ? reported : lent;
      if (account !== shadow.account) paid.children += charge;
      else if (shadow.final || shadow.expired) paid.spent += charge;
      else {
        paid.spent += reported;
        paid.reserved += lent - reported;
      }
    }
    return paid;
  }
}

describe("the ledger under any sequence of calls", { timeout: 120_000 }, () => {
  test("I1 I2 I5 I7 I8 L1 hold after every step", () => {
    fc.assert(
      fc.property(limitsOf, fc.array(step, { maxLength: 60 }), (limits, steps) => {
        const adversary = new Adversary(limits);
        for (const one of steps) adversary.run(one);
      }),
      { numRuns: count, seed },
    );
  });

  test("L2: no sequence of clock jumps lends more of a window than its limit", () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: -3 * 3_600_000, max: 3_600_000 }), { maxLength: 40 }),
        (jumps) => {
          const world = new LedgerWorld([
            {
              account: "overrun",
              parent: undefined,
              limits: [{ unit: "usd_micros", window: "hour", limit: 1_000 }],
            },
          ]);
          const lent = new Map<string, number>();
          for (const jump of jumps) {
            world.nowMs += jump;
            const answer = world.lease("overrun", { usd_micros: 400 });
            if ("refused" in answer) continue;
            const window = windowAt("hour", world.state.nowMs);
            lent.set(window, (lent.get(window) ?? 0) + answer.amount.usd_micros);
          }
          for (const sum of lent.values()) expect(sum).toBeLessThanOrEqual(1_000);
        },
      ),
      { numRuns: count, seed },
    );
  });

  test("I9: with money left, whoever keeps asking is served in the end", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 50 }),
        fc.integer({ min: 1, max: 5_000 }),
        (n, limit) => {
          const world = new LedgerWorld([
            {
              account: "overrun",
              parent: undefined,
              limits: [{ unit: "usd_micros", window: "total", limit }],
            },
          ]);
          world.activeNodes = n;
          let lent = 0;
          for (let asked = 0; asked < 200; asked++) {
            const answer = world.lease("overrun", { usd_micros: 1 }, { want: { usd_micros: 500 } });
            if ("refused" in answer) break;
            lent += answer.amount.usd_micros;
          }
          expect(lent).toBe(limit);
        },
      ),
      { numRuns: count, seed },
    );
  });
});
