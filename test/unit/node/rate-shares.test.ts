import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { AgentRate } from "../../../coordinator/policy-rates.ts";
import type { LentRow } from "../../../coordinator/rate-loan.ts";
import { RateShares as Coordinator } from "../../../coordinator/rate-shares.ts";
import { RATE_WHOLE } from "../../../mesh/rate-share.ts";
import { bucketCharges, lackingShares } from "../../../node/decision/stages/13-rate.ts";
import { MoreRate } from "../../../node/more-rate.ts";
import { RateShares } from "../../../node/rate-shares.ts";
import { noteUse, releaseUnsent } from "../../../node/release-unsent.ts";
import { rateSharesOf } from "../../../node/table/rate-share.ts";
import { reserve } from "../../../node/table/reserve.ts";
import { createRowOwner } from "../../../node/table/rows.ts";
import { NO_CELL } from "../../../node/table/scope-cells.ts";
import { ALL_UNITS, setUnlimitedUnits } from "../../../node/table/standing.ts";
import { createTable } from "../../../node/table/table.ts";
import type { AgentRateLimit } from "../../../policy/compiled-policy.ts";
import { twinClock } from "../../../ports/twin-clock.ts";
import { facts, grant } from "../../support/builders.ts";
import { proofCount } from "../../support/proof.ts";

/** Ten at once and one a second for ever. */
const BURST = 10;
const RATE = { metric: "requests", amount: 60, windowMs: 60_000, burst: BURST } as const;
const EMPTY_US = 10_000_000;
const SETTINGS = {
  ...{ ttlMs: 10_000, renewMs: 2_000, driftMilli: 10, guardMs: 1_000 },
  ...{ poolsMax: 9, rowsMax: 99, rowsOfNodeMax: 99 },
};

/** What policy gives an agent, as nodes and as the coordinator read it. */
type Policy = { readonly limit: AgentRateLimit; readonly rate: AgentRate };

function policyOf(
  agent: string,
  { isShared, times }: { readonly isShared: boolean; readonly times: number },
): Policy {
  const whole = { ...RATE, amount: RATE.amount * times, burst: RATE.burst * times };
  const name = isShared ? "team/pay requests" : `agent/pay/${agent} requests`;
  const pool = { name, isTeam: isShared, emptyUs: EMPTY_US, rate: 1, burst: 1 };
  const rate = [{ emptyUs: EMPTY_US, isShared, pools: [pool] }, undefined, undefined];
  return { limit: isShared ? { ...whole, shared: true } : whole, rate };
}

/** A row of a node: an agent's, or one of its contracts'. */
type Who = { readonly agent: string; readonly contractId?: string };
const BOT: Who = { agent: "bot" };

