import OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { Operator } from "../../bench/harness/operator.ts";
import { standingLines, standingWord } from "../../cli/standing-words.ts";
import { Standing } from "../../proto/gen/altrace/v1/mesh_pb.ts";
import type { GetStandingResponse } from "../../proto/gen/altrace/v1/node_service_pb.ts";
import { PROVIDER_KEYS } from "../support/e2e-policy.ts";
import { E2E_TIMEOUTS } from "../support/run-altrace.ts";
import { anthropicOf, failureOf, openaiOf, reasonOf } from "../support/sdk-clients.ts";
import { type Altrace, startAltrace } from "../support/start-altrace.ts";
import { type Provider, startProvider } from "../support/start-provider.ts";
import { waitUntil } from "../support/wait-until.ts";

vi.setConfig(E2E_TIMEOUTS);

let provider: Provider;
let altrace: Altrace;
let operator: Operator;

beforeAll(async () => {
  provider = await startProvider();
  altrace = await startAltrace({ policy: policyOf(provider.origin), env: PROVIDER_KEYS });
  operator = new Operator(altrace.ready);
});
afterAll(async () => {
  operator?.[Symbol.dispose]();
  await altrace?.[Symbol.asyncDispose]();
  await provider?.[Symbol.asyncDispose]();
});

const shown = (agent: string) => operator.node.calls.getStanding({ agent });

/** Waits until the agent stands there, and returns what the node says of it then. */
function standsAt(agent: string, level: Standing): Promise<GetStandingResponse> {
  const told = async () => standingLines(await shown(agent), Date.now()).join("\n");
  return waitUntil(
    async () => `${agent} to stand at ${standingWord(level)}, and not so:\n${await told()}`,
    async () => {
      const one = await shown(agent);
      return one.standing === level ? one : undefined;
    },
  );
}

/** What the log has of the agent, oldest first. */
async function recordsOf(agent: string, kind: string): Promise<readonly Record<string, unknown>[]> {
  const text = await altrace.mustCli("audit", "tail", "--from", "0", "--json");
  const lines = text.trim().split("\n");
  const records = lines.map((line) => JSON.parse(line));
  return records.filter(({ ag, k }) => k === kind && ag.endsWith(`/agent/${agent}`));
}

const ask = (content: string, model = "gpt-5-mini") => ({
  model,
  messages: [{ role: "user" as const, content }],
});
const tools = (name: string) => [
  { type: "function" as const, function: { name, parameters: { type: "object", properties: {} } } },
];

const chat = (agent: string, asked: Parameters<typeof ask>[0], more: object = {}) =>
  openaiOf(altrace, agent).chat.completions.create({ ...ask(asked), ...more, stream: false });

async function refused(agent: string, content: string, more: object = {}): Promise<string> {
  const error = await failureOf(chat(agent, content, more), OpenAI.APIError);
  return `${error.status} ${reasonOf(error)}`;
}

/** The standing that an allowed answer's header names. */
async function headerOf(agent: string): Promise<string | null> {
  const { response } = await openaiOf(altrace, agent)
    .chat.completions.create(ask("where do I stand"))
    .withResponse();
  return response.headers.get("x-altrace-standing");
}

