import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { AgentRate } from "../../../coordinator/policy-rates.ts";
import type { RateAsk } from "../../../coordinator/rate-loan.ts";
import { RateShares } from "../../../coordinator/rate-shares.ts";
import { FULL_BUCKETS, RATE_WHOLE, type RateLags, WHOLE_PARTS } from "../../../mesh/rate-share.ts";

const SETTINGS = {
  ...{ ttlMs: 10_000, renewMs: 2_000, driftMilli: 10, guardMs: 1_000 },
  poolsMax: 4,
  rowsMax: 100,
  rowsOfNodeMax: 50,
};
const LASTS_MS = 11_100;
const EMPTY: RateLags = [10_000_000, 0, 0];
const BOT = "agent/pay/bot";

/** The agent's own rate, of which nothing but nodes and contracts want a part. */
function ownRate(account: string): AgentRate {
  const [emptyUs] = EMPTY;
  const pool = { name: `${account} requests`, isTeam: false, emptyUs, rate: 1, burst: 1 };
  return [{ emptyUs, isShared: false, pools: [pool] }, undefined, undefined];
}

const RATES = new Map<string, AgentRate>();

function rateOf(account: string): AgentRate {
  const rate = RATES.get(account) ?? ownRate(account);
  RATES.set(account, rate);
  return rate;
}

type Asked = Partial<Omit<RateAsk, "held">> & { readonly rate?: AgentRate };

function world(isAlone = false) {
  const shares = new RateShares(SETTINGS);
  let nowMs = 1_000;
  const ask = (node: string, held = 0, more: Asked = {}) => {
    const { rate, ...rest } = more;
    const of = {
      ...{ node, bootId: "b1", account: BOT, contract: "", release: false },
      ...{ held: [held, 0, 0] as const, needs: [1, 0, 0] as const, wants: WHOLE_PARTS },
      lags: FULL_BUCKETS,
      ...rest,
    };
    const loan = shares.ask(of, { nowMs, rate: rate ?? rateOf(of.account), isAlone });
    const { addedLags, retryMs, recalls } = loan;
    return { share: loan.shares[0], addedLags, retryMs, recalls };
  };
  const lent = () => [...shares.lent(BOT).values()].reduce((sum, one) => sum + one, 0);
  return {
    shares,
    ask,
    lent,
    pass: (ms: number) => {
      nowMs += ms;
    },
    begin: () => shares.begin(nowMs),
  };
}

