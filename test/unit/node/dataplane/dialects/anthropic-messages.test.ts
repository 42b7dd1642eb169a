import { describe, expect, test } from "vitest";
import { ANTHROPIC_MESSAGES } from "../../../../../node/dataplane/dialects/anthropic-messages.ts";
import type { JsonObject } from "../../../../../node/dataplane/dialects/dialect.ts";

const [MESSAGES] = ANTHROPIC_MESSAGES.routes as [(typeof ANTHROPIC_MESSAGES.routes)[number]];

const BASE: JsonObject = {
  model: "m",
  max_tokens: 50,
  messages: [{ role: "user", content: "hello" }],
};

function read(over: JsonObject) {
  return ANTHROPIC_MESSAGES.read(MESSAGES, { ...BASE, ...over });
}

function content(...blocks: JsonObject[]) {
  return read({ messages: [{ role: "user", content: blocks }] });
}

describe("a request", () => {
  test("is read in neutral words", () => {
    expect(read({ stream: true, tools: [{ name: "look", input_schema: {} }] })).toMatchObject({
      model: "m",
      stream: true,
      tools: [{ name: "look" }],
      messages: 1,
      maxOutputTokens: 50,
      choices: 1,
      unpricedParameter: undefined,
      wantsUsage: true,
    });
  });

  test("gives every text that somebody wrote to be scanned", () => {
    const cached = { type: "ephemeral" };
    const result = read({
      system: [{ type: "text", text: "T-system", cache_control: cached }],
      messages: [
        { role: "user", content: "T-plain" },
        {
          role: "assistant",
          content: [
            { type: "thinking", thinking: "T-thought", signature: "T-signature" },
            { type: "redacted_thinking", data: "T-redacted" },
            { type: "tool_use", id: "T-id", name: "T-called", input: { "T-key": ["T-value", 42] } },
          ],
        },
        {
          role: "user",
          content: [
            {
              type: "tool_result",
              tool_use_id: "T-use",
              content: [{ type: "text", text: "T-result" }],
            },
            { type: "tool_result", tool_use_id: "u", content: "T-short" },
            {
              type: "document",
              source: { type: "text", media_type: "text/plain", data: "T-file" },
            },
            { type: "search_result", source: "T-source", title: "T-title", content: [] },
          ],
        },
      ],
      tools: [{ name: "T-tool", description: "T-description", input_schema: { "T-schema": true } }],
      stop_sequences: ["T-stop"],
      metadata: { user_id: "T-user" },
    });
    const texts = "texts" in result ? result.texts.join("\n") : "";
    const wanted = [
      ..."system plain thought signature redacted id called key value use result short".split(" "),
      ..."file source title tool description schema stop user".split(" "),
    ];
    for (const word of wanted) expect(texts).toContain(`T-${word}`);
    expect(texts).toContain("42");
    expect(result).toMatchObject({ unpricedParameter: undefined });
  });
});

describe("a parameter without a price is named", () => {
  test.each([
    [{ container: "c" }, "container"],
    [{ mcp_servers: [] }, "mcp_servers"],
    [{ inference_geo: "us" }, "inference_geo"],
    [{ speed: "fast" }, "speed"],
    [{ service_tier: "priority" }, "service_tier"],
    [{ context_management: {} }, "context_management"],
    [{ cache_control: { type: "ephemeral", ttl: "1h" } }, "cache_control.ttl"],
    [{ tools: [{ type: "web_search_20250305", name: "w" }] }, "tools[].web_search_20250305"],
    [{ tools: [{ type: "bash_20250124", name: "bash" }] }, "tools[].bash_20250124"],
    [{ tools: [{ name: "a", defer_loading: true }] }, "tools[].defer_loading"],
    [{ system: [{ type: "image" }] }, "system[].image"],
    [{ messages: [{ role: "system", content: "x" }] }, "messages[].role"],
  ])("%j", (over, name) => {
    expect(read(over as unknown as JsonObject)).toMatchObject({ unpricedParameter: name });
  });

  test.each([
    [{ type: "image", source: { type: "url", url: "u" } }, "image"],
    [{ type: "container_upload", file_id: "f" }, "container_upload"],
    [{ type: "server_tool_use", name: "web_search", id: "i", input: {} }, "server_tool_use"],
    [{ type: "document", source: { type: "url", url: "u" } }, "source"],
    [{ type: "document", source: { type: "file", file_id: "f" } }, "source"],
  ])("block %j", (block, name) => {
    const at = `messages[].content[].${name}`;
    expect(content(block as unknown as JsonObject)).toMatchObject({ unpricedParameter: at });
  });

  test("in a tool's result", () => {
    const image = { type: "image", source: {} };
    const result = content({ type: "tool_result", tool_use_id: "t", content: [image] });
    const at = "messages[].content[].content[].image";
    expect(result).toMatchObject({ unpricedParameter: at });
  });
});

