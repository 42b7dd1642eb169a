import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { RateShares as Coordinator } from "../../../coordinator/rate-shares.ts";
import { FULL_BUCKETS, RATE_WHOLE, type RateLags } from "../../../mesh/rate-share.ts";
import { bucketCharges } from "../../../node/decision/stages/13-rate.ts";
import { RateShares } from "../../../node/rate-shares.ts";
import { releaseUnsent } from "../../../node/release-unsent.ts";
import { rateShareOf } from "../../../node/table/rate-share.ts";
import { reserve } from "../../../node/table/reserve.ts";
import { createRowOwner } from "../../../node/table/rows.ts";
import { NO_CELL } from "../../../node/table/scope-cells.ts";
import { ALL_UNITS, setUnlimitedUnits } from "../../../node/table/standing.ts";
import { createTable } from "../../../node/table/table.ts";
import { twinClock } from "../../../ports/twin-clock.ts";
import { facts, grant } from "../../support/builders.ts";
import { proofCount } from "../../support/proof.ts";

const AGENT = "pay/bot";
/** Ten at once and one a second for ever. */
const BURST = 10;
const RATE = { metric: "requests", amount: 60, windowMs: 60_000, burst: BURST } as const;
const EMPTY: RateLags = [10_000_000, 0, 0];
const SETTINGS = { ttlMs: 10_000, renewMs: 2_000, driftMilli: 10, guardMs: 1_000, accountsMax: 9 };

/** One coordinator and nodes with a table each, on one clock; `heard` says which answers arrive. */
function mesh(nodes: number) {
  const clock = twinClock();
  const coordinator = new Coordinator(SETTINGS);
  const nowMs = () => Number(clock.monoNs() / 1_000_000n);
  let heard = true;
  const make = (no: number) => {
    const table = createTable({ rows: 64, loops: 1, scopes: 8, writers: 3, proofs: 64 });
    const owner = createRowOwner(table);
    const allot = () => owner.allot({ team: 1, agent: 2, contract: NO_CELL }) as never as Row;
    let row = allot();
    setUnlimitedUnits(table, row.row, ALL_UNITS);
    const shares = new RateShares({
      table,
      clock,
      rowOf: () => row,
      ask: async (question) => {
        const ask = { node: `n${no}`, bootId: "b1", ...question };
        const env = { nowMs: nowMs(), empty: EMPTY, isAlone: false };
        const answer = coordinator.ask(ask, env);
        return heard ? answer : undefined;
      },
    });
    const held: Parameters<typeof releaseUnsent>[2][] = [];
    return {
      shares,
      table,
      /** What passed, in order. */
      held,
      /** These have not reached a provider after all. */
      release: (unsent: typeof held) => {
        for (const one of unsent) releaseUnsent({ table, clock }, row.row, one);
      },
      get row() {
        return row.row;
      },
      get share() {
        return rateShareOf(table, row.row, clock.monoNs());
      },
      newRow: () => {
        owner.retire(row.row);
        row = allot();
        setUnlimitedUnits(table, row.row, ALL_UNITS);
      },
      /** As a request is: asks for a share if there is none, then takes one of its bucket. */
      request: async () => {
        const share = () => rateShareOf(table, row.row, clock.monoNs());
        if (share() === 0) {
          const none = await shares.need(AGENT);
          if (none === "unanswered") return none;
          if (none !== undefined || share() === 0) return none?.retryMs ?? 0;
        }
        const of = facts({ grant: grant({ rate: [RATE] }), rateShare: share() });
        const charges = {
          cost: { usdMicros: 0n, tokens: 0n, calls: 0n },
          overrunMicros: 0n,
          buckets: bucketCharges(of),
        };
        const done = reserve(table, row.row, charges, clock.monoNs());
        if ("taken" in done) held.push({ facts: of, reserved: { taken: done.taken, charges } });
        return "limited" in done ? done.retryAfterMs : undefined;
      },
    };
  };
  return {
    clock,
    coordinator,
    nodes: Array.from({ length: nodes }, (_, no) => make(no)),
    hear: (isHeard: boolean) => {
      heard = isHeard;
    },
  };
}

type Row = { readonly row: number; readonly generation: number };
type Mesh = ReturnType<typeof mesh>;
const settled = async (): Promise<void> => {
  for (let i = 0; i < 6; i++) await new Promise((resolve) => setImmediate(resolve));
};

/** Moves time on second by second, as the control threads look. */
async function pass(one: Mesh, seconds: number): Promise<void> {
  for (let second = 0; second < seconds; second++) {
    one.clock.advance(1_000);
    for (const { shares } of one.nodes) shares.tick();
    await settled();
  }
}

const first = (one: Mesh) => one.nodes[0] as Mesh["nodes"][number];
const second = (one: Mesh) => one.nodes[1] as Mesh["nodes"][number];

async function passing(node: Mesh["nodes"][number], tries: number): Promise<number> {
  let passed = 0;
  for (let i = 0; i < tries; i++) if ((await node.request()) === undefined) passed++;
  return passed;
}

