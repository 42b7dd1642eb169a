import type { Facts, RequestFacts } from "../../node/decision/facts.ts";
import type {
  AgentPolicy,
  CompiledPolicy,
  ContentRule,
  ModelPolicy,
  PriceEntry,
  ProviderPolicy,
} from "../../policy/compiled-policy.ts";

/** Whole values for tests, each with a valid default for everything a test does not speak of. */

export function provider(over: Partial<ProviderPolicy> = {}): ProviderPolicy {
  return {
    name: "openai",
    dialect: "openai",
    origin: "https://api.openai.com",
    host: "api.openai.com",
    basePath: "",
    credential: "openai",
    credentialOf: "all",
    region: "US",
    clearance: 2,
    ...over,
  };
}

export function price(over: Partial<PriceEntry> = {}): PriceEntry {
  return {
    inputMicrosPerMtok: 250_000,
    cachedInputMicrosPerMtok: 25_000,
    cacheWriteMicrosPerMtok: 250_000,
    outputMicrosPerMtok: 2_000_000,
    fixedMicros: 0,
    tokensPerMessage: 4,
    tokensPerTool: 16,
    tokensFixed: 3,
    distrustMilli: 1_100,
    ...over,
  };
}

export function model(over: Partial<ModelPolicy> = {}): ModelPolicy {
  return {
    id: "openai/gpt-5-mini",
    provider: provider(),
    upstreamName: "gpt-5-mini",
    price: price(),
    maxOutputTokens: 128_000,
    ...over,
  };
}

export function grant(over: Partial<AgentPolicy> = {}): AgentPolicy {
  return {
    agentId: "research/worker-1",
    team: "research",
    agent: "worker-1",
    models: ["openai/gpt-5-mini"],
    tools: new Map([["search", ["call"]]]),
    hosts: ["api.openai.com"],
    hours: [],
    regions: {},
    clearance: 2,
    rate: [],
    quarantine: { models: [] },
    maxOutputTokensDefault: undefined,
    clampFloorTokens: undefined,
    ...over,
  };
}

export function contentRule(over: Partial<ContentRule> = {}): ContentRule {
  return {
    id: "no-secrets",
    pattern: "secret-[0-9]{4}",
    detector: undefined,
    direction: "both",
    action: "refuse",
    severity: "high",
    label: undefined,
    ...over,
  };
}

export function policy(over: Partial<CompiledPolicy> = {}): CompiledPolicy {
  const granted = grant();
  const known = model();
  return {
    version: 1,
    sha256: "a".repeat(64),
    agents: new Map([[granted.agentId, granted]]),
    providers: new Map([["openai", known.provider]]),
    models: new Map([["openai:gpt-5-mini", known]]),
    content: [],
    classification: {
      levels: ["public", "internal", "confidential", "restricted"],
      labels: new Map([
        ["pii", 2],
        ["secret", 3],
      ]),
      defaultLevel: 1,
    },
    tools: { verbs: new Map(), arguments: new Map() },
    ladder: {
      points: new Map([["refusal", 1_000]]),
      enter: [3_000, 10_000, 20_000, 40_000],
      leave: [1_000, 5_000, 10_000, 20_000],
      windowMs: 60_000,
      halfLifeMs: 60_000,
      halfLifeMsOf: new Map(),
      blockCoolDownMs: 300_000,
      blockUntil: "cool_down",
      evidenceFloor: 3,
      budgetMilli: [800, 950],
      autoKill: new Set(),
    },
    limits: {
      bodyBytesMax: 1_048_576,
      bodyTimeoutMs: 10_000,
      answerBytesMax: 1_048_576,
      jsonDepthMax: 64,
      bodiesWaitingMax: 16,
      connectionsPerAgentMax: 256,
      firstByteTimeoutMs: 60_000,
      idleTimeoutMs: 60_000,
      totalTimeoutMs: 600_000,
      scanDeadlineMs: 1_000,
      reserveWaitMaxMs: 250,
    },
    overrunLimitUsdMicros: 100_000_000,
    shadowStages: new Set(),
    ...over,
  };
}

export function requestFacts(over: Partial<RequestFacts> = {}): RequestFacts {
  return {
    route: "openai.chat",
    dialect: "openai",
    method: "POST",
    stream: false,
    bodyBytes: 200,
    model: "gpt-5-mini",
    tools: [],
    unpricedParameter: undefined,
    ...over,
  };
}

/** Facts of a request that every stage passes; a test changes the one it is about. */
export function facts(over: Partial<Facts> = {}): Facts {
  return {
    requestId: "01998f3e-7c1a-7b2c-9d3e-5f60718293a4",
    door: "gateway",
    nowMs: Date.UTC(2026, 10, 23, 12),
    pass: "full",
    request: requestFacts(),
    identity: { agentId: "research/worker-1", keyId: "k1234567", contractId: undefined },
    kill: { killedBy: undefined, fresh: true },
    standing: "normal",
    policy: policy(),
    grant: grant(),
    contract: undefined,
    model: model(),
    nodeRegion: "DE",
    node: "node-7",
    scan: { hits: [], scannedBytes: 200, complete: true },
    cost: {
      worst: { usdMicros: 5_000n, tokens: 1_000n, calls: 1n },
      overrunMicros: 500n,
      outputTokensSet: undefined,
    },
    openConnections: 1,
    draining: false,
    ...over,
  };
}