/** One coordinator and nodes with a table each, on one clock; `heard` says which answers arrive. */
function mesh(count: number, { isShared = false, times = 1 } = {}) {
  const clock = twinClock();
  const coordinator = new Coordinator(SETTINGS);
  const policies = new Map<string, Policy>();
  const policy = (agent: string): Policy => {
    const known = policies.get(agent) ?? policyOf(agent, { isShared, times });
    policies.set(agent, known);
    return known;
  };
  const nowMs = () => Number(clock.monoNs() / 1_000_000n);
  let heard = true;
  let questions = 0;
  const recall = ({ node, ...row }: LentRow) => nodes[Number(node.slice(1))]?.shares.recall(row);
  /** What waits for others to make room waits on this clock. */
  const inTime = async <T>(asked: Promise<T> | undefined): Promise<T | undefined> => {
    let isOver = false;
    void asked?.finally(() => {
      isOver = true;
    });
    await settled();
    while (asked !== undefined && !isOver) {
      clock.advance(1);
      await settled();
    }
    return asked;
  };
  const make = (no: number) => {
    const table = createTable({ rows: 64, loops: 1, scopes: 8, writers: 3, proofs: 64 });
    const owner = createRowOwner(table);
    const allot = () => {
      const row = owner.allot({ team: 1, agent: 2, contract: NO_CELL }) as never as Row;
      setUnlimitedUnits(table, row.row, ALL_UNITS);
      return row;
    };
    const rows = new Map<string, Row>();
    const rowOf = ({ agent, contractId }: Who): Row => {
      const key = `${agent} ${contractId}`;
      const row = rows.get(key) ?? allot();
      rows.set(key, row);
      return row;
    };
    const shares = new RateShares({
      table,
      clock,
      rowOf: ({ agentId, contractId }) =>
        rowOf({ agent: agentId.slice("pay/".length), ...(contractId && { contractId }) }),
      ask: async (question) => {
        questions += 1;
        const ask = { node: `n${no}`, bootId: "b1", ...question };
        const { rate } = policy(question.account.slice("agent/pay/".length));
        const answer = coordinator.ask(ask, { nowMs: nowMs(), rate, isAlone: false });
        for (const row of answer.recalls) queueMicrotask(() => recall(row));
        return heard ? answer : undefined;
      },
    });
    const more = new MoreRate(clock, (need) => shares.need(need));
    const held: Parameters<typeof releaseUnsent>[2][] = [];
    const sharesOf = (who: Who) => rateSharesOf(table, rowOf(who).row, clock.monoNs());
    return {
      shares,
      table,
      /** What passed, in order. */
      held,
      /** These have not reached a provider after all. */
      release: (unsent: typeof held) => {
        for (const one of unsent) releaseUnsent({ table, clock }, rowOf(BOT).row, one);
      },
      share: (who = BOT) => sharesOf(who)[0],
      newRow: (who = BOT) => {
        const before = rowOf(who);
        rows.delete(`${who.agent} ${who.contractId}`);
        owner.retire(before.row);
        rowOf(who);
      },
      /** As a request is: asks for a share if it lacks one, then takes one of its bucket. */
      request: async (who = BOT) => {
        const { limit } = policy(who.agent);
        const factsNow = () =>
          facts({ grant: grant({ rate: [limit] }), rateShares: sharesOf(who) });
        const needs = lackingShares(factsNow());
        if (needs !== undefined) {
          const holder = { agentId: `pay/${who.agent}`, contractId: who.contractId };
          const none = await inTime(shares.need({ ...holder, needs }));
          if (none === "unanswered") return none;
          if (none !== undefined || lackingShares(factsNow())) return none?.retryMs ?? 0;
        }
        const take = () => {
          const of = factsNow();
          const charges = {
            cost: { usdMicros: 0n, tokens: 0n, calls: 0n },
            overrunMicros: 0n,
            buckets: bucketCharges(of),
          };
          const { row } = rowOf(who);
          const done = reserve(table, row, charges, clock.monoNs());
          if ("taken" in done) {
            held.push({ facts: of, reserved: { taken: done.taken, charges } });
            noteUse(table, row, charges.buckets, { shares: sharesOf(who), sign: 1 });
          }
          return done;
        };
        let done = take();
        if ("lent" in done && sharesOf(who)[0] < RATE_WHOLE) {
          const of = { ...rowOf(who), agentId: `pay/${who.agent}`, contractId: who.contractId };
          if (await inTime(more.ask({ ...of, needs: [1, 0, 0] }))) done = take();
        }
        return "limited" in done ? done.retryAfterMs : undefined;
      },
    };
  };
  const nodes = Array.from({ length: count }, (_, no) => make(no));
  return {
    clock,
    coordinator,
    nodes,
    questions: () => questions,
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
  if (seconds < 1) {
    one.clock.advance(seconds * 1_000);
    return settled();
  }
  for (let second = 0; second < seconds; second++) {
    one.clock.advance(1_000);
    for (const { shares } of one.nodes) shares.tick();
    await settled();
  }
}

const first = (one: Mesh) => one.nodes[0] as Mesh["nodes"][number];
const second = (one: Mesh) => one.nodes[1] as Mesh["nodes"][number];

async function passing(
  node: Mesh["nodes"][number],
  tries: number,
  who: Who = BOT,
): Promise<number> {
  let passed = 0;
  for (let i = 0; i < tries; i++) if ((await node.request(who)) === undefined) passed++;
  return passed;
}

describe("an agent's rate on several nodes", () => {
  test("one node alone has all of it at its first request", async () => {
    const one = mesh(1);
    expect(await passing(first(one), 30)).toBe(BURST);
    expect(first(one).share()).toBe(RATE_WHOLE);
    await pass(one, 5);
    expect(await passing(first(one), 30)).toBe(5);
  });

  test("what was charged to a small share and never sent comes back as no more under a larger one", async () => {
    const one = mesh(2);
    await first(one).request();
    await second(one).request();
    await pass(one, 4);
    await second(one).request();
    expect(first(one).share()).toBe(RATE_WHOLE / 2);
    await pass(one, 8);
    first(one).held.length = 0;
    const share = first(one).share();
    expect(share).toBeLessThan(0.6 * RATE_WHOLE);
    const few = await passing(first(one), 30);
    expect(few).toBe(Math.floor((BURST * share) / RATE_WHOLE));
    const unsent = first(one).held.splice(0);
    await second(one).shares.releaseAll();
    await pass(one, 3);
    expect(first(one).share()).toBe(RATE_WHOLE);
    // At half the rate each of them took two seconds, and is worth one now.
    await passing(first(one), 30);
    first(one).release(unsent);
    expect(await passing(first(one), 30)).toBe(few);
  });

  test("a burst on one node is not there again on the next", async () => {
    const one = mesh(2);
    expect(await passing(first(one), 30)).toBe(BURST);
    expect(await passing(second(one), 30)).toBe(0);
    await pass(one, 4);
    await second(one).request();
    expect(second(one).share()).toBe(RATE_WHOLE / 2);
    expect(first(one).share()).toBe(RATE_WHOLE / 2);
    await pass(one, 20);
    // Both are full by now: whoever asks first has of ten at once what the other does not use.
    const fromNs = one.clock.monoNs();
    const passed = (await passing(first(one), 30)) + (await passing(second(one), 30));
    const passedS = Number(one.clock.monoNs() - fromNs) / 1e9;
    expect(passed).toBeGreaterThanOrEqual(BURST - 1);
    // One request more: a row of which the part of the burst is less than one.
    expect(passed).toBeLessThanOrEqual(BURST + passedS + 1);
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
    expect(second(one).share()).toBe(RATE_WHOLE / 2);
  });

  test("a node that lost the coordinator uses its share no longer than it was lent", async () => {
    const one = mesh(1);
    await first(one).request();
    one.hear(false);
    await pass(one, 9);
    expect(first(one).share()).toBe(RATE_WHOLE);
    await pass(one, 1);
    expect(first(one).share()).toBe(0);
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
    expect(first(one).share()).toBe(0);
    expect(await passing(second(one), 30)).toBe(0);
    expect(second(one).share()).toBe(RATE_WHOLE);
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
      passS: fc.constantFrom(0, 0, 0.06, 0.3, 0.6, 1, 3, 12),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 80 }), async (steps) => {
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
          expect(through).toBeLessThanOrEqual(BURST + passedS + one.nodes.length);
        }
      }),
      { numRuns: PROOF.count, seed: PROOF.seed },
    );
  });

  /** A thousand a second. */
  const busyMesh = () => mesh(2, { times: 1_000 });
  const sinceMs = (one: Mesh, fromNs: bigint) => Number(one.clock.monoNs() - fromNs) / 1e6;

  test("another node's first request waits for room and is not refused", async () => {
    const one = busyMesh();
    await first(one).request();
    const fromNs = one.clock.monoNs();
    expect(await second(one).request()).toBeUndefined();
    expect(sinceMs(one, fromNs)).toBeLessThanOrEqual(50);
  });

  test("refused demand of one node leaves the other what it asks for", async () => {
    const one = busyMesh();
    await second(one).request();
    await first(one).request();
    // One floods, the other is idle: it keeps as good as nothing.
    for (let no = 0; no < 8; no++) {
      await passing(first(one), 12_000);
      await pass(one, 1);
    }
    const refusedMs: number[] = [];
    const fromNs = one.clock.monoNs();
    for (let no = 0; no < 40; no++) {
      await passing(first(one), 100);
      if ((await second(one).request()) !== undefined) refusedMs.push(sinceMs(one, fromNs));
      one.clock.advance(50);
      if (no % 20 === 19) for (const { shares } of one.nodes) shares.tick();
      await settled();
    }
    expect(refusedMs.filter((atMs) => atMs > 500)).toEqual([]);
    expect(refusedMs.length).toBeLessThanOrEqual(2);
  });

  test("what a rate that is fought for costs in questions is bounded", async () => {
    const one = busyMesh();
    for (const node of one.nodes) await node.request();
    const before = one.questions();
    const fromNs = one.clock.monoNs();
    for (let no = 0; no < 400; no++) {
      for (const node of one.nodes) await passing(node, no === 0 ? 12_000 : 50);
      one.clock.advance(25);
      if (no % 40 === 39) for (const { shares } of one.nodes) shares.tick();
      await settled();
    }
    const perSecond = (one.questions() - before) / (sinceMs(one, fromNs) / 1_000);
    expect(perSecond).toBeLessThan(20);
    for (const node of one.nodes) expect(node.share()).toBeGreaterThan(0.4 * RATE_WHOLE);
  });

  test("nothing is charged to a share that is not there", () => {
    const of = facts({ grant: grant({ rate: [RATE] }), rateShares: [0, 0, 0] });
    expect(bucketCharges(of)).toEqual([]);
    expect(lackingShares(of)).toEqual([1, 0, 0]);
  });
});

