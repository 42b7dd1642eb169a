import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";
import { fetch as fetchBy, ProxyAgent } from "undici";
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from "vitest";
import { Operator } from "../../bench/harness/operator.ts";
import { e2ePolicy, PROVIDER_KEYS } from "../support/e2e-policy.ts";
import { proofCount } from "../support/proof.ts";
import { E2E_TIMEOUTS } from "../support/run-altrace.ts";
import {
  anthropicOf,
  countingRequests,
  failureOf,
  openaiOf,
  reasonOf,
} from "../support/sdk-clients.ts";
import { type Altrace, startAltrace } from "../support/start-altrace.ts";
import { type Provider, startProvider } from "../support/start-provider.ts";
import { waitUntil } from "../support/wait-until.ts";

vi.setConfig(E2E_TIMEOUTS);

const BIG_BODY_BYTES = 8 * 1024 * 1024;
/** Each of both clients sends so many of them. */
const BIG_BODIES = proofCount("8 MB bodies", { small: 10, full: 60 }).count;

let provider: Provider;
let altrace: Altrace;
let operator: Operator;

beforeAll(async () => {
  provider = await startProvider();
  altrace = await startAltrace({ policy: e2ePolicy(provider.origin), env: PROVIDER_KEYS });
  operator = new Operator(altrace.ready);
});
afterAll(async () => {
  operator?.[Symbol.dispose]();
  await altrace?.[Symbol.asyncDispose]();
  await provider?.[Symbol.asyncDispose]();
});

const openaiAsk = (content: string) => ({
  model: "gpt-5-mini",
  messages: [{ role: "user" as const, content }],
});
const anthropicAsk = (content: string) => ({
  model: "claude-haiku-4-5",
  max_tokens: 500,
  messages: [{ role: "user" as const, content }],
});

describe("an allowed request", () => {
  test("goes to the provider with its key, and never with the agent's", async () => {
    const openai = openaiOf(altrace, "research/worker-1");
    await openai.chat.completions.create(openaiAsk("whose key is it, openai"));
    const anthropic = anthropicOf(altrace, "research/worker-1");
    await anthropic.messages.create(anthropicAsk("whose key is it, anthropic"));
    const [toOpenai] = provider.reachedBy("whose key is it, openai");
    const [toAnthropic] = provider.reachedBy("whose key is it, anthropic");
    expect(toOpenai?.headers.authorization).toBe(`Bearer ${PROVIDER_KEYS.OPENAI_API_KEY}`);
    expect(toAnthropic?.headers["x-api-key"]).toBe(PROVIDER_KEYS.ANTHROPIC_API_KEY);
    expect(toAnthropic?.headers["anthropic-version"]).toBeDefined();
    expect(JSON.stringify(provider.received)).not.toContain("altk_");
  });

  test("has a hold for its worst case and settles what it cost", async () => {
    const agent = "support/triage";
    const before = await spentMicros(agent);
    const answer = await openaiOf(altrace, agent).chat.completions.create(
      openaiAsk("what it cost"),
    );
    // The catalogue's price of this model: 0.25 and 2.00 US dollars for a million tokens.
    const { prompt_tokens: input = 0, completion_tokens: output = 0 } = answer.usage ?? {};
    const cost = Math.ceil((input * 250_000 + output * 2_000_000) / 1_000_000);
    await waitUntil(
      async () => `${cost} micro-dollars, and not ${await spentMicros(agent)}`,
      async () => (await spentMicros(agent)) - before === cost,
    );
  });

  test("is told what it may still spend and which request it was", async () => {
    const { response, request_id: id } = await openaiOf(altrace, "research/worker-1")
      .chat.completions.create(openaiAsk("which request was it"))
      .withResponse();
    expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7/);
    expect(response.headers.get("x-altrace-decision")).toBe("allow");
    expect(response.headers.get("x-altrace-standing")).toBe("normal");
    expect(response.headers.get("x-altrace-budget-remaining-usd")).toMatch(/^\d+\.\d{6}$/);
    // It named no limit, so it was given the policy's.
    expect(response.headers.get("x-altrace-clamped")).toBe("1024");
    const [reached] = provider.reachedBy("which request was it");
    expect(JSON.parse(reached?.body ?? "{}")).toMatchObject({ max_completion_tokens: 1024 });
  });

  test("that streams without asking for usage gets none, and is settled all the same", async () => {
    const agent = "research/worker-2";
    const before = await spentMicros(agent);
    const stream = await openaiOf(altrace, agent).chat.completions.create({
      ...openaiAsk("no usage asked for"),
      stream: true,
    });
    const chunks = await Array.fromAsync(stream);
    expect(chunks.every(({ usage }) => usage === undefined || usage === null)).toBe(true);
    expect(chunks.every(({ choices }) => choices.length === 1)).toBe(true);
    await waitUntil("its cost", async () => (await spentMicros(agent)) > before);
  });

  test("calls granted tools, streamed and whole", async () => {
    provider.script("search", { tool: { name: "web_search", json: '{"q":"altrace"}' } });
    const tool = (name: string) => ({
      type: "function" as const,
      function: { name, parameters: { type: "object", properties: {} } },
    });
    const asked = { ...openaiAsk("script search"), tools: [tool("web_search")] };
    const openai = openaiOf(altrace, "research/worker-1");
    const whole = await openai.chat.completions.create(asked);
    expect(whole.choices[0]?.message.tool_calls).toMatchObject([
      { function: { name: "web_search", arguments: '{"q":"altrace"}' } },
    ]);
    const streamed = await openai.chat.completions
      .stream({ ...asked, stream: true })
      .finalChatCompletion();
    expect(streamed.choices[0]?.message.tool_calls).toMatchObject([
      { function: { name: "web_search", arguments: '{"q":"altrace"}' } },
    ]);
  });

  test("to a provider over HTTP through the proxy meets the same chain", async () => {
    const agent = "research/worker-1";
    const token = `Basic ${Buffer.from(`${agent}:${altrace.key(agent)}`).toString("base64")}`;
    const proxy = new ProxyAgent({ uri: altrace.ready.forward, token, proxyTunnel: false });
    onTestFinished(() => proxy.close());
    const openai = new OpenAI({
      baseURL: `${provider.origin}/v1`,
      // A key that the agent has from elsewhere is refused on this door as on the others.
      apiKey: altrace.key(agent),
      fetch: (url, init) => fetchBy(String(url), { ...init, dispatcher: proxy } as never) as never,
    });
    const answer = await openai.chat.completions.create(openaiAsk("by absolute form"));
    expect(answer.choices[0]?.message.content).toBeTruthy();
    const [reached] = provider.reachedBy("by absolute form");
    expect(reached?.headers.authorization).toBe(`Bearer ${PROVIDER_KEYS.OPENAI_API_KEY}`);
    const asked = openai.chat.completions.create(openaiAsk("tell project-nightjar-2026"));
    const refused = await failureOf(asked, OpenAI.PermissionDeniedError);
    expect(reasonOf(refused)).toBe("content_refused");
    const foreign = openai.withOptions({ apiKey: "sk-of-its-own" });
    const other = foreign.chat.completions.create(openaiAsk("with its own key"));
    expect(reasonOf(await failureOf(other, OpenAI.APIError))).toBe("foreign_credential");
    expect(provider.reachedBy("nightjar")).toEqual([]);
    expect(provider.reachedBy("with its own key")).toEqual([]);
  });

  test("of which the provider's error names its key comes back without it", async () => {
    const key = PROVIDER_KEYS.OPENAI_API_KEY;
    const error = { message: `Incorrect API key provided: ${key}.`, type: "x", code: "y" };
    provider.script("indiscreet", { fails: { status: 400, body: JSON.stringify({ error }) } });
    const failure = await failureOf(
      openaiOf(altrace, "research/worker-1").chat.completions.create(
        openaiAsk("script indiscreet"),
      ),
      OpenAI.BadRequestError,
    );
    expect(failure.message).toContain("Incorrect API key provided");
    expect(JSON.stringify([failure.error, failure.message])).not.toContain(key);
  });
});

