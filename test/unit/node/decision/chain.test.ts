import { describe, expect, test } from "vitest";
import { CHAIN, stageName } from "../../../../node/decision/chain.ts";
import { decide, explainAll } from "../../../../node/decision/decide.ts";
import type { Facts } from "../../../../node/decision/facts.ts";
import type { Reason } from "../../../../proto/reasons.ts";
import { REASONS, stageOf } from "../../../../proto/reasons.ts";
import {
  contentRule,
  facts,
  grant,
  model,
  policy,
  provider,
  requestFacts,
} from "../../../support/builders.ts";

type Case = {
  readonly title: string;
  readonly over: Partial<Facts>;
  readonly reason: Reason;
  readonly stage?: number;
};

const hit = (ruleId: string) => ({
  hits: [{ ruleId, end: 10 }],
  scannedBytes: 200,
  complete: true,
});
const mondayOnly = [{ timeZone: "UTC", minutes: [[0, 60] as const] }];

/** One case for each thing a row refuses; each starts from facts that every row passes. */
const CASES: readonly Case[] = [
  { title: "a draining node", over: { draining: true }, reason: "draining" },
  {
    title: "a body that is not JSON",
    over: { request: { missing: "malformed_json" } },
    reason: "malformed_json",
  },
  {
    title: "a parameter without a price",
    over: { request: requestFacts({ unpricedParameter: "background" }) },
    reason: "unpriced_parameter",
  },
  {
    title: "more tools than a record can name",
    over: {
      request: requestFacts({
        tools: Array.from({ length: 127 }, () => ({ name: "search" })),
        toolsOut: ["shell", "drop"],
      }),
    },
    reason: "malformed_request",
  },
  {
    title: "an unknown key",
    over: { identity: { missing: "key_unknown" } },
    reason: "key_unknown",
  },
  {
    title: "a killed agent",
    over: { kill: { killedBy: "agent", fresh: true } },
    reason: "killed_agent",
  },
  {
    title: "a killed team, even while the mesh is stale",
    over: { kill: { killedBy: "team", fresh: false } },
    reason: "killed_team",
  },
  {
    title: "a revoked contract",
    over: { kill: { killedBy: "contract", fresh: true } },
    reason: "killed_contract",
  },
  {
    title: "everybody while the mesh is killed",
    over: { kill: { killedBy: "global", fresh: true } },
    reason: "killed_global",
  },
  {
    title: "everybody while the mesh is stale",
    over: { kill: { killedBy: undefined, fresh: false } },
    reason: "mesh_stale",
  },
  { title: "a blocked agent", over: { standing: "block" }, reason: "blocked" },
  {
    title: "tools in quarantine",
    over: {
      standing: "quarantine",
      request: requestFacts({ tools: [{ name: "search" }] }),
      grant: grant({ quarantine: { models: ["openai/gpt-5-mini"] } }),
    },
    reason: "quarantined",
  },
  {
    title: "a model outside the quarantine profile",
    over: { standing: "quarantine" },
    reason: "quarantined",
  },
  {
    title: "what leads out without naming a model in quarantine",
    over: {
      standing: "quarantine",
      door: "forward",
      request: requestFacts({ model: undefined }),
      model: undefined,
    },
    reason: "quarantined",
  },
  {
    title: "any agent before there is a policy",
    over: { policy: undefined },
    reason: "policy_missing",
  },
  { title: "an agent without a grant", over: { grant: undefined }, reason: "no_grant" },
  {
    title: "a key bound to a contract",
    over: { identity: { agentId: "a/b", keyId: "k1234567", contractId: "c" } },
    reason: "contract_unsupported",
  },
  {
    title: "a request outside its hours",
    over: { grant: grant({ hours: mondayOnly }) },
    reason: "outside_hours",
  },
  {
    title: "a node that the agent is not placed on",
    over: { grant: grant({ nodes: ["edge-1", "node-7x", "node-8*"] }) },
    reason: "agent_not_placed",
  },
  {
    title: "a node outside the granted source regions",
    over: { grant: grant({ regions: { source: ["FR"] } }) },
    reason: "source_region_not_granted",
  },
  {
    title: "a node that does not know where it is",
    over: { grant: grant({ regions: { source: ["DE"] } }), nodeRegion: undefined },
    reason: "source_region_not_granted",
  },
  {
    title: "a provider outside the granted regions",
    over: { grant: grant({ regions: { processing: ["DE"] } }) },
    reason: "region_not_granted",
  },
  {
    title: "a provider of unknown region",
    over: {
      grant: grant({ regions: { processing: ["DE"] } }),
      model: model({ provider: provider({ region: undefined }) }),
    },
    reason: "region_not_granted",
  },
  {
    title: "a host that is not granted",
    over: { grant: grant({ hosts: ["api.anthropic.com"] }) },
    reason: "host_not_granted",
  },
  {
    title: "a model nobody serves",
    over: { model: { missing: "model_unknown" } },
    reason: "model_unknown",
  },
  {
    title: "a model that is not granted",
    over: { grant: grant({ models: ["openai/gpt-5"] }) },
    reason: "model_not_granted",
  },
  {
    title: "a tool that is not granted",
    over: { request: requestFacts({ tools: [{ name: "search" }, { name: "shell" }] }) },
    reason: "tool_not_granted",
  },
  {
    title: "a tool whose call does more than is granted",
    over: {
      request: requestFacts({ tools: [{ name: "search" }] }),
      policy: policy({ tools: { verbs: new Map([["search", "exec"]]), arguments: new Map() } }),
    },
    reason: "tool_not_granted",
  },
  {
    title: "a call with an argument that breaks a rule",
    over: {
      request: requestFacts({ tools: [{ name: "mcp/x/look", arguments: new Map([["n", 7]]) }] }),
      grant: grant({ tools: new Map([["mcp/x/*", ["call"]]]) }),
      policy: policy({
        tools: {
          verbs: new Map(),
          arguments: new Map([["mcp/x/look", new Map([["n", { atMost: 6 }]])]]),
        },
      }),
    },
    reason: "tool_argument_refused",
  },
  {
    title: "a tool that is granted for reading only",
    over: {
      request: requestFacts({ tools: [{ name: "search" }] }),
      grant: grant({ tools: new Map([["search", ["read"]]]) }),
    },
    reason: "tool_not_granted",
  },
  {
    title: "a tool without a name",
    over: { request: requestFacts({ tools: [{ name: undefined }] }) },
    reason: "tool_unreadable",
  },
  {
    title: "data above the agent's clearance",
    over: {
      grant: grant({ clearance: 1 }),
      policy: policy({ content: [contentRule({ id: "pii", action: "label", label: "pii" })] }),
      scan: hit("pii"),
    },
    reason: "class_not_cleared",
  },
  {
    title: "data above the provider's clearance",
    over: { grant: grant({ clearance: 3 }), scan: { hits: [], scannedBytes: 10, complete: false } },
    reason: "class_not_cleared_provider",
  },
  {
    title: "data that was not scanned whole, as if it were of the highest class",
    over: { scan: { hits: [], scannedBytes: 10, complete: false } },
    reason: "class_not_cleared",
  },
  {
    title: "content that breaks a rule",
    over: { policy: policy({ content: [contentRule()] }), scan: hit("no-secrets") },
    reason: "content_refused",
  },
  {
    title: "content that breaks a rule this policy does not know",
    over: { scan: hit("rule-of-another-policy") },
    reason: "content_refused",
  },
  {
    title: "content that could not be scanned in time",
    over: {
      scan: { missing: "scan_timeout" },
      grant: grant({ clearance: 3 }),
      model: model({ provider: provider({ clearance: 3 }) }),
    },
    reason: "scan_timeout",
  },
  {
    title: "more connections than an agent may have",
    over: { openConnections: 257 },
    reason: "too_many_connections",
  },
  {
    title: "a request larger than its token burst",
    over: {
      grant: grant({ rate: [{ metric: "tokens", amount: 10, windowMs: 1_000, burst: 999 }] }),
    },
    reason: "rate_tokens",
  },
  {
    title: "a model without a price",
    over: { cost: { missing: "price_unknown" } },
    reason: "price_unknown",
  },
];