describe("an agent's rate on several nodes", () => {
  test("one node alone has all of it at its first request", async () => {
    const one = mesh(1);
    expect(await passing(first(one), 30)).toBe(BURST);
    expect(first(one).share).toBe(RATE_WHOLE);
    await pass(one, 5);
    expect(await passing(first(one), 30)).toBe(5);
  });

  test("what was charged to a small share and never sent comes back as no more under a larger one", async () => {
    const one = mesh(2);
    await first(one).request();
    await second(one).request();
    await pass(one, 4);
    await second(one).request();
    expect(first(one).share).toBe(RATE_WHOLE / 2);
    await pass(one, 20);
    first(one).held.length = 0;
    expect(await passing(first(one), 30)).toBe(BURST / 2);
    const unsent = first(one).held.splice(0);
    await second(one).shares.releaseAll();
    await pass(one, 3);
    expect(first(one).share).toBe(RATE_WHOLE);
    // At half the rate each of the five took two seconds, and is worth one now.
    await passing(first(one), 30);
    first(one).release(unsent);
    expect(await passing(first(one), 30)).toBe(BURST / 2);
  });

  test("a burst on one node is not there again on the next", async () => {
    const one = mesh(2);
    expect(await passing(first(one), 30)).toBe(BURST);
    expect(await passing(second(one), 30)).toBe(0);
    await pass(one, 4);
    await second(one).request();
    expect(second(one).share).toBe(RATE_WHOLE / 2);
    expect(first(one).share).toBe(RATE_WHOLE / 2);
    await pass(one, 20);
    // Both are full by now: of ten at once each has five.
    expect(await passing(first(one), 30)).toBe(BURST / 2);
    expect(await passing(second(one), 30)).toBe(BURST / 2);
  });

  test("what is said about asking again is true", async () => {
    const one = mesh(2);
    await passing(first(one), 30);
    const retryMs = (await first(one).request()) as number;
    one.clock.advance(retryMs - 1);
    expect(await first(one).request()).toBe(1);
    one.clock.advance(1);
    expect(await first(one).request()).toBeUndefined();
    // The other node hears when the first one asks again, and has its share then.
    const waitMs = (await second(one).request()) as number;
    expect(waitMs).toBeLessThanOrEqual(SETTINGS.renewMs);
    await pass(one, Math.ceil(waitMs / 1_000) + 1);
    await second(one).request();
    expect(second(one).share).toBe(RATE_WHOLE / 2);
  });

  test("a node that lost the coordinator uses its share no longer than it was lent", async () => {
    const one = mesh(1);
    await first(one).request();
    one.hear(false);
    await pass(one, 9);
    expect(first(one).share).toBe(RATE_WHOLE);
    await pass(one, 1);
    expect(first(one).share).toBe(0);
    expect(await first(one).request()).toBe("unanswered");
  });

  test("a share that was lent and not heard of is not counted as used", async () => {
    const one = mesh(1);
    one.hear(false);
    expect(await first(one).request()).toBe("unanswered");
    await pass(one, 5);
    one.hear(true);
    expect(await passing(first(one), 30)).toBe(BURST);
    await pass(one, 2);
    // The same when what it had has ended meanwhile: what came back is there.
    one.hear(false);
    await pass(one, 10);
    expect(await first(one).request()).toBe("unanswered");
    one.hear(true);
    expect(await passing(first(one), 30)).toBe(BURST);
  });

  test("an agent that asks no more gives its share back, with what it used of it", async () => {
    const one = mesh(2);
    await first(one).request();
    await pass(one, 25);
    await passing(first(one), 30);
    await first(one).shares.releaseAll();
    expect(first(one).share).toBe(0);
    expect(await passing(second(one), 30)).toBe(0);
    expect(second(one).share).toBe(RATE_WHOLE);
    await pass(one, 3);
    expect(await passing(second(one), 30)).toBe(3);
  });

  test("a row that is changed under an agent starts with what the old one had", async () => {
    const one = mesh(1);
    await passing(first(one), 30);
    await pass(one, 2);
    first(one).newRow();
    expect(await passing(first(one), 30)).toBe(2);
  });

  const PROOF = proofCount("rates over nodes", { small: 60, full: 3_000 });

  test("all nodes together let through no more than the burst and what came back", async () => {
    const step = fc.record({
      node: fc.integer({ min: 0, max: 2 }),
      does: fc.constantFrom("ask", "ask", "flood", "deaf", "hears", "row", "release"),
      passS: fc.constantFrom(0, 0, 1, 3, 12),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 40 }), async (steps) => {
        const one = mesh(3);
        const beganNs = one.clock.monoNs();
        let through = 0;
        for (const { node: no, does, passS } of steps) {
          const node = one.nodes[no] as Mesh["nodes"][number];
          if (does === "deaf" || does === "hears") one.hear(does === "hears");
          else if (does === "row") node.newRow();
          else if (does === "release") await node.shares.releaseAll();
          else through += await passing(node, does === "flood" ? 15 : 1);
          await pass(one, passS);
          const passedS = Number(one.clock.monoNs() - beganNs) / 1e9;
          expect(through).toBeLessThanOrEqual(BURST + passedS + 1e-6);
        }
      }),
      { numRuns: PROOF.count, seed: PROOF.seed },
    );
  });

  test("nothing is lent by what a share does not have", () => {
    const of = facts({ grant: grant({ rate: [RATE] }), rateShare: 0 });
    expect(bucketCharges(of)).toEqual([]);
    expect(FULL_BUCKETS).toEqual([0, 0, 0]);
  });
});
