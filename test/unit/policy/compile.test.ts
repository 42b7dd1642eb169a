import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { compilePolicy, compilePolicyInSlices } from "../../../policy/compile.ts";
import type { AgentPolicy, CompiledPolicy } from "../../../policy/compiled-policy.ts";
import type { ContentScanner } from "../../../policy/content-scanner.ts";
import { readPolicy } from "../../../policy/read-policy.ts";
import { changed, PLAIN_SCANNER, SOUND_POLICY } from "./policy-texts.ts";

function bundleOf(text: string): Uint8Array<ArrayBuffer> {
  const result = readPolicy(text, { file: "p.yaml", scanner: PLAIN_SCANNER });
  if (!result.ok) throw new Error(JSON.stringify(result.findings));
  return result.bundle;
}

function compiled(text: string): CompiledPolicy {
  const result = compilePolicy(bundleOf(text), { version: 7, scanner: PLAIN_SCANNER });
  if (!result.ok) throw new Error(JSON.stringify(result.findings));
  return result.policy;
}

function agentOf(text: string, id = "research/worker-1"): AgentPolicy {
  return compiled(text).agents.get(id) as AgentPolicy;
}

const everyField = readFileSync(new URL("./every-field.yaml", import.meta.url), "utf8");

test("a policy compiles to what the request path reads", () => {
  const bundle = bundleOf(SOUND_POLICY);
  const policy = compiled(SOUND_POLICY);
  const provider = {
    name: "openai",
    dialect: "openai",
    origin: "https://api.openai.com",
    host: "api.openai.com",
    basePath: "",
    credential: "openai",
    credentialOf: "all",
    region: "US",
    clearance: 2,
  };
  expect(policy.version).toBe(7);
  expect(policy.sha256).toBe(createHash("sha256").update(bundle).digest("hex"));
  expect(policy.providers).toEqual(new Map([["openai", provider]]));
  expect([...policy.models.keys()].sort()).toEqual([
    "openai:gpt-5",
    "openai:gpt-5-mini",
    "openai:openai/gpt-5",
    "openai:openai/gpt-5-mini",
  ]);
  expect(policy.models.get("openai:gpt-5-mini")).toEqual({
    id: "openai/gpt-5-mini",
    provider,
    upstreamName: "gpt-5-mini",
    maxOutputTokens: 128_000,
    price: {
      inputMicrosPerMtok: 250_000,
      cachedInputMicrosPerMtok: 25_000,
      cacheWriteMicrosPerMtok: 250_000,
      outputMicrosPerMtok: 2_000_000,
      fixedMicros: 0,
      tokensPerMessage: 8,
      tokensPerTool: 32,
      tokensFixed: 64,
      distrustMilli: 1100,
    },
  });
  expect(policy.agents).toEqual(
    new Map([
      [
        "research/worker-1",
        {
          agentId: "research/worker-1",
          team: "research",
          agent: "worker-1",
          models: ["openai/gpt-5-mini"],
          tools: new Map(),
          hosts: ["api.openai.com"],
          hours: [
            {
              timeZone: "Europe/Berlin",
              minutes: [0, 1, 2, 3, 4].map((day) => [day * 1440 + 480, day * 1440 + 1080]),
            },
          ],
          regions: {},
          clearance: 1,
          rate: [],
          quarantine: { models: [] },
          maxOutputTokensDefault: undefined,
          clampFloorTokens: undefined,
        },
      ],
    ]),
  );
  expect(policy.content).toEqual([
    {
      id: "cards",
      pattern: undefined,
      detector: "pci",
      direction: "both",
      action: "refuse",
      severity: "high",
      label: "pii",
    },
  ]);
  expect(policy.classification).toEqual({
    levels: ["public", "internal", "confidential"],
    labels: new Map([["pii", 2]]),
    defaultLevel: 1,
  });
  expect(policy.overrunLimitUsdMicros).toBe(100_000_000);
  expect(policy.shadowStages).toEqual(new Set());
});