describe("an agent climbs by what it asks for", () => {
  test("three refusals warn, ten throttle", async () => {
    const agent = "climbers/refused";
    const other = { model: "gpt-4o-mini" };
    for (let i = 0; i < 2; i++) {
      expect(await refused(agent, "not mine", other)).toBe("403 model_not_granted");
    }
    expect(await headerOf(agent)).toBe("normal");
    await refused(agent, "not mine", other);
    expect((await standsAt(agent, Standing.WARNING)).cause).toBe("refusal");
    expect(await headerOf(agent)).toBe("warning");
    await Promise.all(Array.from({ length: 7 }, () => refused(agent, "not mine", other)));
    const throttled = await standsAt(agent, Standing.THROTTLE);
    expect(throttled.shares).toMatchObject([{ cause: "refusal", count: 10n }]);
    expect(throttled.falls.map(({ to }) => to)).toEqual([Standing.WARNING, Standing.NORMAL]);
  });

  test("a match of low severity warns, and the record names the request that did it", async () => {
    const agent = "climbers/careless";
    const error = await failureOf(chat(agent, "project-nightjar-1234"), OpenAI.APIError);
    const node = await standsAt(agent, Standing.WARNING);
    expect(node.cause).toBe("content_low");
    expect(node.requestId).toBe(error.requestID);
  });

  test("a tool outside the grant quarantines: named models alone, no tools, no breach by asking", async () => {
    const agent = "climbers/toolsmith";
    expect(await refused(agent, "with a tool", { tools: tools("shell") })).toBe(
      "403 tool_not_granted",
    );
    const node = await standsAt(agent, Standing.QUARANTINE);
    expect(node.cause).toBe("tool_outside_grant");
    const granted = { tools: tools("web_search") };
    // An agent that always offers its tools is refused for the quarantine, and that alone adds nothing.
    for (let i = 0; i < 4; i++) {
      expect(await refused(agent, "with a tool", granted)).toBe("403 quarantined");
    }
    const anthropic = anthropicOf(altrace, agent).messages.create({
      ...ask("another model", "claude-haiku-4-5"),
      max_tokens: 50,
    });
    await expect(anthropic).rejects.toMatchObject({ status: 403 });
    expect(await headerOf(agent)).toBe("quarantine");
    expect((await shown(agent)).shares).toHaveLength(1);
  });

  test("offences in quarantine block, and no request passes any more", async () => {
    const agent = "climbers/stubborn";
    await refused(agent, "audit-marker-1");
    await standsAt(agent, Standing.QUARANTINE);
    for (let i = 0; i < 3; i++) await refused(agent, "project-nightjar-1234");
    const node = await standsAt(agent, Standing.BLOCK);
    expect(node.cause).toBe("quarantine_breach");
    expect(await refused(agent, "anything")).toBe("403 blocked");
  });

  test("a match of high severity blocks at once; an operator lifts it, and no kill", async () => {
    const agent = "climbers/leaky";
    expect(await refused(agent, "launch-code-123456")).toBe("403 content_refused");
    await standsAt(agent, Standing.BLOCK);
    expect(await refused(agent, "anything")).toBe("403 blocked");
    expect(await altrace.mustCli("standing", agent, "--lift", "--dry-run")).toContain(
      `would lift the standing of agent/${agent} as version 1 on 1 node(s)`,
    );
    expect((await shown(agent)).standing).toBe(Standing.BLOCK);
    const lifted = await altrace.mustCli("standing", agent, "--lift", "--wait", "--reason", "seen");
    expect(lifted).toContain("durable 1/1");
    const node = await standsAt(agent, Standing.WARNING);
    expect(node).toMatchObject({ cause: "operator", scoreMilli: 0n });
    expect(await headerOf(agent)).toBe("warning");
    await operator.kill(`agent/${agent}`);
    const { code, stderr } = await altrace.cli("standing", agent, "--lift");
    expect([code, stderr]).toEqual([1, expect.stringContaining(`altrace revive agent/${agent}`)]);
    expect(await refused(agent, "anything")).toBe("403 killed_agent");
    await operator.revive(`agent/${agent}`);
    await standsAt(agent, Standing.WARNING);
  });
});

describe("an agent climbs by what it spends", () => {
  test("shares warn and throttle, all of it blocks, and a top-up lifts that", async () => {
    const agent = "spenders/calls";
    for (let i = 0; i < 7; i++) await chat(agent, "spend");
    expect((await shown(agent)).budgetLevel).toBe(Standing.NORMAL);
    await chat(agent, "spend");
    expect((await standsAt(agent, Standing.WARNING)).cause).toBe("budget_warning");
    await chat(agent, "spend");
    await chat(agent, "spend");
    expect((await standsAt(agent, Standing.BLOCK)).cause).toBe("budget_block");
    expect(await refused(agent, "spend")).toBe("403 blocked");
    // A revive is no money.
    await altrace.mustCli("standing", agent, "--lift", "--wait");
    expect((await shown(agent)).standing).toBe(Standing.BLOCK);
    await altrace.mustCli("budget", "top-up", `agent/${agent}`, "total", "calls", "100");
    await standsAt(agent, Standing.WARNING);
    await chat(agent, "spend");
  });
});