describe("shares of a rate", () => {
  test("a node alone has the whole, with full buckets", () => {
    const one = world();
    expect(one.ask("n1")).toEqual({
      share: RATE_WHOLE,
      addedLags: FULL_BUCKETS,
      retryMs: 0,
      recalls: [],
    });
  });

  test("a rate is forgotten under a row that waits for some of it, which asks again or ends as ever", () => {
    const forgotten = () => {
      const one = world();
      one.ask("n1");
      expect(one.ask("n2").share).toBe(0);
      one.ask("n1", RATE_WHOLE, { release: true });
      one.pass(SETTINGS.ttlMs);
      for (let no = 0; no < SETTINGS.poolsMax; no++)
        one.ask("n3", 0, { account: `agent/pay/${no}` });
      return one;
    };
    const asking = forgotten();
    expect(asking.ask("n2").share).toBe(0);
    expect(asking.ask("n3", 0, { account: "agent/pay/0" }).share).toBe(RATE_WHOLE);
    const ending = forgotten();
    ending.pass(LASTS_MS + SETTINGS.ttlMs);
    expect(ending.ask("n2").share).toBe(RATE_WHOLE);
  });

  test("R1: a second node gets nothing until the first has said that it refills by half", () => {
    const one = world();
    one.ask("n1");
    one.pass(1);
    const none = one.ask("n2");
    expect(none.share).toBe(0);
    // R5: it is asked, and not again before it was heard of.
    expect(none.recalls).toEqual([{ node: "n1", account: BOT, contract: "" }]);
    expect(none.retryMs).toBe(40);
    one.pass(40);
    expect(one.ask("n2")).toMatchObject({ retryMs: 40, recalls: [] });
    one.pass(300);
    expect(one.ask("n2")).toMatchObject({ retryMs: 1_659, recalls: [] });
    one.pass(2_000);
    expect(one.ask("n1", RATE_WHOLE).share).toBe(RATE_WHOLE / 2);
    // Told, and not yet known to be in force.
    expect(one.ask("n2").share).toBe(0);
    expect(one.ask("n1", RATE_WHOLE / 2).share).toBe(RATE_WHOLE / 2);
    expect(one.ask("n2").share).toBe(RATE_WHOLE / 2);
    expect(one.lent()).toBe(RATE_WHOLE);
  });

  test("R1: a node that is silent keeps its share until it cannot be using it by any clock", () => {
    const one = world();
    one.ask("n1");
    one.pass(2_000);
    one.ask("n2");
    one.pass(LASTS_MS - 2_001);
    expect(one.ask("n2").share).toBe(0);
    one.pass(1);
    // R2: what the silent one used nobody knows.
    expect(one.ask("n2")).toMatchObject({ share: RATE_WHOLE, addedLags: EMPTY });
  });

  test("R1: a node that waits and leaves takes nothing from the other for longer than a share lasts", () => {
    const one = world();
    one.ask("n1");
    one.ask("n2");
    expect(one.ask("n1", RATE_WHOLE).share).toBe(RATE_WHOLE / 2);
    one.pass(5_000);
    expect(one.ask("n1", RATE_WHOLE / 2).share).toBe(RATE_WHOLE / 2);
    one.pass(5_000);
    expect(one.ask("n1", RATE_WHOLE / 2).share).toBe(RATE_WHOLE);
  });

  test("R2: what one node has used is missing from what the next one gets, less what came back", () => {
    const one = world();
    one.ask("n1");
    one.pass(2_000);
    const used: RateLags = [8_000_000, 0, 0];
    one.ask("n1", RATE_WHOLE, { release: true, lags: used });
    expect(one.ask("n2").addedLags).toEqual(used);
    one.ask("n2", RATE_WHOLE, { release: true, lags: used });
    one.pass(3_000);
    expect(one.ask("n1").addedLags).toEqual([5_000_000, 0, 0]);
  });

  test("R2: what a node passed beyond its part is owed by whoever has the part next", () => {
    const one = world();
    one.ask("n1");
    one.ask("n2");
    one.ask("n1", RATE_WHOLE);
    one.ask("n1", RATE_WHOLE / 2);
    one.ask("n1", RATE_WHOLE / 2, { release: true, lags: [20_000_000, 0, 0] });
    // One half was full; the other owes as much.
    expect(one.ask("n2")).toMatchObject({ share: RATE_WHOLE, addedLags: EMPTY });
  });

  test("R2: a start of the node that ended may have used all", () => {
    const one = world();
    one.ask("n1");
    one.pass(100);
    expect(one.ask("n1", 0, { bootId: "b2" })).toMatchObject({
      share: RATE_WHOLE,
      addedLags: EMPTY,
    });
  });

  test("an answer that got lost is offered again", () => {
    const one = world();
    one.ask("n1");
    one.pass(5_000);
    // Nobody can have used it: that it was not heard of for long is no use of it either.
    expect(one.ask("n1", 0)).toMatchObject({ share: RATE_WHOLE, addedLags: FULL_BUCKETS });
    expect(one.lent()).toBe(RATE_WHOLE);
  });

  test("R2: a node that forgot what it used is held to what it said", () => {
    const one = world();
    one.ask("n1");
    one.pass(1_000);
    one.ask("n1", RATE_WHOLE, { lags: [9_000_000, 0, 0] });
    one.pass(2_000);
    expect(one.ask("n1", 0).addedLags).toEqual([7_000_000, 0, 0]);
  });

  test("R3: after another lent, nodes keep what they have and nobody gets more until that has ended", () => {
    const one = world();
    one.begin();
    expect(one.ask("n1", RATE_WHOLE / 2).share).toBe(RATE_WHOLE / 2);
    const none = one.ask("n2");
    expect(none).toMatchObject({ share: 0, retryMs: LASTS_MS });
    one.pass(LASTS_MS - 1);
    expect(one.ask("n2").share).toBe(0);
    one.ask("n1", RATE_WHOLE / 2);
    one.pass(1);
    expect(one.ask("n2").share).toBe(RATE_WHOLE / 2);
  });

  test("R3: a mesh of one node does not wait for others", () => {
    const one = world(true);
    one.begin();
    expect(one.ask("n1").share).toBe(RATE_WHOLE);
  });

  test("more accounts than are known at once get nothing, until one is full and idle", () => {
    const one = world();
    for (let no = 0; no < SETTINGS.poolsMax; no++)
      one.ask("n1", 0, { account: `agent/pay/a${no}` });
    expect(one.ask("n1").share).toBe(0);
    one.pass(LASTS_MS + 10_001);
    expect(one.ask("n1").share).toBe(RATE_WHOLE);
  });
});