test.each([
  [{ model: 7 }, "model"],
  [{ messages: [] }, "messages"],
  [{ messages: [{ role: "user", content: 7 }] }, "messages[].content"],
  [{ messages: [{ role: "user", content: [{ text: "x" }] }] }, "messages[].content[]"],
  [{ max_tokens: -1 }, "max_tokens"],
  [{ max_tokens: 1.5 }, "max_tokens"],
  [{ stream: 1 }, "stream"],
  [{ tools: {} }, "tools"],
])("%j is no request of this dialect", (over, detail) => {
  const wanted = { missing: "malformed_request", detail };
  expect(read(over as unknown as JsonObject)).toEqual(wanted);
});

test("the body that goes upstream has the provider's model name and a set limit", () => {
  const body = { ...BASE, stream: true };
  const none = { model: "real", maxOutputTokens: undefined };
  expect(ANTHROPIC_MESSAGES.upstreamBody(MESSAGES, body, none)).toEqual({ ...body, model: "real" });
  const some = { model: "real", maxOutputTokens: 7 };
  const set = ANTHROPIC_MESSAGES.upstreamBody(MESSAGES, body, some);
  expect(set).toEqual({ ...body, model: "real", max_tokens: 7 });
});

describe("a stream", () => {
  const frame = (event: JsonObject) =>
    ANTHROPIC_MESSAGES.streamReader(true).frame(event.type as string, JSON.stringify(event));

  test("begins with usage, of which the end tells the rest", () => {
    const usage = { input_tokens: 9, cache_read_input_tokens: 3, cache_creation_input_tokens: 2 };
    const message = { type: "message", content: [], usage: { ...usage, output_tokens: 1 } };
    expect(frame({ type: "message_start", message })).toMatchObject({
      usage: { inputTokens: 9, cachedInputTokens: 3, cacheWriteTokens: 2, outputTokens: 1 },
    });
    const end = { type: "message_delta", delta: { stop_reason: "end_turn" } };
    expect(frame({ ...end, usage: { output_tokens: 40 } })).toMatchObject({
      usage: { inputTokens: 0, outputTokens: 40 },
    });
    expect(frame({ type: "message_stop" })).toMatchObject({ last: true });
  });

  test("says text, thoughts and tool input by block", () => {
    const said = (delta: JsonObject) => frame({ type: "content_block_delta", index: 2, delta });
    expect(said({ type: "text_delta", text: "a" })).toMatchObject({
      pieces: [{ channel: "2.text", group: "2", text: "a" }],
    });
    expect(said({ type: "thinking_delta", thinking: "b" })).toMatchObject({ texts: ["b"] });
    expect(said({ type: "input_json_delta", partial_json: "{" })).toMatchObject({ texts: ["{"] });
    expect(said({ type: "signature_delta", signature: "s" })).toMatchObject({ texts: [] });
    expect(said({ type: "new_delta", words: { more: "c" } })).toMatchObject({
      pieces: [{ channel: "2.new_delta.words.more", text: "c" }],
    });
    const cited = said({ type: "citations_delta", citation: { cited_text: "d" } });
    expect(cited?.aside).toContain("d");
    expect(frame({ type: "content_block_stop", index: 2 })).toMatchObject({ endedGroups: ["2"] });
  });

  test("names every kind of tool when its block begins", () => {
    for (const type of ["tool_use", "server_tool_use", "mcp_tool_use"]) {
      const block = { type, id: "i", name: "look", input: {} };
      const part = frame({ type: "content_block_start", index: 0, content_block: block });
      expect(part).toMatchObject({ toolNames: ["look"] });
    }
    const nameless = { type: "tool_use", id: "i", input: {} };
    const part = frame({ type: "content_block_start", index: 0, content_block: nameless });
    expect(part).toBeUndefined();
  });

  test("scans a block that brings its content at once, and kinds that are not known", () => {
    const block = { type: "web_search_tool_result", content: [{ title: "hidden" }] };
    const part = frame({ type: "content_block_start", index: 0, content_block: block });
    expect(part?.aside).toContain("hidden");
    expect(frame({ type: "later_kind", note: "also" })?.aside).toContain("also");
  });

  test.each([
    ["text_delta", "text"],
    ["thinking_delta", "thinking"],
    ["input_json_delta", "partial_json"],
    ["signature_delta", "signature"],
    ["citations_delta", "citation"],
  ])("scans an event that is called as a delta is: %s", (type, member) => {
    expect(frame({ type, [member]: "hidden" })?.aside).toContain("hidden");
  });

  test("scans what members of a block are called", () => {
    const block = { type: "text", text: "", hidden: 1 };
    const part = frame({ type: "content_block_start", index: 0, content_block: block });
    expect(part?.aside).toContain("hidden");
  });

  test("is not read where its two names differ, or where content is in the wrong place", () => {
    const reader = ANTHROPIC_MESSAGES.streamReader(true);
    expect(reader.frame("ping", '{"type":"message_stop"}')).toBeUndefined();
    expect(reader.frame(undefined, '{"type":"message_stop"}')).toMatchObject({ last: true });
    const message = { type: "message", content: [{ type: "text", text: "x" }] };
    expect(frame({ type: "message_start", message })).toBeUndefined();
  });

  test.each([
    ["{"],
    ["[]"],
    ['{"type":7}'],
    ['{"type":"content_block_delta","index":0,"delta":{"type":"text_delta"}}'],
    ['{"type":"content_block_delta","delta":{"type":"text_delta","text":"x"}}'],
    ['{"type":"content_block_start","index":0}'],
    ['{"type":"content_block_start","index":0,"content_block":{"type":"text","text":7}}'],
    ['{"type":"ping","type":"ping"}'],
  ])("with the frame %s cannot be read", (data) => {
    expect(ANTHROPIC_MESSAGES.streamReader(true).frame(undefined, data)).toBeUndefined();
  });
});