describe("a team's rate", () => {
  const calm = (no: number): Who => ({ agent: `calm${no}` });

  test("is all there for the one agent that asks, but for what the next one begins with", async () => {
    const one = mesh(1, { isShared: true });
    expect(await passing(first(one), 30)).toBe(BURST - 1);
    await pass(one, 20);
    expect(await passing(first(one), 30)).toBe(BURST - 1);
    await pass(one, 5);
    expect(await passing(first(one), 30)).toBe(5);
  });

  test("what is said about asking again is true, also for whoever waits for others to make room", async () => {
    const one = mesh(1, { isShared: true });
    await passing(first(one), 30);
    const waitMs = (await first(one).request(calm(1))) as number;
    // Room is made at once; what is in it was used.
    expect(waitMs).toBeLessThan(SETTINGS.renewMs);
    one.clock.advance(waitMs);
    expect(await first(one).request(calm(1))).toBeUndefined();
  });

  test("moves to whoever is busy while others hardly ask", async () => {
    // A hundred at once and ten a second for ever.
    const one = mesh(2, { isShared: true, times: 10 });
    let [passed, refused] = [0, 0];
    for (let round = 0; round < 20; round++) {
      const calms = [first(one).request(calm(1)), second(one).request(calm(2))];
      const waits = await Promise.all(calms);
      if (round > 2) refused += waits.filter((wait) => wait !== undefined).length;
      for (let at = 0; at < 4; at++) {
        const count = await passing(first(one), 15);
        if (round >= 10) passed += count;
        await pass(one, 1);
      }
    }
    expect(refused).toBe(0);
    // Of 400 in 40 seconds the others made 20, and as much again is there for more of theirs.
    expect(passed).toBeGreaterThan(290);
    expect(first(one).share()).toBeGreaterThan(0.6 * RATE_WHOLE);
  });

  const PROOF = proofCount("a team's rate over nodes", { small: 60, full: 3_000 });

  test("all its agents and their contracts on all nodes let through no more than it allows", async () => {
    const step = fc.record({
      node: fc.integer({ min: 0, max: 1 }),
      who: fc.constantFrom<Who>(BOT, calm(1), { agent: "bot", contractId: "c1" }, calm(2)),
      does: fc.constantFrom("ask", "flood", "flood", "deaf", "hears", "row", "release"),
      passS: fc.constantFrom(0, 0, 0.06, 0.3, 0.6, 1, 2, 3, 12, 40),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 40 }), async (steps) => {
        const one = mesh(2, { isShared: true });
        const beganNs = one.clock.monoNs();
        let through = 0;
        for (const { node: no, who, does, passS } of steps) {
          const node = one.nodes[no] as Mesh["nodes"][number];
          if (does === "deaf" || does === "hears") one.hear(does === "hears");
          else if (does === "row") node.newRow(who);
          else if (does === "release") await node.shares.releaseAll();
          else through += await passing(node, does === "flood" ? 15 : 1, who);
          await pass(one, passS);
          const passedS = Number(one.clock.monoNs() - beganNs) / 1e9;
          expect(through).toBeLessThanOrEqual(BURST + passedS + 1e-6);
        }
      }),
      { numRuns: PROOF.count, seed: PROOF.seed },
    );
  });
});