test("one node's rows are bounded, whatever contracts it names", () => {
  const one = world();
  for (let no = 0; no < SETTINGS.rowsOfNodeMax; no++) one.ask("n1", 0, { contract: `c${no}` });
  const more = { contract: "one more", account: "agent/pay/other" };
  expect(one.ask("n1", 0, more)).toMatchObject({ share: 0, retryMs: 10_000 });
  expect(one.ask("n2", 0, more).share).toBe(RATE_WHOLE);
});

/** Sixty a minute and sixty at once for the team; what an agent names itself, in parts of that. */
const TEAM_EMPTY_US = 60_000_000;

function teamRate(agent: string, own: { rate: number; burst: number } | undefined): AgentRate {
  const team = { name: "team/pay requests", isTeam: true, emptyUs: TEAM_EMPTY_US };
  if (own === undefined) {
    const pools = [{ ...team, rate: 1, burst: 1 }];
    return [{ emptyUs: TEAM_EMPTY_US, isShared: true, pools }, undefined, undefined];
  }
  const emptyUs = (TEAM_EMPTY_US * own.burst) / own.rate;
  const mine = { name: `${agent} requests`, isTeam: false, emptyUs, rate: 1, burst: 1 };
  const pools = [mine, { ...team, ...own }];
  return [{ emptyUs, isShared: true, pools }, undefined, undefined];
}

describe("the rate of a team", () => {
  const BUSY = teamRate("busy", undefined);
  const busy = { account: "agent/pay/busy", rate: BUSY };
  const calm = (no: number) => ({ account: `agent/pay/calm${no}`, rate: BUSY });
  const ONE = Math.ceil(RATE_WHOLE / 60);

  test("an agent in an idle team has nearly all of it, and the next one something at once", () => {
    const one = world();
    expect(one.ask("n1", 0, busy).share).toBeGreaterThan(0.9 * RATE_WHOLE);
    const next = one.ask("n2", 0, { ...calm(1), needs: [ONE, 0, 0], wants: [ONE, 0, 0] });
    expect(next.share).toBeGreaterThanOrEqual(ONE);
    expect(next.retryMs).toBe(0);
  });

  test("whoever uses little leaves the rest to whoever is busy", () => {
    const one = world();
    const little = { needs: [ONE, 0, 0], wants: [2 * ONE, 0, 0] } as const;
    const held = new Map<string, number>();
    for (let round = 0; round < 12; round++) {
      for (let no = 1; no <= 9; no++) {
        const key = `calm${no}`;
        held.set(key, one.ask("n1", held.get(key) ?? 0, { ...calm(no), ...little }).share);
      }
      held.set("busy", one.ask("n1", held.get("busy") ?? 0, busy).share);
      one.pass(2_000);
    }
    expect(held.get("busy")).toBeGreaterThan(0.55 * RATE_WHOLE);
    for (let no = 1; no <= 9; no++) expect(held.get(`calm${no}`)).toBeGreaterThanOrEqual(ONE);
  });

  test("agents that all want all of it come to equal parts", () => {
    const one = world();
    const held = [0, 0, 0, 0];
    for (let round = 0; round < 12; round++) {
      for (const no of held.keys()) {
        held[no] = one.ask("n1", held[no] ?? 0, { ...calm(no), needs: [ONE, 0, 0] }).share;
      }
      one.pass(2_000);
    }
    for (const share of held) expect(Math.abs(share - (RATE_WHOLE * 15) / 64)).toBeLessThan(2);
  });

  test("R4: an agent gets what one request needs, or nothing and when to ask again", () => {
    const one = world();
    one.ask("n1", 0, busy);
    const large = { ...calm(1), needs: [RATE_WHOLE / 2, 0, 0] } as const;
    expect(one.ask("n1", 0, large)).toMatchObject({ share: 0, retryMs: 40 });
    one.pass(2_000);
    // What it waits for is taken off what the other may have, which then says so.
    const less = one.ask("n1", 61_440, busy).share;
    expect(less).toBeLessThanOrEqual(RATE_WHOLE / 2);
    one.ask("n1", less, busy);
    expect(one.ask("n1", 0, large).share).toBeGreaterThanOrEqual(RATE_WHOLE / 2);
  });

  test("more agents than the burst has requests take turns", () => {
    const one = world();
    const half = { needs: [RATE_WHOLE / 2, 0, 0], wants: [RATE_WHOLE / 2, 0, 0] } as const;
    expect(one.ask("n1", 0, { ...calm(1), ...half }).share).toBeGreaterThanOrEqual(RATE_WHOLE / 2);
    one.ask("n1", 0, { ...calm(2), ...half });
    expect(one.ask("n1", 0, { ...calm(3), ...half }).share).toBe(0);
    one.pass(2_000);
    expect(one.ask("n1", RATE_WHOLE / 2, { ...calm(1), ...half }).share).toBe(0);
    one.ask("n1", 0, { ...calm(1), ...half, release: true });
    expect(one.ask("n1", 0, { ...calm(3), ...half }).share).toBe(RATE_WHOLE / 2);
  });

  test("an agent's own rate bounds it whatever its team could lend", () => {
    const one = world();
    const rate = teamRate("small", { rate: 0.1, burst: 0.05 });
    const small = { account: "agent/pay/small", rate };
    expect(one.ask("n1", 0, small).share).toBe(RATE_WHOLE);
    // A tenth of the team's, so the others have nine tenths of it less what is kept free.
    expect(one.ask("n1", 0, busy).share).toBeGreaterThan(0.8 * RATE_WHOLE);
  });

  test("R2: what one agent used is missing from what its team lends the next", () => {
    const one = world();
    const { share } = one.ask("n1", 0, busy);
    one.ask("n1", share, { ...busy, release: true, lags: [TEAM_EMPTY_US, 0, 0] });
    const [lag] = one.ask("n1", 0, calm(1)).addedLags;
    // Of sixteen parts fifteen are used.
    expect(lag / TEAM_EMPTY_US).toBeCloseTo(share / RATE_WHOLE, 3);
  });
});

