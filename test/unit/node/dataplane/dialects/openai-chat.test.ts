import { describe, expect, test } from "vitest";
import type { JsonObject } from "../../../../../node/dataplane/dialects/dialect.ts";
import { OPENAI_CHAT } from "../../../../../node/dataplane/dialects/openai-chat.ts";

const [CHAT] = OPENAI_CHAT.routes as [(typeof OPENAI_CHAT.routes)[number]];

const BASE: JsonObject = { model: "m", messages: [{ role: "user", content: "hello" }] };

function read(over: JsonObject) {
  return OPENAI_CHAT.read(CHAT, { ...BASE, ...over });
}

function messages(...list: JsonObject[]) {
  return read({ messages: list });
}

describe("a request", () => {
  test("is read in neutral words", () => {
    const tool = { type: "function", function: { name: "look", description: "d" } };
    const body = { n: 3, max_tokens: 100, stream: true, tools: [tool] };
    expect(read({ ...body, stream_options: { include_usage: true } })).toMatchObject({
      model: "m",
      stream: true,
      tools: [{ name: "look" }],
      messages: 1,
      maxOutputTokens: 100,
      choices: 3,
      unpricedParameter: undefined,
      wantsUsage: true,
    });
  });

  test("without a limit, a number of choices or a stream has none, one and no", () => {
    expect(read({})).toMatchObject({ maxOutputTokens: undefined, choices: 1, stream: false });
    expect(read({ stream: null, n: null, max_tokens: null })).toMatchObject({ choices: 1 });
  });

  test("asks for usage only in a stream", () => {
    expect(read({ stream_options: { include_usage: true } })).toMatchObject({ wantsUsage: false });
  });

  test("gives every text that somebody wrote to be scanned", () => {
    const result = read({
      messages: [
        { role: "system", content: "T-system" },
        { role: "developer", content: [{ type: "text", text: "T-part" }], name: "T-name" },
        {
          role: "assistant",
          content: null,
          refusal: "T-refusal",
          reasoning_content: "T-thought",
          tool_calls: [
            {
              id: "T-id",
              type: "function",
              function: { name: "T-called", arguments: '{"T-arg":1}' },
            },
          ],
        },
        { role: "tool", tool_call_id: "T-call", content: "T-result" },
      ],
      tools: [
        {
          type: "function",
          function: {
            name: "T-tool",
            description: "T-description",
            parameters: { properties: { "T-key": { enum: ["T-enum", 4111111111111111] } } },
          },
        },
        { type: "custom", custom: { name: "T-custom", format: { grammar: "T-grammar" } } },
      ],
      functions: [{ name: "T-function", description: "T-legacy" }],
      stop: ["T-stop"],
      metadata: { "T-meta": "T-value" },
      user: "T-user",
      safety_identifier: "T-safety",
      prompt_cache_key: "T-cache",
      response_format: { type: "json_schema", json_schema: { name: "T-schema" } },
      tool_choice: { type: "function", function: { name: "T-choice" } },
      logit_bias: { "50256": -100 },
    });
    const texts = "texts" in result ? result.texts.join("\n") : "";
    const wanted = [
      ..."system part name refusal thought id called arg call result tool description".split(" "),
      ..."key enum custom grammar function legacy stop meta value user safety cache".split(" "),
      ..."schema choice".split(" "),
    ];
    for (const word of wanted) expect(texts).toContain(`T-${word}`);
    expect(texts).toContain("4111111111111111");
  });

  test("names the tools it offers, and one without a name as undefined", () => {
    const tools = [
      { type: "function", function: { name: "a" } },
      { type: "custom", custom: { name: "b" } },
      { type: "function", function: {} },
    ];
    expect(read({ tools, functions: [{ name: "c" }] })).toMatchObject({
      tools: [{ name: "a" }, { name: "b" }, { name: undefined }, { name: "c" }],
    });
  });

  test("may send back a message that came out of an answer", () => {
    const answer = { role: "assistant", content: "x", refusal: null, annotations: [], audio: null };
    expect(messages(answer)).toMatchObject({ unpricedParameter: undefined });
  });
});