describe("the chain", () => {
  test("has 14 rows, numbered in order, with distinct names", () => {
    expect(CHAIN.map((row) => row.no)).toEqual(Array.from({ length: 14 }, (_, i) => i + 1));
    expect(new Set(CHAIN.map((row) => row.name)).size).toBe(14);
  });

  test("allows what no row objects to, and charges it", () => {
    const verdict = decide(facts());
    expect(verdict.refusal).toBeUndefined();
    expect(verdict.stages).toBe("PPPPPPPPPSPPPP");
    expect(verdict.charges.cost).toEqual({ usdMicros: 5_000n, tokens: 1_000n, calls: 1n });
    expect(verdict.charges.overrunMicros).toBe(500n);
  });

  test.each(CASES)("refuses $title", ({ over, reason }) => {
    const { refusal, stages, charges } = decide(facts(over));
    expect(refusal?.reason).toBe(reason);
    expect(refusal?.stage).toBe(stageOf(reason));
    expect(stages).toHaveLength(14);
    expect(stages.indexOf("D")).toBe(stageOf(reason) - 1);
    expect(stages.slice(stageOf(reason))).toBe("-".repeat(14 - stageOf(reason)));
    expect(charges.cost.usdMicros).toBe(0n);
  });

  test("has a refusing case for each of its rows", () => {
    const stages = new Set(CASES.map(({ reason }) => stageOf(reason)));
    expect([...stages].sort((a, b) => a - b)).toEqual(CHAIN.map((row) => row.no));
  });

  test.each(CASES)("decides as the first refusal of the full explanation: $title", ({ over }) => {
    const outcomes = explainAll(facts(over));
    const first = outcomes.findIndex((one) => typeof one === "object");
    expect(decide(facts(over)).refusal?.stage).toBe(first + 1);
  });

  test.each(CASES)("never changes its facts: $title", ({ over }) => {
    const given = facts(over);
    const before = structuredClone({ ...given });
    decide(given);
    expect({ ...given }).toEqual(before);
  });

  test("a row that throws refuses with stage_failed and names the row", () => {
    const broken = facts();
    const trap = new Proxy(broken, {
      get: (target, name) => {
        if (name === "nowMs") throw new Error("broken fact");
        return Reflect.get(target, name);
      },
    });
    const { refusal } = decide(trap);
    expect(refusal).toMatchObject({ reason: "stage_failed", stage: 6 });
  });

  test("a shadowed row records what it would refuse and lets the request pass", () => {
    const shadowed = facts({
      policy: policy({ shadowStages: new Set([9]) }),
      grant: grant({ models: [] }),
    });
    const verdict = decide(shadowed);
    expect(verdict.refusal).toBeUndefined();
    expect(verdict.stages).toBe("PPPPPPPPDSPPPP");
    expect(verdict.wouldRefuse).toEqual([
      { reason: "model_not_granted", detail: "openai/gpt-5-mini", stage: 9 },
    ]);
  });

  const shadowable = CASES.filter(({ reason }) => stageOf(reason) >= 6 && stageOf(reason) <= 12);

  test.each(shadowable)("in shadow, $title is written down and passes", ({ over, reason }) => {
    const all = new Set([6, 7, 8, 9, 10, 11, 12]);
    const base = over.policy ?? policy();
    const verdict = decide(facts({ ...over, policy: { ...base, shadowStages: all } }));
    expect(verdict.refusal).toBeUndefined();
    expect(verdict.wouldRefuse[0]).toMatchObject({ reason, stage: stageOf(reason) });
    expect(verdict.stages[stageOf(reason) - 1]).toBe("D");
    // The shadow is its own stage's alone.
    const others = new Set([...all].filter((no) => no !== stageOf(reason)));
    const alone = decide(facts({ ...over, policy: { ...base, shadowStages: others } }));
    expect(alone.refusal?.reason).toBe(reason);
  });

  test("in shadow, there is a case for each stage that may be in it", () => {
    const stages = new Set(shadowable.map(({ reason }) => stageOf(reason)));
    expect([...stages].toSorted((a, b) => a - b)).toEqual([6, 7, 8, 9, 10, 11, 12]);
  });

  test("a head is put to the first four rows only", () => {
    const verdict = decide(facts({ pass: "head", grant: undefined }));
    expect(verdict.refusal).toBeUndefined();
    expect(verdict.stages).toBe("PPPP----------");
    expect(verdict.charges.cost.calls).toBe(0n);
  });

  test("throttle takes four times as long to come back", () => {
    const rate = [{ metric: "requests" as const, amount: 10, windowMs: 1_000, burst: 20 }];
    const usual = decide(facts({ grant: grant({ rate }) })).charges.buckets[0];
    const slowed = decide(facts({ grant: grant({ rate }), standing: "throttle" })).charges
      .buckets[0];
    expect(usual?.unitPicos).toBe(100_000_000_000n);
    expect(slowed?.unitPicos).toBe(400_000_000_000n);
    expect(slowed?.toleranceNs).toBe(usual?.toleranceNs);
  });

  test("a charge of the whole burst fits a full bucket, however its rate divides", () => {
    const { worst } = facts().cost as Extract<Facts["cost"], { worst: unknown }>;
    const burst = Number(worst.tokens);
    const requests = { metric: "requests" as const, amount: 7, windowMs: 60_000, burst: 1 };
    const tokens = { metric: "tokens" as const, amount: 7, windowMs: 60_000, burst };
    const rates = grant({ rate: [requests, tokens] });
    for (const of of [
      {},
      { standing: "throttle" as const },
      { rateShares: [21_845, 21_845, 21_845] as const },
    ]) {
      const { buckets } = decide(facts({ grant: rates, ...of })).charges;
      expect(buckets.map(({ amount }) => amount)).toEqual([1n, worst.tokens]);
      for (const { stepNs, toleranceNs } of buckets) {
        expect(stepNs).toBeLessThanOrEqual(toleranceNs);
      }
    }
  });

  test("throttle slows whom policy gives no rate of requests, and nobody else is", () => {
    expect(decide(facts()).charges.buckets).toEqual([]);
    const usd = [{ metric: "usd_micros" as const, amount: 1_000, windowMs: 1, burst: 1_000_000 }];
    const { buckets } = decide(
      facts({ grant: grant({ rate: usd }), standing: "throttle" }),
    ).charges;
    expect(buckets.map(({ metric }) => metric)).toEqual(["usd_micros", "requests"]);
    // One request in four seconds.
    expect(buckets[1]).toMatchObject({ amount: 1n, unitPicos: 4_000_000_000_000n });
  });

  test("every reason belongs to a stage of the chain, and numbers are never shared", () => {
    const numbers = Object.values(REASONS).map(({ no }) => no);
    expect(new Set(numbers).size).toBe(numbers.length);
    for (const { no } of Object.values(REASONS))
      expect(stageName(Math.floor(no / 100))).not.toBe("none");
  });
});

test("a tool's name is said back as far as people read it, however long it is", () => {
  const request = requestFacts({ tools: [{ name: "n".repeat(100_000) }] });
  const { refusal } = decide(facts({ request }));
  expect(refusal).toMatchObject({ reason: "tool_not_granted", detail: "n".repeat(128) });
});