test("the defaults of the ladder give what they promise", () => {
  const { ladder } = compiled(SOUND_POLICY);
  const refusal = ladder.points.get("refusal") as number;
  const [warning, throttle, quarantine, block] = ladder.enter;
  // Within a window points count in full, and never for more.
  expect(ladder.windowMs).toBe(60_000);
  expect(3 * refusal).toBeGreaterThanOrEqual(warning);
  expect(2 * refusal).toBeLessThan(warning);
  expect(10 * refusal).toBeGreaterThanOrEqual(throttle);
  expect(9 * refusal).toBeLessThan(throttle);
  expect(ladder.points.get("content_low")).toBeGreaterThanOrEqual(warning);
  expect(ladder.points.get("content_medium")).toBeGreaterThanOrEqual(quarantine);
  expect(ladder.points.get("tool_outside_grant")).toBeGreaterThanOrEqual(quarantine);
  expect(ladder.points.get("content_high")).toBeGreaterThanOrEqual(block);
  expect(ladder.budgetMilli).toEqual([800, 950]);
  expect(ladder.autoKill).toEqual(new Set());
});

test("every field arrives in its unit", () => {
  const policy = compiled(everyField);
  expect(policy.providers.get("openai")).toMatchObject({
    origin: "https://llm.example.com:8443",
    host: "llm.example.com",
    basePath: "/openai",
    region: "DE-BE",
    clearance: 1,
  });
  // By id and aliases; the bare name "small" was given up.
  expect([...policy.models.keys()].filter((name) => !name.includes("gpt"))).toEqual([
    "openai:openai/small",
    "openai:fast",
    "openai:vendor/fast",
  ]);
  expect(policy.models.get("openai:fast")).toMatchObject({
    upstreamName: "ft:gpt-4o-mini:acme",
    maxOutputTokens: 4096,
    price: {
      inputMicrosPerMtok: 300_000,
      cachedInputMicrosPerMtok: 150_000,
      cacheWriteMicrosPerMtok: 375_000,
      outputMicrosPerMtok: 1_200_000,
      fixedMicros: 1,
      tokensPerMessage: 1,
      tokensPerTool: 2,
      tokensFixed: 3,
      distrustMilli: 2500,
      longContext: {
        aboveInputTokens: 200_000,
        inputMicrosPerMtok: 600_000,
        cachedInputMicrosPerMtok: 300_000,
        cacheWriteMicrosPerMtok: 750_000,
        outputMicrosPerMtok: 1_800_000,
      },
    },
  });
  expect(policy.ladder).toEqual({
    points: new Map([
      ["refusal", 1],
      ["content_low", 2],
      ["content_medium", 3],
      ["content_high", 4],
      ["tool_outside_grant", 5],
      ["quarantine_breach", 6],
      ["budget_warning", 7],
      ["budget_throttle", 8],
      ["budget_block", 11],
      ["kernel_evidence", 12],
      ["operator", 9],
    ]),
    enter: [10, 20, 30, 40],
    leave: [5, 15, 25, 35],
    windowMs: 45_000,
    halfLifeMs: 90_000,
    halfLifeMsOf: new Map([["content_high", 600_000]]),
    blockCoolDownMs: 1500,
    blockUntil: "operator",
    evidenceFloor: 7,
    budgetMilli: [500, 600],
    autoKill: new Set(["content_high", "quarantine_breach"]),
  });
  expect(policy.limits).toEqual({
    bodyBytesMax: 1_000_000,
    bodyTimeoutMs: 1001,
    answerBytesMax: 70_000,
    jsonDepthMax: 20,
    bodiesWaitingMax: 3,
    connectionsPerAgentMax: 5,
    firstByteTimeoutMs: 2000,
    idleTimeoutMs: 3000,
    totalTimeoutMs: 4000,
    scanDeadlineMs: 50,
    reserveWaitMaxMs: 60,
  });
  const rules = policy.tools.arguments.get("mcp/x/look");
  expect(Object.fromEntries(rules ?? [])).toEqual({
    path: { within: ["/srv/data", "https://api.example.com/v1"], charsMax: 200, required: true },
    mode: { oneOf: ["fast", "whole"] },
    limit: { atLeast: -5, atMost: 100 },
    note: {},
  });
  expect(policy.overrunLimitUsdMicros).toBe(12_345_678);
  expect(policy.shadowStages).toEqual(new Set([6, 7, 8, 9, 10, 11, 12]));
});