describe("a parameter without a price is named", () => {
  test.each([
    [{ store: true }, "store"],
    [{ web_search_options: {} }, "web_search_options"],
    [{ audio: { voice: "x" } }, "audio"],
    [{ modalities: ["text", "audio"] }, "modalities[]"],
    [{ prediction: { type: "content", content: "x" } }, "prediction"],
    [{ service_tier: "priority" }, "service_tier"],
    [{ prompt_cache_retention: "24h" }, "prompt_cache_retention"],
    [{ previous_response_id: "r" }, "previous_response_id"],
    [{ "new thing": 1 }, "new?thing"],
    [{ unknown: null }, "unknown"],
    [{ __proto__x: 1 }, "__proto__x"],
    [{ stream: true, stream_options: { chunk: 1 } }, "stream_options.chunk"],
    [{ tools: [{ type: "web_search" }] }, "tools[].web_search"],
    [{ tools: [{ type: "function", function: { name: "a", cost: 1 } }] }, "tools[].function.cost"],
  ])("%j", (over, name) => {
    expect(read(over as unknown as JsonObject)).toMatchObject({ unpricedParameter: name });
  });

  test.each([
    [{ role: "user", content: [{ type: "image_url", image_url: { url: "u" } }] }, "image_url"],
    [{ role: "user", content: [{ type: "input_audio", input_audio: {} }] }, "input_audio"],
    [{ role: "user", content: [{ type: "file", file: { file_id: "f" } }] }, "file"],
  ])("message %j", (message, type) => {
    const at = `messages[].content[].${type}`;
    expect(messages(message as unknown as JsonObject)).toMatchObject({ unpricedParameter: at });
  });

  test("in a message", () => {
    const spoken = { role: "assistant", audio: { id: "a" } };
    expect(messages(spoken)).toMatchObject({ unpricedParameter: "messages[].audio" });
    const part = { type: "text", text: "x", cache_control: {} };
    const cached = messages({ role: "user", content: [part] });
    expect(cached).toMatchObject({ unpricedParameter: "messages[].content[].cache_control" });
  });

  test("and a price is not owed for what says the default", () => {
    const over = { store: false, service_tier: "auto", modalities: ["text"], logprobs: true };
    expect(read(over)).toMatchObject({ unpricedParameter: undefined });
  });
});

describe("what is no request of this dialect", () => {
  test.each([
    [{ model: 7 }, "model"],
    [{ model: null }, "model"],
    [{ messages: [] }, "messages"],
    [{ messages: "hello" }, "messages"],
    [{ messages: ["hello"] }, "messages[]"],
    [{ messages: [{ content: "x" }] }, "messages[]"],
    [{ messages: [{ role: "user", content: 7 }] }, "messages[].content"],
    [{ n: 0 }, "n"],
    [{ n: 1.5 }, "n"],
    [{ n: 129 }, "n"],
    [{ max_tokens: 0 }, "max_tokens"],
    [{ max_tokens: "100" }, "max_tokens"],
    [{ stream: "true" }, "stream"],
    [{ max_tokens: 5, max_completion_tokens: 6 }, "max_tokens"],
    [{ tools: [{ type: "function", function: { name: 7 } }] }, "tools[].function.name"],
  ])("%j is refused", (over, detail) => {
    const wanted = { missing: "malformed_request", detail };
    expect(read(over as unknown as JsonObject)).toEqual(wanted);
  });

  test("is not one that names the same limit twice", () => {
    expect(read({ max_tokens: 5, max_completion_tokens: 5 })).toMatchObject({ maxOutputTokens: 5 });
  });
});

describe("the body that goes upstream", () => {
  const upstream = (over: JsonObject, maxOutputTokens?: number) =>
    OPENAI_CHAT.upstreamBody(CHAT, { ...BASE, ...over }, { model: "real", maxOutputTokens });

  test("has the provider's name of the model and nothing else changed", () => {
    expect(upstream({ temperature: 1 })).toEqual({ ...BASE, model: "real", temperature: 1 });
  });

  test("asks for usage in a stream, keeping the options it had", () => {
    const options = { include_obfuscation: false };
    expect(upstream({ stream: true, stream_options: options })).toMatchObject({
      stream_options: { include_obfuscation: false, include_usage: true },
    });
    expect(upstream({ stream: false })).not.toHaveProperty("stream_options");
  });

  test("has a set limit where the request had its own", () => {
    expect(upstream({ max_tokens: 9 }, 5)).toEqual({ ...BASE, model: "real", max_tokens: 5 });
    const both = upstream({ max_tokens: 9, max_completion_tokens: 9 }, 5);
    expect(both).toMatchObject({ max_tokens: 5, max_completion_tokens: 5 });
    expect(upstream({}, 5)).toEqual({ ...BASE, model: "real", max_completion_tokens: 5 });
    expect(upstream({ max_tokens: null }, 5)).toMatchObject({ max_completion_tokens: 5 });
  });
});

const CHUNK = { id: "c", object: "chat.completion.chunk", created: 1, model: "m" };

