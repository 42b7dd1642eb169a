import fc from "fast-check";
import { describe, expect, test, vi } from "vitest";
import type { Bucket, Rate } from "../../../authority/rate.ts";
import { rateLeft } from "../../../authority/rate-left.ts";
import type { AccountLimits } from "../../../coordinator/account-limits.ts";
import type { ContractAccount } from "../../../coordinator/contract-account.ts";
import type { LeaseGrant } from "../../../coordinator/ledger.ts";
import { FAN_OUT_MAX } from "../../../coordinator/ledger-contracts.ts";
import type { LedgerAmounts } from "../../../coordinator/ledger-window.ts";
import { proofCount } from "../../support/proof.ts";
import { amountsOf, LedgerWorld, START_MS } from "./ledger-world.ts";

const AGENT = "agent/research/planner";
const LIMITS: AccountLimits = [
  { account: "global", parent: undefined, limits: [] },
  { account: "team/research", parent: "global", limits: [] },
  { account: AGENT, parent: "team/research", limits: [] },
];
const HOUR_MS = 3_600_000;
const LEASE_KEPT_MS = 600_000;
const ample: Bucket = { burst: 1_000, amount: 1_000, seconds: 1 };
const AMPLE: Rate = { req: ample, tok: ample, usd_u: ample };
const NO_RATE: Rate = {
  req: { burst: 0, amount: 0, seconds: 1 },
  tok: { burst: 0, amount: 0, seconds: 1 },
  usd_u: { burst: 0, amount: 0, seconds: 1 },
};

function account(id: string, of: Partial<ContractAccount> = {}): ContractAccount {
  return {
    id,
    parent: "",
    agent: "research/planner",
    node: "n1",
    depth: 0,
    keySha256: "",
    chain: "",
    limit: amountsOf({ usd_micros: 1_000, tokens: 1_000, calls: 100 }),
    rate: AMPLE,
    expiresMs: START_MS + HOUR_MS,
    state: "open",
    ...of,
  };
}

function below(parent: ContractAccount, id: string, of: Partial<ContractAccount> = {}) {
  const { depth, limit } = parent;
  return account(id, { parent: parent.id, depth: depth + 1, limit, rate: NO_RATE, ...of });
}

const half = ({ usd_micros, tokens, calls }: LedgerAmounts): LedgerAmounts => ({
  usd_micros: usd_micros / 2,
  tokens: tokens / 2,
  calls: calls / 2,
});

const ROOT = account("root");

describe("keeping contracts", () => {
  test("costs a look at those that are due, however many there are", () => {
    const world = new LedgerWorld(LIMITS);
    const { contracts } = world.ledger;
    for (let no = 0; no < 2_000; no++) contracts.open(account(`r${no}`));
    contracts.open(account("early", { expiresMs: START_MS + 1_000 }));
    for (let no = 0; no < 500; no++) world.granted("contract/r1", { calls: 0 });
    const looks = vi.spyOn(world.state, "contract");
    const scans = [vi.spyOn(world.state, "contracts"), vi.spyOn(world.state, "leases")];
    contracts.roll();
    expect(looks).toHaveBeenCalledTimes(0);
    world.pass(1_000);
    world.ledger.roll(world.env());
    expect(contracts.get("early")?.state).toBe("released");
    world.pass(27 * HOUR_MS - 3 * LEASE_KEPT_MS);
    world.ledger.roll(world.env());
    expect(contracts.get("early")).toBeUndefined();
    expect(looks.mock.calls.length).toBeLessThan(2_000 * 8);
    for (const scan of scans) expect(scan).toHaveBeenCalledTimes(0);
  });

  test("one that is still named when it could be forgotten is forgotten later", () => {
    const world = new LedgerWorld(LIMITS);
    const { contracts } = world.ledger;
    contracts.open(ROOT);
    world.pass(HOUR_MS - 1);
    const lease = world.granted("contract/root", { usd_micros: 100 });
    world.pass(26 * HOUR_MS);
    world.settle(lease, { usd_micros: 40 }, { final: true });
    expect(contracts.get("root")?.state).toBe("released");
    world.flush();
    const stored = () => String(world.stored.get("ledger/rows/contract/root"));
    world.pass(60_001);
    world.ledger.roll(world.env());
    world.pass(60_001);
    world.ledger.roll(world.env());
    expect(contracts.get("root")).toBeUndefined();
    // What has no end of its own leaves the store as well; the rest does with its windows.
    expect(stored()).toContain("|total");
    world.flush();
    expect(stored()).not.toContain("|total");
  });
});

