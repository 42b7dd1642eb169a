import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from "vitest";
import { createNameResolver } from "../../../../adapters/name-resolution.ts";
import { systemClock } from "../../../../adapters/system-clock.ts";
import { type DemoProvider, startDemoProvider } from "../../../../cli/demo/provider.ts";
import type { Outcome, RelayInput } from "../../../../node/dataplane/client-leg.ts";
import { openCredentials } from "../../../../node/dataplane/credentials.ts";
import { findRoute } from "../../../../node/dataplane/dialects/registry.ts";
import type { Exchange } from "../../../../node/dataplane/exchange.ts";
import { createForwarder, type Forwarder } from "../../../../node/dataplane/forward.ts";
import { inspectBody } from "../../../../node/dataplane/inspect-body.ts";
import { upstreamBytes } from "../../../../node/dataplane/judged-body.ts";
import { relayAnswer } from "../../../../node/dataplane/relay-answer.ts";
import { createUpstreamPools } from "../../../../node/dataplane/upstream-pools.ts";
import { mintPermit } from "../../../../node/decision/permit.ts";
import { REASONS } from "../../../../proto/reasons.ts";
import { comesTrue } from "../../../support/comes-true.ts";
import { type Door, openDoor, rawClient } from "./door.ts";
import { startFakeProvider } from "./fake-provider.ts";
import { answerRules, FREE, streamOf } from "./relay-fixture.ts";

const LIMITS = { firstByteTimeoutMs: 20_000, idleTimeoutMs: 20_000, totalTimeoutMs: 60_000 };

let forwarder: Forwarder;
let demo: DemoProvider;
let outcomes: Outcome[];

beforeEach(async () => {
  const clock = systemClock;
  outcomes = [];
  demo = await startDemoProvider({ port: 0, wordDelayMs: 1 });
  forwarder = createForwarder({
    pools: createUpstreamPools({ resolver: createNameResolver({ clock }), clock }),
    credentials: openCredentials({ clock, values: new Map([["main", "provider-key-0001"]]) }),
    clock,
    onFault: (error) => expect.unreachable(String(error)),
  });
});

afterEach(async () => {
  await forwarder.close();
  await demo.close();
});

/** A door whose every request is allowed and relayed to one provider. */
async function open(origin: string, over: Partial<RelayInput> = {}): Promise<Door> {
  return openDoor((exchange) => relayAll(exchange, origin, over));
}

async function relayAll(exchange: Exchange, origin: string, over: Partial<RelayInput>) {
  const { method, target, rawHeaders } = exchange.head;
  exchange.claim("team/agent", undefined);
  const found = findRoute(method, target, rawHeaders);
  const body = await exchange.readBody({ bytesMax: 1_000_000, timeoutMs: 10_000 });
  if ("missing" in found || typeof body === "string") throw new Error("not readable");
  const { dialect, route } = found;
  const rules = answerRules();
  const options = { dialect, route, set: rules.set, depthMax: 64, pastDeadline: () => false };
  const { request } = inspectBody(body, options);
  if ("missing" in request) throw new Error(request.missing);
  const { read, body: judged } = request;
  const refusal = (reason: keyof typeof REASONS) => {
    const { status, developer: message } = REASONS[reason];
    const words = { reason, message, requestId: exchange.requestId, status };
    const { contentType, body } = dialect.refusal(words);
    const headers = ["content-type", contentType, "x-should-retry", "false"];
    return { status, headers, body };
  };
  const sink = relayAnswer({
    exchange,
    dialect,
    stream: read.stream,
    wantsUsage: read.wantsUsage,
    rules,
    toolGranted: (name) => name !== "forbidden",
    answerBytesMax: 4 * 1024 * 1024,
    meter: FREE,
    headers: ["x-request-id", exchange.requestId],
    refusal,
    scrub: (text) => text,
    onOutcome: (outcome) => outcomes.push(outcome),
    ...over,
  });
  const permit = mintPermit(
    {
      requestId: exchange.requestId,
      origin,
      method: route.method,
      path: route.path,
      headers: ["content-type", "application/json"],
      body: upstreamBytes(dialect, route, judged, { model: "real", maxOutputTokens: undefined }),
      credential: { name: "main", dialect: dialect.family },
    },
    () => true,
    () => true,
  );
  forwarder.forward(permit, sink, { limits: LIMITS, refusedBecause: () => "killed_agent" });
}

/** What one SDK reads of a stream: its text, and how reading it ended. */
type Read = { readonly text: string; readonly error: string | undefined };

type Reader = (
  door: Door,
  prompt: string,
  over?: { readonly tool?: string; readonly onText?: () => void },
) => Promise<Read>;

