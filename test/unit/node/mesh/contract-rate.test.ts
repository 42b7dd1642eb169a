import fc from "fast-check";
import { beforeEach, describe, expect, test } from "vitest";
import type { Bucket, Rate } from "../../../../authority/rate.ts";
import type { VerifiedChain } from "../../../../authority/verify-chain.ts";
import { WHOLE_PARTS } from "../../../../mesh/rate-share.ts";
import type { BucketCharge } from "../../../../node/decision/bucket-charge.ts";
import { bucketCharges } from "../../../../node/decision/stages/13-rate.ts";
import type { ServedContract } from "../../../../node/mesh/contract-desk.ts";
import { Directory } from "../../../../node/mesh/directory.ts";
import { LEFT_BUCKETS_MAX } from "../../../../node/mesh/left-buckets.ts";
import { takeBackRetired } from "../../../../node/table/lend.ts";
import { reserve } from "../../../../node/table/reserve.ts";
import { createTable, type Table } from "../../../../node/table/table.ts";
import { facts, grant } from "../../../support/builders.ts";
import { AUTHORITY, child, type Forged, root } from "../../../support/contract-forge.ts";
import { proofCount } from "../../../support/proof.ts";

// What requests of a delegator and of what it delegates take from their buckets, through a row's whole
// life: whatever moves from one to the other, together they get what the one was granted.

const S = 1_000_000_000n;
const ROOT = root();
const CHILD = child(ROOT);
const LOTS: Bucket = { burst: 1_000_000, amount: 1_000_000, seconds: 1 };

let table: Table;
let directory: Directory;

beforeEach(() => {
  table = createTable({ rows: 32, loops: 1, scopes: 64, writers: 1, proofs: 64 });
  directory = new Directory({ table, killed: () => false });
});

function requests(burst: number, amount: number, seconds = 1): Rate {
  return { req: { burst, amount, seconds }, tok: LOTS, usd_u: LOTS };
}

function served(rate: Rate, ...links: readonly [Forged, ...Forged[]]): ServedContract {
  const leaf = links.at(-1) ?? links[0];
  const verified: VerifiedChain = { links, root: links[0], leaf, effective: AUTHORITY };
  return { keySha256: leaf.id, chain: "", freshUntilNs: 0n, verified, rate };
}

/** The row that serves it. */
function granted(contract: ServedContract, nowNs: bigint) {
  const answer = directory.resolveContract(contract, nowNs);
  if (!("grant" in answer) || answer.grant.contract === undefined) throw new Error("no row");
  return { row: answer.grant.row, contract: answer.grant.contract };
}

/** Requests that pass one after the other at that instant, as loops make them that ask for the row then. */
function passing(of: ServedContract, nowNs: bigint): number {
  const { row, contract } = granted(of, nowNs);
  // Stage 13 asks no bucket that could never serve.
  if (contract.rate.req.amount === 0 || contract.rate.req.burst === 0) return 0;
  return passed(row, bucketCharges(facts({ contract, grant: grant({ rate: [] }) })), nowNs);
}

function passed(row: number, buckets: readonly BucketCharge[], nowNs: bigint): number {
  const charges = { cost: { usdMicros: 0n, tokens: 0n, calls: 0n }, overrunMicros: 0n, buckets };
  for (let count = 0; count < 1_000; count++) {
    if (!("taken" in reserve(table, row, charges, nowNs))) return count;
  }
  return Number.POSITIVE_INFINITY;
}

describe("34: a root that comes back", () => {
  const leave = (agentId: string) => {
    directory.free(agentId);
    for (const { row, generation } of directory.sweep(8)) {
      takeBackRetired(table, { row, generation });
    }
    directory.sweep(8);
  };
  const agent = ROOT.claims.agent;
  const whole = served(requests(20, 1, 10), ROOT);

  test("has the burst that it left, and what came in since", () => {
    expect(passing(whole, S)).toBe(20);
    leave(agent);
    expect(passing(whole, 31n * S)).toBe(3);
    leave(agent);
    // Read by the slower rate alone, what is missing would be half of what it is.
    expect(passing(served(requests(20, 1, 20), ROOT), 42n * S)).toBe(1);
  });

  test("and never more, where too many left to be remembered", () => {
    expect(passing(whole, S)).toBe(20);
    leave(agent);
    for (let no = 0; no < LEFT_BUCKETS_MAX; no += 1) {
      const other = { ...ROOT, id: `other-${no}` };
      directory.resolveContract(served(requests(20, 1, 10), other), S);
      leave(agent);
    }
    expect(passing(whole, S)).toBe(0);
    leave(agent);
  });
});

test("what a contract has and what its team lends are two curves, and it may have whatever lies below both", () => {
  const own = served(requests(20, 1), ROOT);
  const lent = {
    metric: "requests",
    amount: 40,
    windowMs: 1_000,
    burst: 10,
    shared: true,
  } as const;
  const { row } = granted(own, S);
  const passes = (nowNs: bigint): number => {
    const of = facts({ contract: granted(own, nowNs).contract, grant: grant({ rate: [lent] }) });
    return passed(row, bucketCharges({ ...of, rateShares: WHOLE_PARTS }), nowNs);
  };
  // Ten at once, by what is lent. A second later that is full again, and of its own it has eleven: one bucket of
  // the lower burst and the lower rate would let one through.
  expect([passes(S), passes(2n * S), passes(3n * S), passes(60n * S)]).toEqual([10, 10, 2, 10]);
});