describe("carving", () => {
  test("17: more than the parent has left is refused, and what would have fitted is named", () => {
    const world = new LedgerWorld(LIMITS);
    world.ledger.contracts.open(ROOT);
    const asked = amountsOf({ usd_micros: 1_001 });
    expect(world.ledger.contracts.open(below(ROOT, "a", { limit: asked }))).toMatchObject({
      refused: "delegation_budget",
      message: "budget: asked 1001 usd_micros, 1000 would have fitted",
    });
  });

  test("18: of two children with all of the money each, one is opened", () => {
    const world = new LedgerWorld(LIMITS);
    const { contracts } = world.ledger;
    contracts.open(ROOT);
    expect(contracts.open(below(ROOT, "a", { node: "n1" }))).toMatchObject({ id: "a" });
    expect(contracts.open(below(ROOT, "b", { node: "n2" }))).toMatchObject({
      refused: "delegation_budget",
    });
    expect(world.lease("contract/root", { calls: 1 })).toMatchObject({
      refused: "budget_exhausted",
    });
  });

  test("19, C4: the same child twice is one child, and takes its money once", () => {
    const world = new LedgerWorld(LIMITS);
    const { contracts } = world.ledger;
    contracts.open(ROOT);
    const child = below(ROOT, "a", { limit: half(ROOT.limit) });
    for (let i = 0; i < 3; i++) expect(contracts.open(child)).toMatchObject({ id: "a" });
    expect(contracts.row("root", "usd_micros")).toMatchObject({ children: 500, available: 500 });
  });

  test("34, C3: a hundred siblings at their parent's rate are one", () => {
    const world = new LedgerWorld(LIMITS);
    const { contracts } = world.ledger;
    contracts.open(ROOT);
    const none = amountsOf({});
    const outcomes = Array.from({ length: 100 }, (_, i) =>
      contracts.open(below(ROOT, `c${i}`, { limit: none, rate: AMPLE })),
    );
    expect(outcomes.filter((one) => !("refused" in one))).toHaveLength(1);
    expect(outcomes[1]).toMatchObject({
      refused: "delegation_rate",
      message: "rate.req: asked 1000/1s burst 1000, 0/1s burst 0 would have fitted",
    });
    expect(contracts.ownRate(ROOT).req).toEqual({ burst: 0, amount: 0, seconds: 1 });
  });

  test("42: the thirty-third child is refused, and has room once another has ended", () => {
    const world = new LedgerWorld(LIMITS);
    const { contracts } = world.ledger;
    contracts.open(ROOT);
    const limit = amountsOf({ calls: 1 });
    for (let i = 0; i < FAN_OUT_MAX; i++) contracts.open(below(ROOT, `c${i}`, { limit }));
    const one = below(ROOT, "one more", { limit });
    expect(contracts.open(one)).toMatchObject({ refused: "delegation_fan_out" });
    contracts.revoke("c3");
    expect(contracts.open(one)).toMatchObject({ id: "one more" });
  });

  test("a contract that nobody opened has no money, and nothing can be carved from it", () => {
    const world = new LedgerWorld(LIMITS);
    expect(world.lease("contract/root", { calls: 1 })).toMatchObject({
      refused: "account_unknown",
    });
    expect(world.ledger.contracts.open(below(ROOT, "a"))).toMatchObject({
      refused: "contract_unknown",
    });
  });

  test("where the ledger's journal is full no other is opened; one that is open is known, and ends", () => {
    const world = new LedgerWorld(LIMITS);
    const { contracts } = world.ledger;
    const full = { refused: "budget_unavailable", message: "the ledger's journal is full" };
    world.ledger.roll({ ...world.env(), isFull: true });
    expect(contracts.open(ROOT)).toEqual(full);
    world.ledger.roll(world.env());
    expect(contracts.open(ROOT)).toMatchObject({ id: "root" });
    world.ledger.roll({ ...world.env(), isFull: true });
    expect(contracts.open(ROOT)).toMatchObject({ id: "root" });
    expect(contracts.open(below(ROOT, "a"))).toEqual(full);
    contracts.revoke("root");
    expect(contracts.get("root")).toMatchObject({ state: "revoked" });
  });

  test("20: a contract is lent to the node that holds it, and to no other", () => {
    const world = new LedgerWorld(LIMITS);
    world.ledger.contracts.open(ROOT);
    expect(world.lease("contract/root", { calls: 1 }, { node: "n2" })).toMatchObject({
      refused: "account_unknown",
    });
    expect(world.lease("contract/root", { calls: 1 }, { node: "n1" })).toHaveProperty("leaseId");
  });

  test("20: a node that was cut off has its lease and no more, and it is spent until it is over", () => {
    const world = new LedgerWorld(LIMITS);
    world.ledger.contracts.open(ROOT);
    const lease = world.granted("contract/root", { usd_micros: 600, tokens: 1, calls: 1 });
    const more = world.settle(lease, { ...lease.amount, usd_micros: lease.amount.usd_micros + 1 });
    expect(more).toMatchObject({ refused: "settle_above_lease" });
    // Nothing was heard since: whatever it may have spent meanwhile, nobody else can be lent.
    world.pass(lease.ttlMs + 60_000);
    const left = 1_000 - lease.amount.usd_micros;
    expect(world.lease("contract/root", { usd_micros: left + 1 })).toMatchObject({
      refused: "budget_exhausted",
    });
  });

  test("20: a lease of an epoch that is over settles nothing after a failover", () => {
    const world = new LedgerWorld(LIMITS);
    world.ledger.contracts.open(ROOT);
    const lease = world.granted("contract/root", { usd_micros: 100, calls: 1 });
    world.restart();
    const before = world.row("contract/root", "usd_micros", "total");
    for (const epoch of [lease.epoch + 1, lease.epoch - 1]) {
      expect(world.settle(lease, { usd_micros: 1 }, { epoch, final: true })).toMatchObject({
        refused: "lease_unknown",
      });
    }
    expect(world.settle(lease, { usd_micros: 1 }, { node: "n2" })).toMatchObject({
      refused: "lease_unknown",
    });
    expect(world.row("contract/root", "usd_micros", "total")).toEqual(before);
  });

  test("21: a lease that is settled again, or for less than before, gives nothing back twice", () => {
    const world = new LedgerWorld(LIMITS);
    world.ledger.contracts.open(ROOT);
    const lease = world.granted("contract/root", { usd_micros: 100, calls: 1 });
    world.settle(lease, { usd_micros: 60, calls: 1 });
    expect(world.settle(lease, { usd_micros: 10 })).toMatchObject({ spent: { usd_micros: 60 } });
    world.settle(lease, { usd_micros: 60, calls: 1 }, { final: true });
    const settled = world.row("contract/root", "usd_micros", "total");
    expect(settled).toMatchObject({ spent: 60, reserved: 0, available: 940 });
    for (const usd_micros of [60, 0, 100]) {
      world.settle(lease, { usd_micros }, { final: true });
      expect(world.row("contract/root", "usd_micros", "total")).toEqual(settled);
    }
  });

  test("36: below what was revoked nothing is opened or lent, however far down", () => {
    const world = new LedgerWorld(LIMITS);
    const { contracts } = world.ledger;
    contracts.open(ROOT);
    const child = below(ROOT, "a", { limit: half(ROOT.limit) });
    const grandchild = below(child, "b", { limit: half(child.limit) });
    contracts.open(child);
    contracts.open(grandchild);
    contracts.revoke("root");
    for (const id of ["root", "a", "b"]) {
      expect(world.lease(`contract/${id}`, { calls: 1 })).toHaveProperty("refused");
    }
    expect(contracts.open(below(grandchild, "c"))).toMatchObject({ refused: "killed_contract" });
  });

  test("C5: a window of the holder's team bounds what its contracts are lent", () => {
    const limits = LIMITS.map((one) =>
      one.account === "team/research"
        ? { ...one, limits: [{ unit: "calls" as const, window: "hour" as const, limit: 5 }] }
        : one,
    );
    const world = new LedgerWorld(limits);
    world.ledger.contracts.open(ROOT);
    expect(world.lease("contract/root", { calls: 5 })).toMatchObject({ amount: { calls: 5 } });
    expect(world.lease("contract/root", { calls: 1 })).toMatchObject({
      refused: "budget_exhausted",
    });
  });
});

