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

const { count, seed } = proofCount("the ledger's invariants", { small: 80, full: 5000 });
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
      // Thousandths of what was not spent that open requests hold; absent in an ordinary report.
      keep: fc.option(fc.integer({ min: 0, max: 1_100 }), { nil: undefined }),
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
  /** What it is charged until it is final. */
  amount: number[];
  final: boolean;
  expired: boolean;
};

class Adversary {
  readonly world: LedgerWorld;
  readonly shadows: Shadow[] = [];
  readonly byRequest = new Map<string, Shadow>();
  ledgerNowMs = START_MS;

  constructor(limits: AccountLimits) {
    this.world = new LedgerWorld(limits, { memoMs: { max: 7 * 86_400_000, min: 60_000 } });
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
        const overrides = [{ unit, window: instance, limit }];
        world.ledger.override(one.account, overrides, one.v, world.env());
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
      const amount = LEDGER_UNITS.map((unit) => answer.amount[unit]);
      expect(amount, "I5: another amount for one request").toEqual(known.amount);
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
      amount: LEDGER_UNITS.map((unit) => answer.amount[unit]),
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
    const { keep: share } = one;
    const spent = LEDGER_UNITS.map((unit) => Math.floor((grant.amount[unit] * one.share) / 1_000));
    const answer = this.world.settle(
      grant,
      amountsOf(Object.fromEntries(LEDGER_UNITS.map((unit, i) => [unit, spent[i]]))),
      {
        node: one.wrongNode ? "n9" : shadow.node,
        epoch: one.wrongEpoch ? grant.epoch + 100 : grant.epoch,
        final: one.final,
        ...(share !== undefined && { keep: amountsOf(shareOfRest(grant, spent, share)) }),
      },
    );
    if (one.wrongNode || one.wrongEpoch) {
      expect(answer).toHaveProperty("refused");
      return;
    }
    if (spent.some((amount, i) => amount > (shadow.amount[i] as number))) {
      expect(answer).toHaveProperty("refused", "settle_above_lease");
      return;
    }
    if (!shadow.final) {
      shadow.spent = shadow.spent.map((before, i) => Math.max(before, spent[i] as number));
      shadow.final = one.final;
      if (share !== undefined && !one.final) {
        const keep = shareOfRest(grant, spent, share);
        shadow.amount = shadow.amount.map((before, i) => {
          const told = (spent[i] as number) + keep[LEDGER_UNITS[i] as LedgerUnit];
          return Math.max(shadow.spent[i] as number, Math.min(before, told));
        });
      }
    }
    expect(answer, "I8: not the greatest report, or not the final one").toMatchObject({
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
      expect(shadow.expired && isOpen, "I7: an expired lease is open again").toBe(false);
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
    expect(world.state.flaws(), "I2: leases and rows differ").toEqual([]);
  }

  /** What a row must hold, from the shadows alone. */
  #expected(account: string, unit: LedgerUnit, window: string) {
    const paid = { reserved: 0, spent: 0, children: 0 };
    const index = LEDGER_UNITS.indexOf(unit);
    for (const shadow of this.shadows) {
      const chain = CHAIN[shadow.account] as readonly string[];
      const inWindow = WINDOW_KINDS.some((kind) => windowAt(kind, shadow.grantedAtMs) === window);
      if (!chain.includes(account) || !inWindow) continue;
      const lent = shadow.amount[index] as number;
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

function shareOfRest(grant: LeaseGrant, spent: readonly number[], share: number) {
  return Object.fromEntries(
    LEDGER_UNITS.map((unit, i) => {
      const rest = Math.max(0, grant.amount[unit] - (spent[i] as number));
      return [unit, Math.floor((rest * share) / 1_000)];
    }),
  ) as Record<LedgerUnit, number>;
}

// I3, I4 and I6 are kept elsewhere: by the node's books, by the actor's commits, by the journal.
const INVARIANTS = [
  ["I1", "what is charged never exceeds the limit that stood at the grant"],
  ["I2", "what nodes spent is charged, and each row equals its leases"],
  ["I5", "one lease at most for one request"],
  ["I7", "a lease expires only after its node has stopped"],
  ["I8", "reports only rise, amounts only fall, the final one stays, refunds happen once"],
  ["L1", "limit = available + reserved + spent + children"],
] as const;

let checked: { readonly failure: string | undefined } | undefined;

/** All are looked at after every step of one set of runs; a failure names the first that broke. */
function failureOf(invariant: string): string | undefined {
  if (checked === undefined) {
    const steps = fc.array(step, { maxLength: 60 });
    const details = fc.check(
      fc.property(limitsOf, steps, (limits, all) => {
        const adversary = new Adversary(limits);
        for (const one of all) adversary.run(one);
      }),
      { numRuns: count, seed },
    );
    checked = { failure: details.failed ? fc.defaultReportMessage(details) : undefined };
  }
  const { failure } = checked;
  const named = INVARIANTS.find(([name]) => failure?.includes(`${name}: `))?.[0];
  return named === undefined || named === invariant ? failure : undefined;
}

describe("the ledger under any sequence of calls", { timeout: 120_000 }, () => {
  test.each(INVARIANTS)("%s: %s", (name) => {
    expect(failureOf(name)).toBeUndefined();
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