describe("a refused request", () => {
  test("of a killed agent is not tried again by either client", async () => {
    const agent = "research/worker-3";
    await operator.kill(`agent/${agent}`);
    const before = await decisions("killed_agent");
    const openai = await countingRequests(altrace.gateway, () =>
      failureOf(
        openaiOf(altrace, agent).chat.completions.create(openaiAsk("am I killed")),
        OpenAI.PermissionDeniedError,
      ),
    );
    const anthropic = await countingRequests(altrace.gateway, () =>
      failureOf(
        anthropicOf(altrace, agent).messages.create(anthropicAsk("am I killed")),
        Anthropic.PermissionDeniedError,
      ),
    );
    expect(openai.result).toMatchObject({ status: 403, code: "killed_agent" });
    expect(anthropic.result).toMatchObject({ status: 403, type: "permission_error" });
    expect(reasonOf(anthropic.result)).toBe("killed_agent");
    expect([openai.requests, anthropic.requests]).toEqual([1, 1]);
    expect((await decisions("killed_agent")) - before).toBe(2);
    expect(provider.reachedBy("am I killed")).toEqual([]);
  });

  test("that no budget covers is a 402, and not tried again by either client", async () => {
    const agent = "edges/poor";
    const before = await decisions("budget_exhausted");
    // Twenty thousand tokens of answer are 0.04 and 0.10 US dollars, and the agent has 0.01 a day.
    const openai = await countingRequests(altrace.gateway, () =>
      failureOf(
        openaiOf(altrace, agent).chat.completions.create({
          ...openaiAsk("can I pay"),
          max_completion_tokens: 20_000,
        }),
        OpenAI.APIError,
      ),
    );
    const anthropic = await countingRequests(altrace.gateway, () =>
      failureOf(
        anthropicOf(altrace, agent).messages.create({
          ...anthropicAsk("can I pay"),
          max_tokens: 20_000,
        }),
        Anthropic.APIError,
      ),
    );
    expect(openai.result).toMatchObject({ status: 402, code: "budget_exhausted" });
    expect(anthropic.result.status).toBe(402);
    expect(reasonOf(anthropic.result)).toBe("budget_exhausted");
    expect([openai.requests, anthropic.requests]).toEqual([1, 1]);
    expect((await decisions("budget_exhausted")) - before).toBe(2);
    expect(provider.reachedBy("can I pay")).toEqual([]);
    // What fits is still served: the no was to the request, not to the agent.
    const small = await openaiOf(altrace, agent).chat.completions.create({
      ...openaiAsk("this I can pay"),
      max_completion_tokens: 200,
    });
    expect(small.choices).toHaveLength(1);
  });

  test("of 8 MB reads its 403 to the end, with both clients", async () => {
    const agent = "research/worker-3";
    const content = "a".repeat(BIG_BODY_BYTES);
    const openai = openaiOf(altrace, agent);
    const anthropic = anthropicOf(altrace, agent);
    const send = async (): Promise<unknown[]> => [
      await failureOf(
        openai.chat.completions.create(openaiAsk(content)),
        OpenAI.PermissionDeniedError,
      ),
      await failureOf(
        anthropic.messages.create(anthropicAsk(content)),
        Anthropic.PermissionDeniedError,
      ),
    ];
    const { result, requests } = await countingRequests(altrace.gateway, () =>
      Promise.all(Array.from({ length: BIG_BODIES }, send)),
    );
    expect(requests).toBe(2 * BIG_BODIES);
    expect(new Set(result.flat().map(reasonOf))).toEqual(new Set(["killed_agent"]));
  });
});