describe("a whole answer", () => {
  test.each([{ input_tokens: 3 }, { output_tokens: 3 }, {}])(
    "reports no usage that does not count both, so that the hold is charged: %o",
    (usage) => {
      const message = { type: "message", content: [], usage };
      expect(ANTHROPIC_MESSAGES.readAnswer(message)).toMatchObject({ usage: undefined });
    },
  );

  test("says its texts, its tools and its usage", () => {
    const answer = {
      type: "message",
      content: [
        { type: "thinking", thinking: "t", signature: "s" },
        { type: "text", text: "hello" },
        { type: "tool_use", id: "i", name: "look", input: { q: "deep" } },
      ],
      usage: { input_tokens: 3, output_tokens: 2 },
    };
    const part = ANTHROPIC_MESSAGES.readAnswer(answer);
    expect(part).toMatchObject({
      texts: ["t", "hello", "look"],
      toolNames: ["look"],
      usage: { inputTokens: 3, outputTokens: 2 },
    });
    expect(part?.aside).toContain("deep");
  });

  test.each([[{}], [{ type: "message" }], [{ type: "error", content: [] }]])(
    "cannot be read from %j",
    (answer) => {
      expect(ANTHROPIC_MESSAGES.readAnswer(answer as unknown as JsonObject)).toBeUndefined();
    },
  );
});

test("the model list has an entry for each model, and says that there is no more", () => {
  const list = ANTHROPIC_MESSAGES.modelList([
    { name: "a", provider: "p" },
    { name: "b", provider: "p" },
  ]);
  expect(list).toMatchObject({
    data: [{ type: "model", id: "a" }, { id: "b" }],
    has_more: false,
    first_id: "a",
    last_id: "b",
  });
  expect(ANTHROPIC_MESSAGES.modelList([])).toMatchObject({ data: [], first_id: null });
});