function chunk(...choices: JsonObject[]): string {
  return JSON.stringify({ ...CHUNK, choices });
}

function delta(content: JsonObject, index = 0): JsonObject {
  return { index, delta: content, finish_reason: null };
}

describe("a stream", () => {
  test("says its texts by choice and kind, tool arguments included", () => {
    const reader = OPENAI_CHAT.streamReader(false);
    const first = reader.frame(undefined, chunk(delta({ role: "assistant", content: "" })));
    expect(first).toMatchObject({ texts: [], last: false });
    const second = chunk(delta({ content: "a" }), delta({ content: "b", refusal: "c" }, 1));
    expect(reader.frame(undefined, second)).toMatchObject({
      texts: ["a", "b", "c"],
      pieces: [
        { channel: "0.content", group: "0" },
        { channel: "1.content", group: "1" },
        { channel: "1.refusal", group: "1" },
      ],
    });
    const thought = reader.frame(undefined, chunk(delta({ reasoning_content: "t", new: ["u"] })));
    expect(thought).toMatchObject({ texts: ["t", "u"] });
  });

  test("names a tool before its arguments", () => {
    const reader = OPENAI_CHAT.streamReader(false);
    const open = { index: 0, id: "i", type: "function", function: { name: "look", arguments: "" } };
    const opened = reader.frame(undefined, chunk(delta({ tool_calls: [open] })));
    expect(opened).toMatchObject({ toolNames: ["look"], texts: ["look"] });
    const more = { index: 0, function: { arguments: '{"a":' } };
    const went = reader.frame(undefined, chunk(delta({ tool_calls: [more] })));
    expect(went).toMatchObject({ toolNames: [], texts: ['{"a":'] });
  });

  test("names a tool whose name comes in pieces when the arguments begin, or at the end", () => {
    const reader = OPENAI_CHAT.streamReader(false);
    const call = (index: number, called: JsonObject) =>
      reader.frame(undefined, chunk(delta({ tool_calls: [{ index, function: called }] })));
    expect(call(0, { name: "lo" })).toMatchObject({ toolNames: [] });
    expect(call(0, { name: "ok" })).toMatchObject({ toolNames: [] });
    // Clients join the pieces or keep the last one.
    expect(call(0, { arguments: "{" })).toMatchObject({
      toolNames: ["look", "ok"],
      texts: ["{"],
    });
    expect(call(0, { name: "more" })).toBeUndefined();
    call(1, { name: "end" });
    const done = { index: 0, delta: {}, finish_reason: "tool_calls" };
    expect(reader.frame(undefined, chunk(done))).toMatchObject({
      toolNames: ["end"],
      endedGroups: ["0"],
    });
  });

  test("names a tool that has neither arguments nor a finish when the stream says its end", () => {
    const reader = OPENAI_CHAT.streamReader(false);
    const call = { index: 0, id: "i", type: "function", function: { name: "evil" } };
    reader.frame(undefined, chunk(delta({ tool_calls: [call] })));
    expect(reader.frame(undefined, "[DONE]")).toMatchObject({ toolNames: ["evil"], last: true });
  });

  test("with two calls in one, or two arguments in one call, cannot be read", () => {
    const called = { name: "look", arguments: "{}" };
    const twice = { index: 0, function: called, custom: { name: "evil", input: "x" } };
    const argued = { index: 0, function: { ...called, input: "x" } };
    for (const call of [twice, argued]) {
      const reader = OPENAI_CHAT.streamReader(false);
      expect(reader.frame(undefined, chunk(delta({ tool_calls: [call] })))).toBeUndefined();
    }
  });

  test("with arguments but no name cannot be read", () => {
    const reader = OPENAI_CHAT.streamReader(false);
    const call = { index: 0, function: { arguments: "{}" } };
    expect(reader.frame(undefined, chunk(delta({ tool_calls: [call] })))).toBeUndefined();
  });

  test("names a function and a custom tool likewise", () => {
    const reader = OPENAI_CHAT.streamReader(false);
    const legacy = delta({ function_call: { name: "old", arguments: "x" } });
    const custom = delta({ tool_calls: [{ index: 0, custom: { name: "new", input: "y" } }] });
    expect(reader.frame(undefined, chunk(legacy))).toMatchObject({
      toolNames: ["old"],
      texts: ["old", "x"],
    });
    expect(reader.frame(undefined, chunk(custom))).toMatchObject({
      toolNames: ["new"],
      texts: ["new", "y"],
    });
  });

  test("has an extra frame for usage, which is ours when the client did not ask", () => {
    const usage = {
      prompt_tokens: 100,
      completion_tokens: 7,
      prompt_tokens_details: { cached_tokens: 60, cache_write_tokens: 10 },
    };
    const frame = JSON.stringify({ ...CHUNK, choices: [], usage });
    const counts = {
      inputTokens: 30,
      cachedInputTokens: 60,
      cacheWriteTokens: 10,
      outputTokens: 7,
    };
    const wanted = { usage: counts, ours: false };
    expect(OPENAI_CHAT.streamReader(true).frame(undefined, frame)).toMatchObject(wanted);
    expect(OPENAI_CHAT.streamReader(false).frame(undefined, frame)).toMatchObject({ ours: true });
    const mixed = JSON.stringify({ ...CHUNK, choices: [delta({ content: "x" })], usage });
    expect(OPENAI_CHAT.streamReader(false).frame(undefined, mixed)).toMatchObject(wanted);
  });

  test("ends with [DONE], and with an error where the provider failed", () => {
    const reader = OPENAI_CHAT.streamReader(false);
    expect(reader.frame(undefined, "[DONE]")).toMatchObject({ last: true, failed: false });
    expect(reader.frame(undefined, '{"error":{"message":"x"}}')).toMatchObject({ failed: true });
  });

  test("scans what it does not know beside the texts", () => {
    const frame = JSON.stringify({ ...CHUNK, choices: [], extra: { note: "hidden" } });
    const part = OPENAI_CHAT.streamReader(false).frame(undefined, frame);
    expect(part?.aside).toEqual(["c", "m", "extra", "note", "hidden"]);
  });

  test.each([
    ["not JSON"],
    ["[]"],
    ["{}"],
    ['{"choices":{}}'],
    ['{"choices":[1]}'],
    ['{"choices":[],"choices":[]}'],
    ['{"choices":[{"delta":"x"}]}'],
    ['{"choices":[{"index":-1,"delta":{}}]}'],
    ['{"choices":[{"message":{"content":"x"}}]}'],
    ['{"choices":[{"delta":{"tool_calls":{}}}]}'],
    ['{"choices":[{"delta":{"tool_calls":[{"function":"x"}]}}]}'],
  ])("with the frame %s cannot be read", (data) => {
    expect(OPENAI_CHAT.streamReader(false).frame(undefined, data)).toBeUndefined();
  });
});