describe("a stream that is killed", () => {
  test("raises in the openai client and never ends quietly", async () => {
    provider.script("held-openai", { pieces: ["begun "], held: true });
    const stream = await openaiOf(altrace, "research/worker-1").chat.completions.create({
      ...openaiAsk("script held-openai"),
      stream: true,
    });
    const chunks = stream[Symbol.asyncIterator]();
    expect((await chunks.next()).done).toBe(false);
    await operator.kill("agent/research/worker-1");
    const failure = await failureOf(untilEnd(chunks), OpenAI.APIError);
    expect(failure.code).toBe("killed_agent");
    await waitUntil("its provider to be let go", () => provider.openStreams("held-openai") === 0);
    await operator.revive("agent/research/worker-1");
  });

  test("raises in the anthropic client and never ends quietly", async () => {
    provider.script("held-anthropic", { pieces: ["begun "], held: true });
    const stream = await anthropicOf(altrace, "research/worker-2").messages.create({
      ...anthropicAsk("script held-anthropic"),
      stream: true,
    });
    const events = stream[Symbol.asyncIterator]();
    expect((await events.next()).done).toBe(false);
    await operator.kill("team/research");
    const failure = await failureOf(untilEnd(events), Anthropic.APIError);
    expect(JSON.stringify(failure.error)).toContain("stopped by an operator");
    await waitUntil(
      "its provider to be let go",
      () => provider.openStreams("held-anthropic") === 0,
    );
    await operator.revive("team/research");
  });

  test("raises in both clients' stream helpers too", async () => {
    provider.script("held-helpers", { pieces: ["begun "], held: true });
    const openai = openaiOf(altrace, "support/triage").chat.completions.stream({
      ...openaiAsk("script held-helpers"),
      stream: true,
    });
    const anthropic = anthropicOf(altrace, "support/triage").messages.stream(
      anthropicAsk("script held-helpers"),
    );
    const begun = Promise.all([
      new Promise<void>((resolve) => openai.once("content", () => resolve())),
      new Promise<void>((resolve) => anthropic.once("text", () => resolve())),
    ]);
    const ends = Promise.allSettled([openai.finalChatCompletion(), anthropic.finalMessage()]);
    await begun;
    await operator.kill("global");
    expect((await ends).map(({ status }) => status)).toEqual(["rejected", "rejected"]);
    await operator.revive("global");
  });

  test("by its provider raises as well", async () => {
    provider.script("broken", { pieces: ["begun "], breaksOff: true });
    const stream = await openaiOf(altrace, "support/triage").chat.completions.create({
      ...openaiAsk("script broken"),
      stream: true,
    });
    const failure = await failureOf(Array.fromAsync(stream), OpenAI.APIError);
    expect(failure.code).toBe("upstream_failed");
  });
});

async function untilEnd(items: AsyncIterator<unknown>): Promise<void> {
  while ((await items.next()).done !== true);
}

/** Refusals of that reason so far, as the node counts them at its door. */
async function decisions(reason: string): Promise<number> {
  const text = await (await fetch(altrace.ready.metrics)).text();
  const lines = text.split("\n").filter((line) => line.startsWith("altrace_decisions_total{"));
  const counted = lines.filter((line) => line.includes(`reason="${reason}"`));
  return counted.reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0);
}

async function spentMicros(agent: string): Promise<number> {
  return Number((await operator.node.calls.getAgent({ agent })).agent?.spent?.usdMicros ?? 0n);
}