describe("what runs when an agent climbs", () => {
  const held = (name: string) => provider.script(name, { pieces: ["one "], held: true });
  async function open(agent: string, name: string, more: object = {}) {
    const streamed = await openaiOf(altrace, agent).chat.completions.create({
      ...ask(`script ${name}`),
      ...more,
      stream: true,
    });
    await waitUntil(`the stream ${name}`, () => provider.openStreams(name) === 1);
    return Array.fromAsync(streamed);
  }

  test("quarantine ends streams in which tools may be called, and lets the others end", async () => {
    const agent = "climbers/streaming";
    held("tooled");
    held("plain");
    const tooled = open(agent, "tooled", { tools: tools("web_search") });
    const plain = open(agent, "plain");
    await waitUntil(
      "both streams",
      () => provider.openStreams("tooled") + provider.openStreams("plain") === 2,
    );
    const cut = failureOf(tooled, OpenAI.APIError);
    await refused(agent, "audit-marker-1");
    expect((await cut).code).toBe("quarantined");
    await waitUntil("the provider's side to be ended", () => provider.openStreams("tooled") === 0);
    provider.release("plain");
    expect((await plain).length).toBeGreaterThan(0);
  });

  test("block lets a running answer end, and refuses the next request", async () => {
    const agent = "climbers/blocked";
    held("running");
    const running = open(agent, "running");
    await waitUntil("the stream", () => provider.openStreams("running") === 1);
    await refused(agent, "launch-code-123456");
    await standsAt(agent, Standing.BLOCK);
    expect(await refused(agent, "anything")).toBe("403 blocked");
    const { holds } = JSON.parse(await altrace.mustCli("holds", agent, "--json"));
    expect(holds).toMatchObject([{ agent, model: "openai/gpt-5-mini" }]);
    expect(Number(holds[0].amount.usdMicros)).toBeGreaterThan(0);
    expect(Number(holds[0].deadlineMs)).toBeGreaterThan(Number(holds[0].startedAtMs));
    provider.release("running");
    expect((await running).length).toBeGreaterThan(0);
    await waitUntil("its hold to end", async () => {
      const { holds: left } = await operator.node.calls.listHolds({ filter: agent });
      return left.length === 0;
    });
  });
});

describe("what says nothing against an agent", () => {
  test("refusals for money, rate, standing and kills add nothing to its score", async () => {
    const poor = "spenders/poor";
    for (let i = 0; i < 12; i++) expect(await refused(poor, "x")).toBe("402 budget_exhausted");
    expect(await shown(poor)).toMatchObject({ scoreMilli: 0n });
  });

  test("a name in a request, a header or an unknown key is nobody's offence", async () => {
    const asked = JSON.stringify({ ...ask("launch-code-123456"), user: "climbers/innocent" });
    for (let i = 0; i < 4; i++) {
      const answer = await fetch(`${altrace.gateway}/v1/chat/completions`, {
        method: "POST",
        headers: {
          "content-type": "application/json",
          authorization: "Bearer altk_0123456789_notakey",
          "x-altrace-agent": "climbers/innocent",
        },
        body: asked,
      });
      expect(answer.status).toBe(401);
    }
    const node = await shown("climbers/innocent");
    expect(node).toMatchObject({ scoreMilli: 0n, standing: Standing.NORMAL });
  });
});

test("people read why, and what would lift it", async () => {
  const agent = "climbers/read";
  await refused(agent, "launch-code-123456");
  await standsAt(agent, Standing.BLOCK);
  const text = await altrace.mustCli("standing", agent);
  expect(text).toMatch(
    /climbers\/read stands at block on node-1 .*because of content_high by request/,
  );
  expect(text).toMatch(/content_high +\d[\d.]* +1 /);
  expect(text).toMatch(/time +without a new offence: .* in \d/);
  expect(text).toContain(`altrace standing ${agent} --lift`);
  expect(text).toMatch(/over the mesh: block/);
  const unknown = await altrace.cli("standing", "climbers/nobody");
  expect([unknown.code, unknown.stderr]).toEqual([
    1,
    expect.stringContaining("no agent climbers/nobody is known here"),
  ]);
  expect((await altrace.cli("standing", "nobody")).code).toBe(2);
});