/** One SDK shows the reason as a code, the other in its message. */
function wordsOf(error: unknown): string {
  const { message, code } = error as { message: string; code?: string };
  return `${message} ${code}`;
}

const READERS: readonly (readonly [name: string, read: Reader])[] = [
  [
    "openai",
    async (door, prompt, { tool, onText } = {}) => {
      const client = new OpenAI({ apiKey: "k", baseURL: `${door.url}/v1`, maxRetries: 0 });
      let text = "";
      try {
        const stream = await client.chat.completions.create({
          model: "m",
          messages: [{ role: "user", content: prompt }],
          stream: true,
          ...(tool && { tools: [{ type: "function" as const, function: { name: tool } }] }),
        });
        for await (const chunk of stream) {
          const [choice] = chunk.choices;
          text += choice?.delta.content ?? "";
          for (const call of choice?.delta.tool_calls ?? []) text += call.function?.arguments ?? "";
          if (text !== "") onText?.();
        }
        return { text, error: undefined };
      } catch (error) {
        return { text, error: wordsOf(error) };
      }
    },
  ],
  [
    "anthropic",
    async (door, prompt, { tool, onText } = {}) => {
      const client = new Anthropic({ apiKey: "k", baseURL: door.url, maxRetries: 0 });
      let text = "";
      try {
        const stream = await client.messages.create({
          model: "m",
          max_tokens: 100_000,
          messages: [{ role: "user", content: prompt }],
          stream: true,
          ...(tool && { tools: [{ name: tool, input_schema: { type: "object" as const } }] }),
        });
        for await (const event of stream) {
          if (event.type !== "content_block_delta") continue;
          if (event.delta.type === "text_delta") text += event.delta.text;
          if (event.delta.type === "input_json_delta") text += event.delta.partial_json;
          if (text !== "") onText?.();
        }
        return { text, error: undefined };
      } catch (error) {
        return { text, error: wordsOf(error) };
      }
    },
  ],
];

describe.each(READERS)("a stream that the SDK of %s reads", (name, read) => {
  test("is the provider's, with the provider's own count", async () => {
    const door = await open(demo.origin);
    const { text, error } = await read(door, "stream for 30 words");
    expect(error).toBeUndefined();
    expect(text.trim().split(" ")).toHaveLength(30);
    await comesTrue(() => expect(outcomes).toMatchObject([{ kind: "done", status: 200 }]));
    expect(outcomes[0]?.usage?.outputTokens).toBeGreaterThanOrEqual(30);
    expect(outcomes[0]?.outputTextBytes).toBe(Buffer.byteLength(text));
    expect(door.faults).toEqual([]);
  });

  test("is cut at a match with an error, and holds not one byte of it", async () => {
    const door = await open(demo.origin);
    const { text, error } = await read(door, "say: all is well S-123456 and more");
    expect(error).toContain("content_cut");
    expect(text).toBe("all is well ");
    expect(outcomes).toMatchObject([{ kind: "cut", reason: "content_cut", rule: "secret" }]);
  });

  test("is cut at a tool that is not granted, before its arguments", async () => {
    const door = await open(demo.origin);
    const prompt = 'call tool forbidden with {"path":"/etc"}';
    const { text, error } = await read(door, prompt, { tool: "forbidden" });
    expect(error).toContain("tool_call_not_granted");
    expect(text).toBe("");
    const granted = await read(door, 'call tool look with {"q":1}', { tool: "look" });
    expect(granted).toEqual({ text: '{"q":1}', error: undefined });
  });

  test("fails when its provider breaks off", async () => {
    const door = await open(demo.origin);
    const prompt = "stream for 50 words and break off after 5 words";
    const { text, error } = await read(door, prompt);
    expect(error).toContain("upstream_failed");
    expect(text.trim().split(" ").length).toBeLessThanOrEqual(5);
    expect(outcomes).toMatchObject([{ kind: "upstream_failed", sent: true }]);
  });

  test("fails when its provider ends it without saying so", async () => {
    const frames = streamOf(name as "openai", ["half"]).slice(0, -1);
    const provider = await startFakeProvider((response) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.end(frames.join(""));
    });
    onTestFinished(() => provider.close());
    const { text, error } = await read(await open(provider.origin), "x");
    expect(error).toContain("upstream_failed");
    expect(text).toBe("half");
  });

  test("fails when its agent is killed, and the provider's connection closes", async () => {
    const provider = await startFakeProvider((response) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.write(
        streamOf(name as "openai", ["begun"])
          .slice(0, 4)
          .join(""),
      );
    });
    onTestFinished(() => provider.close());
    const door = await open(provider.origin);
    let killed: Promise<unknown> | undefined;
    const { text, error } = await read(door, "x", {
      onText: () => {
        killed ??= door.registry.cutScope("agent", "agent/team/agent");
      },
    });
    await killed;
    expect(error).toContain("killed_agent");
    expect(text).toBe("begun");
    expect(outcomes).toMatchObject([{ kind: "cut", reason: "killed_agent" }]);
    await comesTrue(() => expect(provider.sockets.size).toBe(0));
  });

  test("says the provider's error in words that the SDK reads", async () => {
    const door = await open(demo.origin);
    const { error } = await read(door, "fail with status 529");
    expect(error).toMatch(/529.*The prompt asked for it/s);
    expect(outcomes).toMatchObject([{ kind: "done", status: 529, usage: undefined }]);
  });
});