describe("34: rate that is moved to and fro is none the more", () => {
  const whole = served(requests(20, 10), ROOT);

  test("who has spent its burst and gives away its refill has no burst again", () => {
    expect(passing(whole, S)).toBe(20);
    const slow = served(requests(19, 1), ROOT);
    directory.rateChanged(slow, S);
    expect(passing(slow, S)).toBe(0);
    expect(passing(slow, 2n * S)).toBe(1);
  });

  test("what a child had meanwhile does not come back with its rate", () => {
    expect(passing(whole, S)).toBe(20);
    directory.rateChanged(served(requests(4, 2), ROOT), S);
    const given = served(requests(16, 8), ROOT, CHILD);
    expect(passing(given, S)).toBe(0);
    expect(passing(given, 3n * S)).toBe(16);
    // The child is over, nobody has asked for the delegator since, and it has its whole rate again.
    expect(passing(whole, 3n * S)).toBe(4);
    expect(passing(whole, 4n * S)).toBe(10);
  });

  test("a delegation that is refused fills nothing, and keeps nothing from filling", () => {
    expect(passing(whole, S)).toBe(20);
    directory.rateChanged(served(requests(10, 5), ROOT), 2n * S);
    directory.rateChanged(whole, 2n * S);
    expect(passing(whole, 2n * S)).toBeLessThanOrEqual(10);
    expect(passing(whole, 4n * S)).toBe(20);
  });

  test("what is left as it was is left alone, and so is whoever has no row", () => {
    directory.rateChanged(whole, S);
    expect(directory.rowCount).toBe(0);
    expect(passing(whole, S)).toBe(20);
    directory.rateChanged(served(requests(20, 10), ROOT), S);
    expect(passing(whole, S + S / 10n)).toBe(1);
  });

  test("who had nothing left begins with nothing", () => {
    expect(passing(whole, S)).toBe(20);
    directory.rateChanged(served(requests(0, 0), ROOT), S);
    expect(passing(whole, 60n * S)).toBe(0);
    expect(passing(whole, 62n * S)).toBe(20);
  });
});

type Step = { readonly ms: number; readonly burst: number; readonly amount: number };
const anyStep: fc.Arbitrary<Step> = fc.record({
  ms: fc.constantFrom(0, 1, 100, 500, 1_000, 2_000, 5_000),
  burst: fc.integer({ min: 0, max: 20 }),
  amount: fc.integer({ min: 0, max: 10 }),
});

const { count: runs, seed } = proofCount("rates moved to and fro", { small: 100, full: 5_000 });

test("34: however a delegator moves its rate, it and its child pass no more than it was granted", () => {
  // One table for all: each run has contracts of its own.
  table = createTable({ rows: 1 << 16, loops: 1, scopes: 1 << 17, writers: 1 });
  directory = new Directory({ table, killed: () => false });
  let contracts = 0;
  const named = (of: Forged): Forged => {
    contracts += 1;
    return { ...of, id: `contract-${contracts}` };
  };
  fc.assert(
    fc.property(fc.array(anyStep, { minLength: 2, maxLength: 12 }), (steps) => {
      const top = named(ROOT);
      let nowNs = S;
      // It begins full once: who delegates has been asked for.
      directory.resolveContract(served(requests(20, 10), top), nowNs);
      const passed: { readonly nowNs: bigint; readonly count: number }[] = [];
      const pass = (of: ServedContract) => passed.push({ nowNs, count: passing(of, nowNs) });
      steps.forEach(({ ms, burst, amount }, no) => {
        // Every other step the child is over.
        const isOver = no % 2 === 0;
        const given = isOver ? requests(0, 0) : requests(burst, amount);
        const own = served(isOver ? requests(20, 10) : requests(20 - burst, 10 - amount), top);
        const below = served(given, top, named(CHILD));
        directory.rateChanged(own, nowNs);
        if (!isOver) pass(below);
        // A delegator that is silent meanwhile is not asked for.
        if (burst % 2 === 0) pass(own);
        nowNs += BigInt(ms) * 1_000_000n;
        if (!isOver) pass(below);
        if (amount % 2 === 0) pass(own);
      });
      passed.forEach((from, at) => {
        const since = passed.slice(at);
        const count = since.reduce((all, one) => all + one.count, 0);
        const ns = (since.at(-1)?.nowNs ?? 0n) - from.nowNs;
        expect(count).toBeLessThanOrEqual(20 + Number(ns) / 100_000_000);
      });
    }),
    { numRuns: runs, seed },
  );
});

describe("34: a bucket that takes longer to fill than a cell can count", () => {
  test.each([2 ** 53 - 1, 2 ** 40, 900_000_000])("%d s a request: none passes twice", (seconds) => {
    const never = served(requests(20, 1, seconds), ROOT);
    expect(passing(never, S)).toBeLessThanOrEqual(20);
    expect(passing(never, 60n * S)).toBe(0);
  });

  test("and what is delegated with such a one begins empty as well", () => {
    for (let seconds = 2 ** 53 - 1; seconds > 2 ** 24; seconds = Math.floor(seconds / 3)) {
      const never = served(requests(20, 1, seconds), ROOT, child(ROOT, { issuedAt: seconds }));
      expect(passing(never, S), String(seconds)).toBe(0);
    }
  });
});
