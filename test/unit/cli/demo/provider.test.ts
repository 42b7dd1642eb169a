import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { demoAnswer, limited } from "../../../../cli/demo/demo-answer.ts";
import { countTokens } from "../../../../cli/demo/demo-tokens.ts";
import {
  DEMO_MODELS,
  type DemoProvider,
  startDemoProvider,
} from "../../../../cli/demo/provider.ts";
import { twinClock } from "../../../../ports/twin-clock.ts";
import { comesTrue } from "../../../support/comes-true.ts";

let provider: DemoProvider;

beforeEach(async () => {
  provider = await startDemoProvider({ port: 0, wordDelayMs: 0 });
});

afterEach(async () => {
  await provider.close();
});

const openai = () => new OpenAI({ apiKey: "any", baseURL: `${provider.origin}/v1`, maxRetries: 0 });
const anthropic = () => new Anthropic({ apiKey: "any", baseURL: provider.origin, maxRetries: 0 });

const says = (content: string) => [{ role: "user" as const, content }];

describe("the demo provider", () => {
  test("answers in OpenAI's dialect, with usage counted from the text", async () => {
    const answer = await openai().chat.completions.create({
      model: "demo-small",
      messages: says("say: one two three"),
    });
    expect(answer.choices[0]).toMatchObject({
      message: { content: "one two three" },
      finish_reason: "stop",
    });
    expect(answer.usage).toEqual({ prompt_tokens: 9, completion_tokens: 3, total_tokens: 12 });
  });

  test("answers in Anthropic's dialect, with usage counted from the text", async () => {
    const answer = await anthropic().messages.create({
      model: "demo-small",
      max_tokens: 100,
      messages: says("say: one two three"),
    });
    expect(answer.content).toEqual([{ type: "text", text: "one two three" }]);
    expect(answer).toMatchObject({
      stop_reason: "end_turn",
      usage: { input_tokens: 9, output_tokens: 3 },
    });
  });

  test("answers a prompt without directives by what it was told, the same every time", async () => {
    const ask = () =>
      openai().chat.completions.create({ model: "m", messages: says("what is a mesh?") });
    const [one, two] = await Promise.all([ask(), ask()]);
    expect(one.choices[0]?.message.content).toContain("what is a mesh?");
    expect(one).toEqual(two);
  });

  test("streams word by word, with usage at the end for those who ask", async () => {
    const stream = await openai().chat.completions.create({
      model: "m",
      messages: says("stream for 40 words"),
      stream: true,
      stream_options: { include_usage: true },
    });
    const words: string[] = [];
    let usage: unknown;
    for await (const chunk of stream) {
      const word = chunk.choices[0]?.delta.content;
      if (word) words.push(word);
      usage = chunk.usage ?? usage;
    }
    expect(words).toHaveLength(40);
    expect(usage).toMatchObject({ completion_tokens: countTokens(words.join("")) });
  });

  test("streams in the other dialect as its SDK expects", async () => {
    const message = await anthropic()
      .messages.stream({ model: "m", max_tokens: 1_000, messages: says("stream for 10 words") })
      .finalMessage();
    expect(message.content[0]).toMatchObject({
      type: "text",
      text: expect.stringMatching(/^(\S+ ){10}$/),
    });
    expect(message.usage.output_tokens).toBeGreaterThanOrEqual(10);
  });

  test("stops at the output limit", async () => {
    const whole = await openai().chat.completions.create({
      model: "m",
      max_tokens: 5,
      messages: says("stream for 100 words"),
    });
    expect(whole.choices[0]?.finish_reason).toBe("length");
    expect(whole.usage?.completion_tokens).toBeLessThanOrEqual(5);
    const message = await anthropic()
      .messages.stream({ model: "m", max_tokens: 5, messages: says("stream for 100 words") })
      .finalMessage();
    expect(message.stop_reason).toBe("max_tokens");
    expect(message.usage.output_tokens).toBeLessThanOrEqual(5);
  });

  test("gives each choice that is asked for", async () => {
    const answer = await openai().chat.completions.create({
      model: "m",
      n: 3,
      messages: says("say: hi"),
    });
    expect(answer.choices.map(({ index }) => index)).toEqual([0, 1, 2]);
    expect(answer.usage?.completion_tokens).toBe(3);
  });

  test("calls a tool when the prompt says so and the request offers some", async () => {
    const messages = says('call tool look with {"q":"deep water"}');
    const tools = [
      { type: "function" as const, function: { name: "look", parameters: { type: "object" } } },
    ];
    const whole = await openai().chat.completions.create({ model: "m", messages, tools });
    expect(whole.choices[0]).toMatchObject({
      message: { tool_calls: [{ function: { name: "look", arguments: '{"q":"deep water"}' } }] },
      finish_reason: "tool_calls",
    });
    const stream = openai().chat.completions.stream({ model: "m", messages, tools });
    const streamed = await stream.finalChatCompletion();
    expect(streamed.choices[0]?.message.tool_calls).toMatchObject([
      { function: { name: "look", arguments: '{"q":"deep water"}' } },
    ]);
    const without = await openai().chat.completions.create({ model: "m", messages });
    expect(without.choices[0]?.message.tool_calls).toBeUndefined();
  });

  test("calls a tool in the other dialect", async () => {
    const request = {
      model: "m",
      max_tokens: 100,
      messages: says('call tool look with {"q":1}'),
      tools: [{ name: "look", input_schema: { type: "object" as const } }],
    };
    const block = { type: "tool_use", name: "look", input: { q: 1 } };
    const whole = await anthropic().messages.create(request);
    expect(whole).toMatchObject({ content: [block], stop_reason: "tool_use" });
    const streamed = await anthropic().messages.stream(request).finalMessage();
    expect(streamed).toMatchObject({ content: [block], stop_reason: "tool_use" });
  });

  test("fails with a status that the prompt names", async () => {
    const ask = openai().chat.completions.create({
      model: "m",
      messages: says("fail with status 503"),
    });
    await expect(ask).rejects.toMatchObject({ status: 503 });
  });

  test("breaks off where the prompt says so", async () => {
    const stream = await openai().chat.completions.create({
      model: "m",
      messages: says("stream for 50 words and break off after 3 words"),
      stream: true,
    });
    const words: string[] = [];
    const read = async (): Promise<void> => {
      for await (const chunk of stream) words.push(chunk.choices[0]?.delta.content ?? "");
    };
    await expect(read()).rejects.toThrow();
    expect(words.filter((word) => word !== "").length).toBeLessThanOrEqual(3);
  });

  test("lists its models in both dialects", async () => {
    const ids: string[] = [];
    for await (const { id } of openai().models.list()) ids.push(id);
    for await (const { id } of anthropic().models.list()) ids.push(id);
    expect(ids).toEqual([...DEMO_MODELS, ...DEMO_MODELS]);
  });

  test("wants a credential, a known path, a model and messages", async () => {
    const post = (path: string, body: string, headers: Record<string, string>) =>
      fetch(provider.origin + path, { method: "POST", body, headers });
    const key = { authorization: "Bearer x" };
    const chat = "/v1/chat/completions";
    expect((await post(chat, "{}", {})).status).toBe(401);
    expect((await post("/v1/other", "{}", key)).status).toBe(404);
    expect((await post(chat, "{", key)).status).toBe(400);
    expect((await post(chat, '{"model":"m","messages":[]}', key)).status).toBe(400);
  });

  test("stops writing when nobody reads any more", async () => {
    const clock = twinClock();
    const slow = await startDemoProvider({ port: 0, clock, wordDelayMs: 10 });
    const abort = new AbortController();
    const response = await fetch(`${slow.origin}/v1/chat/completions`, {
      method: "POST",
      headers: { authorization: "Bearer x" },
      body: JSON.stringify({ model: "m", stream: true, messages: says("stream for 999 words") }),
      signal: abort.signal,
    });
    const reader = response.body?.getReader();
    await reader?.read();
    await comesTrue(() => expect(clock.pendingTimers).toBe(1));
    abort.abort();
    await comesTrue(() => {
      clock.advance(10);
      expect(clock.pendingTimers).toBe(0);
    });
    await slow.close();
  });
});

describe("tokens", () => {
  test("are no more than the bytes of their text", () => {
    for (const text of ["", "a", "é", "😀", "longerword", "a b c", "...", "漢字", "x\n\ny"]) {
      expect(countTokens(text)).toBeLessThanOrEqual(Buffer.byteLength(text));
    }
  });

  test("are six letters or digits, or one other character", () => {
    expect(countTokens("abcdef")).toBe(1);
    expect(countTokens("abcdefg")).toBe(2);
    expect(countTokens("hi, you!")).toBe(4);
    expect(countTokens(" \n\t")).toBe(0);
  });
});

test("an answer that fits its limit exactly is whole", () => {
  const words = limited(demoAnswer("say: a b c").pieces, 3);
  const said: string[] = [];
  let step = words.next();
  for (; !step.done; step = words.next()) said.push(step.value);
  expect(said.join("")).toBe("a b c");
  expect(step.value).toEqual({ tokens: 3, cut: false });
});