describe("a client", () => {
  const request = (body: object): string => {
    const text = JSON.stringify({
      model: "m",
      messages: [{ role: "user", content: "x" }],
      ...body,
    });
    return (
      "POST /v1/chat/completions HTTP/1.1\r\nhost: h\r\ncontent-type: application/json\r\n" +
      `content-length: ${Buffer.byteLength(text)}\r\n\r\n${text}`
    );
  };

  test("that goes away ends the request to the provider", async () => {
    const provider = await startFakeProvider((response) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.write(streamOf("openai", ["x"])[0]);
    });
    onTestFinished(() => provider.close());
    const door = await open(provider.origin);
    const client = await rawClient(door.port);
    client.socket.write(request({ stream: true }));
    await client.until(/chat\.completion\.chunk/);
    expect(provider.sockets.size).toBe(1);
    client.socket.destroy();
    await comesTrue(() => expect(provider.sockets.size).toBe(0));
    expect(outcomes).toMatchObject([{ kind: "client_gone", sent: true }]);
  });

  test("that reads nothing stops the provider; when it reads on, it misses nothing", async () => {
    const frame = streamOf("openai", ["x".repeat(16_000)])[1] as string;
    const count = 4_000;
    let written = 0;
    const provider = await startFakeProvider((response) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      const more = (): void => {
        while (written < count) {
          written += 1;
          if (response.write(frame)) continue;
          response.once("drain", more);
          return;
        }
        response.end("data: [DONE]\n\n");
      };
      more();
    });
    onTestFinished(() => provider.close());
    const door = await open(provider.origin);
    const client = await rawClient(door.port);
    client.socket.pause();
    client.socket.write(request({ stream: true }));
    let last = -1;
    await comesTrue(() => {
      const now = written;
      const still = now === last && now > 0;
      last = now;
      expect(still).toBe(true);
    }, 200);
    // Sockets of four hops hold some; the relay itself holds next to nothing of 64 MB.
    expect(written * frame.length).toBeLessThan(24 * 1024 * 1024);
    let received = 0;
    client.socket.removeAllListeners("data");
    let tail = "";
    client.socket.on("data", (chunk: Buffer) => {
      received += chunk.length;
      tail = (tail + chunk.toString("latin1")).slice(-64);
    });
    client.socket.resume();
    await comesTrue(() => expect(tail).toContain("data: [DONE]"));
    expect(received).toBeGreaterThan(count * frame.length);
    await comesTrue(() => expect(outcomes).toMatchObject([{ kind: "done" }]));
    expect(outcomes[0]?.outputTextBytes).toBe(count * 16_000);
  });

  test("of a document gets it as the provider wrote it", async () => {
    const door = await open(demo.origin);
    const client = new OpenAI({ apiKey: "k", baseURL: `${door.url}/v1`, maxRetries: 0 });
    const messages = [{ role: "user" as const, content: "say: hello" }];
    const answer = await client.chat.completions.create({ model: "m", messages });
    expect(answer.choices[0]?.message.content).toBe("hello");
    expect(answer.model).toBe("real");
    const refused = client.chat.completions.create({
      model: "m",
      messages: [{ role: "user", content: "say: S-123456" }],
    });
    await expect(refused).rejects.toMatchObject({ status: 403, code: "content_cut" });
  });

  test("is told in its dialect that there is no provider", async () => {
    const gone = await startFakeProvider(() => {});
    await gone.close();
    const door = await open(gone.origin);
    const client = new Anthropic({ apiKey: "k", baseURL: door.url, maxRetries: 0 });
    const messages = [{ role: "user" as const, content: "x" }];
    const asked = client.messages.create({ model: "m", max_tokens: 5, messages });
    await expect(asked).rejects.toMatchObject({
      status: 502,
      error: { type: "error", error: { type: "api_error" } },
    });
    expect(outcomes).toMatchObject([{ kind: "upstream_failed", sent: false, status: 502 }]);
  });
});