test("an agent has its team's defaults where it does not say otherwise", () => {
  const one = agentOf(everyField, "a/one");
  expect(one.models).toEqual(["openai/*"]);
  expect(one.tools).toEqual(
    new Map([
      ["mcp/x/*", ["read", "write", "exec", "admin"]],
      ["search", ["call"]],
    ]),
  );
  expect(one.hosts).toEqual(["api.example.com", "*.example.org", "llm.example.com"]);
  expect(one.hours.map(({ timeZone }) => timeZone)).toEqual(["UTC", "Europe/Berlin"]);
  expect(one.regions.processing).toEqual(["US-CA"]);
  expect(one.regions.source).toHaveLength(30);
  expect(one.clearance).toBe(1);
  expect(one.quarantine).toEqual({ models: ["openai/small"] });
  expect(one.maxOutputTokensDefault).toBe(100);
  expect(one.clampFloorTokens).toBe(10);
  expect(one.auditStrict).toBe(true);

  const two = agentOf(everyField, "a/two");
  expect(two.hours).toEqual([]);
  expect(two.models).toEqual([]);
  // Without a model it has no provider's host either.
  expect(two.hosts).toEqual(["api.example.com", "*.example.org"]);
  expect(two.clearance).toBe(2);
  expect(two.clampFloorTokens).toBeUndefined();
  expect(two.auditStrict).toBeUndefined();
});

test("an agent that no team lists has been granted nothing", () => {
  expect(compiled(SOUND_POLICY).agents.has("research/worker-2")).toBe(false);
});

test("a rule for a group of detectors is one for each of them", () => {
  const scanner: ContentScanner = {
    ...PLAIN_SCANNER,
    detectorGroups: new Map([["cards", ["pci", "secret"]]]),
  };
  const file = { file: "p.yaml", scanner };
  const result = readPolicy(changed("detector: pci", "detector: cards"), file);
  if (!result.ok) throw new Error(JSON.stringify(result.findings));
  const grouped = compilePolicy(result.bundle, { version: 1, scanner });
  if (!grouped.ok) throw new Error(JSON.stringify(grouped.findings));
  expect(grouped.policy.content.map(({ id, detector }) => [id, detector])).toEqual([
    ["cards.pci", "pci"],
    ["cards.secret", "secret"],
  ]);

  // A rule for one of them has nothing to add, whichever is written first.
  const rule = (name: string) =>
    `{ id: ${name}-rule, detector: ${name}, action: warn, severity: low }`;
  for (const [first, second] of [
    ["cards", "pci"],
    ["pci", "cards"],
  ] as const) {
    const both = `content:\n  - ${rule(first)}\n  - ${rule(second)}\n`;
    const text = SOUND_POLICY.replace(/content:[\s\S]*(?=teams:)/, both);
    const { findings } = readPolicy(text, file);
    expect(findings.map(({ code, path }) => [code, path])).toEqual([["dead_rule", "content[1]"]]);
    expect(findings[0]?.message).toContain('rule "pci-rule" adds nothing to rule "cards-rule"');
  }
});

test("a bundle that the node's own engine does not take is refused, though it was signed", () => {
  const bundle = bundleOf(changed("detector: pci", "detector: secret"));
  const scanner = { ...PLAIN_SCANNER, detectors: new Set(["pci"]) };
  const result = compilePolicy(bundle, { version: 1, scanner });
  expect(
    result.ok ? [] : result.findings.map(({ code, path, file }) => [code, path, file]),
  ).toEqual([["unknown_reference", "content[0].detector", "bundle"]]);
});

test("garbage is refused, not thrown", () => {
  const result = compilePolicy(new Uint8Array([1, 2, 3]), { version: 1, scanner: PLAIN_SCANNER });
  expect(result.ok).toBe(false);
});

test("a slice ends after each agent, and the slices give what the whole gives", () => {
  const agents = Array.from({ length: 200 }, (_, i) => `      a${i}: {}`).join("\n");
  const bundle = bundleOf(changed("      worker-1: {}", agents));
  const slices = compilePolicyInSlices(bundle, { version: 7, scanner: PLAIN_SCANNER });
  let count = 0;
  let step = slices.next();
  while (!step.done) {
    count++;
    step = slices.next();
  }
  // Each agent is spelt, read and compiled in slices of its own.
  expect(count).toBeGreaterThan(600);
  expect(step.value).toEqual(compilePolicy(bundle, { version: 7, scanner: PLAIN_SCANNER }));
});