describe("release", () => {
  test("C6: an operator's limit takes from a grant, whether or not anything of it was used, and adds nothing", () => {
    const world = new LedgerWorld(LIMITS);
    const { contracts } = world.ledger;
    contracts.open(ROOT);
    const limit = amountsOf({ usd_micros: 600, calls: 10 });
    contracts.open(below(ROOT, "a", { limit, rate: AMPLE }));
    const set = (id: string, most: number, v: number) =>
      world.ledger.override(
        `contract/${id}`,
        [{ unit: "usd_micros", window: "total", limit: most }],
        v,
        world.env(),
      );
    set("a", 5_000, 1);
    set("root", 5_000, 1);
    for (const _ of ["", "after a restart"]) {
      expect(world.row("contract/a", "usd_micros", "total").limit).toBe(600);
      expect(world.row("contract/root", "usd_micros", "total")).toMatchObject({ available: 400 });
      expect(world.lease("contract/a", { usd_micros: 601 })).toMatchObject({
        refused: "budget_exhausted",
      });
      world.restart();
    }
    // Nothing was lent to it yet: it has no row that could say so.
    set("a", 300, 2);
    const asked = amountsOf({ usd_micros: 301 });
    expect(
      world.ledger.contracts.open(below(ROOT, "b", { parent: "a", limit: asked })),
    ).toMatchObject({ message: "budget: asked 301 usd_micros, 300 would have fitted" });
    world.granted("contract/a", { usd_micros: 300 });
    expect(world.lease("contract/a", { usd_micros: 1 })).toHaveProperty("refused");
  });

  test("C2: what a child did not spend comes back once, after its end and its last lease", () => {
    const world = new LedgerWorld(LIMITS);
    const { contracts } = world.ledger;
    contracts.open(ROOT);
    contracts.open(below(ROOT, "a", { limit: half(ROOT.limit), expiresMs: START_MS + 60_000 }));
    const lease = world.lease("contract/a", { usd_micros: 100, calls: 1 });
    if ("refused" in lease) throw new Error(lease.message);
    expect(lease.ttlMs).toBe(60_000);
    world.pass(60_500);
    world.ledger.roll(world.env());
    expect(contracts.get("a")?.state).toBe("ended");
    expect(contracts.row("root", "usd_micros").available).toBe(500);
    world.pass(60_000);
    world.ledger.roll(world.env());
    expect(contracts.get("a")?.state).toBe("released");
    // Nobody said what was spent of the lease, so all of it was.
    const left = 1_000 - lease.amount.usd_micros;
    expect(contracts.row("root", "usd_micros").available).toBe(left);
    world.pass(60_000);
    world.ledger.roll(world.env());
    expect(contracts.row("root", "usd_micros").available).toBe(left);
  });

  test("C2: what a node says of a lease after its contract came back is still its parents' money", () => {
    const world = new LedgerWorld(LIMITS);
    const { contracts } = world.ledger;
    const middle = below(ROOT, "a", { expiresMs: START_MS + 60_000 });
    contracts.open(ROOT);
    contracts.open(middle);
    contracts.open(below(middle, "b", { limit: half(ROOT.limit), expiresMs: START_MS + 30_000 }));
    const lease = world.granted("contract/b", { usd_micros: 100, calls: 1 });
    world.pass(200_000);
    world.ledger.roll(world.env());
    expect(["a", "b"].map((id) => contracts.get(id)?.state)).toEqual(["released", "released"]);
    const taken = lease.amount.usd_micros;
    expect(contracts.row("root", "usd_micros")).toMatchObject({ children: taken });
    for (let i = 0; i < 2; i++) world.settle(lease, { usd_micros: 40 }, { final: true });
    for (const id of ["a", "root"]) {
      expect(contracts.row(id, "usd_micros")).toMatchObject({ children: 40 });
    }
    expect(world.state.flaws()).toEqual([]);
  });

  test("C3: a child that was revoked keeps its rate until its money is back", () => {
    const world = new LedgerWorld(LIMITS);
    const { contracts } = world.ledger;
    contracts.open(ROOT);
    contracts.open(below(ROOT, "a", { limit: half(ROOT.limit), rate: AMPLE }));
    const lease = world.granted("contract/a", { usd_micros: 100 });
    contracts.revoke("a");
    expect(contracts.ownRate(ROOT).req).toMatchObject({ burst: 0, amount: 0 });
    world.settle(lease, { usd_micros: 100 }, { final: true });
    world.pass(1_000);
    world.ledger.roll(world.env());
    expect(contracts.get("a")?.state).toBe("released");
    expect(contracts.ownRate(ROOT)).toEqual(AMPLE);
  });

  test("what lies in the store is what lies in memory, after any restart", () => {
    const world = new LedgerWorld(LIMITS);
    world.ledger.contracts.open(ROOT);
    world.ledger.contracts.open(below(ROOT, "a", { limit: half(ROOT.limit), keySha256: "ab" }));
    world.lease("contract/a", { calls: 2 });
    const before = world.ledger.contracts.row("root", "calls");
    world.restart();
    expect(world.ledger.contracts.row("root", "calls")).toEqual(before);
    expect(world.ledger.contracts.byKey("ab")).toMatchObject({ id: "a", parent: "root" });
  });
});