describe("a whole answer", () => {
  test("says its texts, its tools and its usage", () => {
    const call = { id: "i", type: "function", function: { name: "look", arguments: '{"q":1}' } };
    const message = { role: "assistant", content: "hello", tool_calls: [call], refusal: null };
    const answer = {
      id: "c",
      choices: [{ index: 0, message, finish_reason: "stop" }],
      usage: { prompt_tokens: 3, completion_tokens: 2 },
    };
    expect(OPENAI_CHAT.readAnswer(answer)).toMatchObject({
      texts: ["hello", "look", '{"q":1}'],
      toolNames: ["look"],
      usage: { inputTokens: 3, cachedInputTokens: 0, cacheWriteTokens: 0, outputTokens: 2 },
    });
  });

  test.each([[null], [[]], [{}], [{ choices: [{}] }], [{ choices: [{ message: 1 }] }]])(
    "cannot be read from %j",
    (answer) => {
      expect(OPENAI_CHAT.readAnswer(answer as unknown as JsonObject)).toBeUndefined();
    },
  );

  test("names each of its calls, whatever numbers they bear", () => {
    const call = (name: string) => ({ index: 0, id: name, type: "function", function: { name } });
    const message = {
      role: "assistant",
      content: null,
      tool_calls: [call("mcp/gh/"), call("evil")],
    };
    const answer = { choices: [{ index: 0, message, finish_reason: "tool_calls" }] };
    expect(OPENAI_CHAT.readAnswer(answer)).toMatchObject({ toolNames: ["mcp/gh/", "evil"] });
  });

  test.each([
    { prompt_tokens: -1, completion_tokens: 2 },
    { prompt_tokens: 1 },
    { completion_tokens: 2, prompt_tokens: null },
    { total_tokens: 3 },
    {},
  ])("reports no usage that does not count both, so that the hold is charged: %o", (usage) => {
    expect(OPENAI_CHAT.readAnswer({ choices: [], usage })).toMatchObject({ usage: undefined });
  });
});

test("the model list has an entry for each model", () => {
  expect(OPENAI_CHAT.modelList([{ name: "m", provider: "p" }])).toEqual({
    object: "list",
    data: [{ id: "m", object: "model", created: 0, owned_by: "p" }],
  });
});