/** A row as R1 counts on it: by what share its node may refill until when, on a clock that may be slow. */
type Row = { bootId: number; share: number; untilMs: number };

test("R1: whatever is lost, late or repeated, rows never refill by more than the whole", () => {
  const agents = [
    { account: "agent/pay/a", rate: teamRate("a", undefined), part: 1 },
    { account: "agent/pay/b", rate: teamRate("b", { rate: 0.3, burst: 0.7 }), part: 0.3 },
    { account: "agent/pay/c", rate: teamRate("c", { rate: 0.9, burst: 0.01 }), part: 0.9 },
  ] as const;
  const step = fc.record({
    node: fc.integer({ min: 0, max: 2 }),
    agent: fc.integer({ min: 0, max: 2 }),
    contract: fc.constantFrom("", "", "c1"),
    want: fc.constantFrom(1, 1_000, 20_000, RATE_WHOLE),
    need: fc.constantFrom(1, 500, 20_000),
    does: fc.constantFrom(
      "ask",
      "ask",
      "ask",
      "ask_unheard",
      "lost",
      "release",
      "restart",
      "leads",
    ),
    passMs: fc.constantFrom(1, 200, 2_000, 5_000, 12_000),
  });
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 60 }), (steps) => {
      const one = world();
      let nowMs = 0;
      const boots = [1, 1, 1];
      const rows = new Map<string, Row & { readonly agent: number }>();
      for (const { node, agent, contract, want, need, does, passMs } of steps) {
        nowMs += passMs;
        one.pass(passMs);
        const bootId = boots[node] as number;
        const key = `${node} ${agent} ${contract}`;
        const known = rows.get(key);
        const row = known?.bootId === bootId ? known : { agent, bootId, share: 0, untilMs: 0 };
        rows.set(key, row);
        const held = nowMs < row.untilMs ? row.share : 0;
        if (does === "leads") one.begin();
        else if (does === "restart") boots[node] = bootId + 1;
        else if (does !== "ask_unheard") {
          const release = does === "release";
          if (release) Object.assign(row, { share: 0, untilMs: 0 });
          const { account, rate } = agents[agent] as (typeof agents)[number];
          const { share } = one.ask(`n${node}`, held, {
            ...{ account, contract, rate, release, bootId: `b${bootId}` },
            ...{ needs: [need, 0, 0], wants: [want, 0, 0] },
          });
          if (does === "ask") Object.assign(row, { share, untilMs: nowMs + SETTINGS.ttlMs });
        }
        const live = [...rows].filter(
          ([of, each]) => nowMs < each.untilMs && each.bootId === boots[Number(of.split(" ")[0])],
        );
        const team = live.reduce(
          (sum, [, each]) => sum + each.share * (agents[each.agent]?.part ?? 0),
          0,
        );
        expect(team).toBeLessThanOrEqual(RATE_WHOLE);
        for (const no of agents.keys()) {
          const own = live.filter(([, each]) => each.agent === no);
          const sum = own.reduce((total, [, each]) => total + each.share, 0);
          expect(sum).toBeLessThanOrEqual(RATE_WHOLE);
        }
      }
    }),
    { numRuns: 300 },
  );
});