test("time lets the agent fall that was throttled first", async () => {
  const agent = "climbers/refused";
  await standsAt(agent, Standing.NORMAL);
  expect(await headerOf(agent)).toBe("normal");
  // The node soon forgets who stands at normal and does nothing; the log does not.
  const falls = await waitUntil("both falls in the log", async () => {
    const records = await recordsOf(agent, "standing");
    const fell = records.filter(({ rc }) => rc === "decay").map(({ to }) => to);
    return fell.length >= 2 ? fell : undefined;
  });
  expect(falls).toEqual(["warning", "normal"]);
});

describe("the automatic kill", () => {
  test("a cause that policy names kills, by a signed kill of the agent alone", async () => {
    const agent = "doomed/one";
    await operator.applyPolicy(policyOf(provider.origin, "content_high"));
    expect(await refused(agent, "self-destruct-77")).toBe("403 content_refused");
    await standsAt(agent, Standing.KILL);
    expect(await refused(agent, "anything")).toBe("403 killed_agent");
    const { kills } = await operator.coordinator.calls.listKills({});
    expect(kills).toMatchObject([
      { scope: `agent/${agent}`, cause: "content_high", operator: "node/node-1" },
    ]);
    expect(await headerOf("doomed/two")).toBe("normal");
    await operator.revive(`agent/${agent}`);
    expect((await standsAt(agent, Standing.WARNING)).cause).toBe("operator");
  });
});

const GRANT = `{
      budget: { usd: { day: "100.00" } },
      models: [openai/gpt-5-mini, anthropic/claude-haiku-4-5],
      tools: { web_search: [call] },
      clearance: internal,
      quarantine: { models: [openai/gpt-5-mini] },
      max_output_tokens_default: 64
    }`;

/** Marks and points of the defaults, with windows and half-lives that a test can wait for. */
function policyOf(origin: string, autoKill = ""): string {
  return `format: 1
providers:
  openai: { dialect: openai, base_url: "${origin}", credential: openai, region: US, clearance: internal }
  anthropic: { dialect: anthropic, base_url: "${origin}", credential: anthropic, region: US, clearance: internal }
models:
  openai/gpt-5-mini: {}
  openai/gpt-4o-mini: {}
  anthropic/claude-haiku-4-5: {}
content:
  - { id: project-name, pattern: 'project-nightjar-[0-9]{4}', action: refuse, severity: low }
  - { id: marker, pattern: 'audit-marker-[0-9]', action: refuse, severity: medium }
  - { id: launch-code, pattern: 'launch-code-[0-9]{6}', action: refuse, severity: high }
  - { id: destruct, pattern: 'self-destruct-[0-9]{2}', action: refuse, severity: high }
teams:
  climbers:
    budget: { usd: { day: "1000.00" } }
    defaults: ${GRANT}
    agents:
      refused: {}
      careless: {}
      toolsmith: {}
      stubborn: {}
      leaky: {}
      streaming: {}
      blocked: {}
      innocent: {}
      read: {}
  doomed:
    budget: { usd: { day: "1000.00" } }
    defaults: ${GRANT}
    agents: { one: {}, two: {} }
  spenders:
    budget: { usd: { day: "1000.00" } }
    defaults: ${GRANT}
    agents:
      calls: { budget: { usd: { day: "100.00" }, calls: { total: 10 } } }
      poor: { budget: { usd: { day: "0.000001" } } }
ladder:
  window: 10s
  half_life: 1m
  half_life_of: { refusal: 1s }
  auto_kill: [${autoKill}]
limits:
  # On a machine that is busy with other tests the ledger may be slow to answer.
  reserve_wait_max_ms: 10000
`;
}