describe("the whole tree", () => {
  const { count, seed } = proofCount("trees of accounts", { small: 80, full: 100_000 });

  type Deed =
    | { readonly t: "carve"; readonly parent: number; readonly part: number; readonly node: string }
    | { readonly t: "lease"; readonly of: number; readonly amount: number }
    | { readonly t: "settle"; readonly of: number; readonly part: number; readonly final: boolean }
    | { readonly t: "revoke"; readonly of: number }
    | { readonly t: "pass"; readonly ms: number }
    | { readonly t: "restart" };
  const no = fc.nat({ max: 30 });
  const node = fc.constantFrom("n1", "n2");
  const anyDeed: fc.Arbitrary<Deed> = fc.oneof(
    {
      weight: 4,
      arbitrary: fc.record({
        t: fc.constant("carve" as const),
        parent: no,
        part: fc.nat({ max: 12 }),
        node,
      }),
    },
    {
      weight: 5,
      arbitrary: fc.record({
        t: fc.constant("lease" as const),
        of: no,
        amount: fc.integer({ min: 1, max: 900 }),
      }),
    },
    {
      weight: 4,
      arbitrary: fc.record({
        t: fc.constant("settle" as const),
        of: no,
        part: fc.nat({ max: 10 }),
        final: fc.boolean(),
      }),
    },
    { weight: 1, arbitrary: fc.record({ t: fc.constant("revoke" as const), of: no }) },
    {
      weight: 1,
      arbitrary: fc.record({ t: fc.constant("pass" as const), ms: fc.nat({ max: 400_000 }) }),
    },
    { weight: 1, arbitrary: fc.record({ t: fc.constant("restart" as const) }) },
  );

  test("C1, C2: no subtree spends more than its top was granted, whatever anybody does", () => {
    fc.assert(
      fc.property(fc.array(anyDeed, { minLength: 4, maxLength: 40 }), (deeds) => {
        const tree = new Tree();
        for (const deed of deeds) {
          tree.run(deed);
          tree.mustHold();
        }
      }),
      { numRuns: count, seed },
    );
  }, 1_200_000);

  type Lent = {
    readonly of: string;
    readonly grant: LeaseGrant;
    readonly node: string;
    readonly amount: number;
    spent: number;
    final: boolean;
  };

  /** The ledger, and what really was lent and spent, kept beside it. */
  class Tree {
    readonly #world = new LedgerWorld(LIMITS);
    readonly #accounts = [ROOT];
    readonly #leases: Lent[] = [];

    constructor() {
      this.#world.ledger.contracts.open(ROOT);
    }

    run(deed: Deed): void {
      const world = this.#world;
      switch (deed.t) {
        case "carve":
          this.#carve(deed);
          return;
        case "lease":
          this.#lease(deed);
          return;
        case "settle":
          this.#settle(deed);
          return;
        case "revoke":
          world.ledger.contracts.revoke(this.#pick(deed.of).id);
          return;
        case "pass":
          world.pass(deed.ms);
          world.ledger.roll(world.env());
          return;
        case "restart":
          world.restart();
      }
    }

    /** Everything that was lent below a contract and may have been spent, against its limit. */
    mustHold(): void {
      for (const top of this.#accounts) {
        const ids = new Set([top.id]);
        for (const one of this.#accounts) if (ids.has(one.parent)) ids.add(one.id);
        const taken = this.#leases
          .filter(({ of }) => ids.has(of))
          .reduce((sum, { amount, spent, final }) => sum + (final ? spent : amount), 0);
        expect(taken).toBeLessThanOrEqual(top.limit.usd_micros);
      }
    }

    #carve({ parent, part, node }: Extract<Deed, { t: "carve" }>): void {
      const above = this.#pick(parent);
      // Up to a fifth more than all of it.
      const usd_micros = Math.floor((above.limit.usd_micros * part) / 10);
      const child = below(above, `c${this.#accounts.length}`, {
        node,
        limit: amountsOf({ usd_micros }),
        expiresMs: above.expiresMs - 300_000 * above.depth,
      });
      if (!("refused" in this.#world.ledger.contracts.open(child))) this.#accounts.push(child);
    }

    #lease({ of, amount }: Extract<Deed, { t: "lease" }>): void {
      const { id, node } = this.#pick(of);
      const lease = this.#world.lease(`contract/${id}`, { usd_micros: amount }, { node });
      if ("refused" in lease) return;
      const usd = lease.amount.usd_micros;
      this.#leases.push({ of: id, grant: lease, node, amount: usd, spent: 0, final: false });
    }

    #settle({ of, part, final }: Extract<Deed, { t: "settle" }>): void {
      const lease = this.#leases[of % Math.max(1, this.#leases.length)];
      if (lease === undefined || lease.final) return;
      const spent = Math.max(lease.spent, Math.floor((lease.amount * part) / 10));
      const settled = this.#world.settle(
        lease.grant,
        { usd_micros: spent },
        { node: lease.node, final },
      );
      if ("refused" in settled) return;
      lease.spent = spent;
      lease.final = final;
    }

    #pick(no: number): ContractAccount {
      return this.#accounts[no % this.#accounts.length] as ContractAccount;
    }
  }
});

describe("rate that is left", () => {
  const bucket = fc.record({
    burst: fc.nat({ max: 50 }),
    amount: fc.nat({ max: 50 }),
    seconds: fc.integer({ min: 1, max: 7 }),
  });

  test("C3: what is left and what was given add up to no more than the whole", () => {
    fc.assert(
      fc.property(bucket, fc.array(bucket, { maxLength: 5 }), (whole, given) => {
        const of = (one: Bucket): Rate => ({ req: one, tok: one, usd_u: one });
        const left = rateLeft(of(whole), given.map(of))?.req;
        if (left === undefined) return;
        const real = given.filter(({ burst }) => burst > 0);
        const scale = 420n;
        const perScale = ({ amount, seconds }: Bucket) =>
          (BigInt(amount) * scale) / BigInt(seconds);
        const sum = real.reduce((total, one) => total + perScale(one), perScale(left));
        expect(sum <= perScale(whole)).toBe(true);
        const bursts = real.reduce((total, one) => total + one.burst, left.burst);
        expect(bursts).toBe(whole.burst);
      }),
      { numRuns: 2_000 },
    );
  });
});
