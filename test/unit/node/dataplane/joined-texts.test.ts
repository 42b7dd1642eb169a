import { describe, expect, test } from "vitest";
import type { RelayInput } from "../../../../node/dataplane/client-leg.ts";
import {
  answerRules,
  contentRule,
  dataFrame,
  EVENT_STREAM,
  namedFrame,
  type Relayed,
  relay,
} from "./relay-fixture.ts";

// Texts of one answer that clients put together are scanned as the one text that they make of them.

type Name = "openai-responses" | "anthropic";

function run(
  name: Name | "mcp" | "openai",
  frames: readonly string[],
  over: Partial<RelayInput> = {},
): Relayed {
  const relayed = relay(name, over);
  relayed.sink.onHead(200, EVENT_STREAM);
  for (const frame of frames) relayed.sink.onData(Buffer.from(frame));
  return relayed;
}

const text = (item: number, part: number, delta: string) =>
  namedFrame({
    type: "response.output_text.delta",
    item_id: `i${item}`,
    output_index: item,
    content_index: part,
    delta,
  });

const block = (index: number, said: string) =>
  namedFrame({
    type: "content_block_delta",
    index,
    delta: { type: "text_delta", text: said },
  });

const callOpened = namedFrame({
  type: "response.output_item.added",
  output_index: 1,
  item: { type: "function_call", id: "f", call_id: "c", name: "look", arguments: "" },
});
const callPiece = namedFrame({
  type: "response.function_call_arguments.delta",
  item_id: "f",
  output_index: 1,
  delta: '{"a":1}',
});
const toolUse = namedFrame({
  type: "content_block_start",
  index: 1,
  content_block: { type: "tool_use", id: "t", name: "look", input: {} },
});

/** What says a text: of which part of the answer, and what. */
const SAY: Readonly<Record<Name, (place: number, said: string) => string>> = {
  "openai-responses": (place, said) => text(Math.floor(place / 2), place % 2, said),
  anthropic: block,
};
const CALL: Readonly<Record<Name, readonly string[]>> = {
  "openai-responses": [callOpened, callPiece],
  anthropic: [toolUse],
};
/** What ends the first text. */
const END: Readonly<Record<Name, string>> = {
  "openai-responses": namedFrame({
    type: "response.output_item.done",
    output_index: 0,
    item: { type: "message", id: "i0", content: [] },
  }),
  anthropic: namedFrame({ type: "content_block_stop", index: 0 }),
};
/** What begins beside a call that the client is to make, and may take minutes before it says anything. */
const BEGUN: Readonly<Record<Name, readonly object[]>> = {
  "openai-responses": [{ type: "web_search_call" }, { type: "reasoning", summary: [] }],
  anthropic: [{ type: "redacted_thinking" }, { type: "thinking", thinking: "" }],
};
const begun: Readonly<Record<Name, (what: object) => string>> = {
  "openai-responses": (item) =>
    namedFrame({ type: "response.output_item.added", output_index: 1, item }),
  anthropic: (block) => namedFrame({ type: "content_block_start", index: 1, content_block: block }),
};

describe.each(["openai-responses", "anthropic"] as const)("a stream of %s", (name) => {
  const say = SAY[name];

  test("is cut at a match across two of its texts, of which not one byte was written", () => {
    const frames = [say(0, "it is "), say(0, "S-1"), say(1, "23"), say(2, "456 and more")];
    const { exchange, outcomes } = run(name, frames);
    expect(outcomes).toMatchObject([{ kind: "cut", reason: "content_cut", rule: "secret" }]);
    expect(exchange.written).toBe(frames[0]);
  });

  test("is cut at one with a call in its midst, before it is whole", () => {
    const frames = [say(0, "S-123"), ...CALL[name], say(4, "456")];
    const { exchange, outcomes } = run(name, frames);
    expect(outcomes).toMatchObject([{ reason: "content_cut" }]);
    expect(exchange.written).not.toContain("456");
  });

  test("holds up no call for a text that may have begun a match", () => {
    const frames = [say(0, "S-123"), END[name], ...CALL[name]];
    const { exchange, outcomes } = run(name, frames);
    expect(exchange.written).toBe(frames.join(""));
    expect(outcomes).toEqual([]);
  });

  test("holds up nothing else that begins, either", () => {
    for (const what of BEGUN[name]) {
      const frames = [say(0, "S-123"), END[name], begun[name](what)];
      expect(run(name, frames).exchange.written).toBe(frames.join(""));
    }
  });

  test("keeps a text that has not ended, whatever is said in its midst", () => {
    const { exchange, outcomes } = run(name, [say(0, "S-123"), ...CALL[name], say(0, "456")]);
    expect(outcomes).toMatchObject([{ reason: "content_cut" }]);
    expect(exchange.written).toBe("");
  });

  test("is cut at a match within each of its texts, whatever stands before", () => {
    const word = answerRules([contentRule({ pattern: "\\bS-[0-9]{6}" })]);
    const second = run(name, [say(0, "x"), say(1, "S-123456.")], { rules: word });
    expect(second.outcomes).toMatchObject([{ reason: "content_cut" }]);
    const end = answerRules([contentRule({ pattern: "end$" })]);
    const first = run(name, [say(0, "the end"), say(1, "less")], { rules: end });
    expect(first.outcomes).toMatchObject([{ reason: "content_cut" }]);
    expect(first.exchange.written).toBe("");
  });

  test("shows no credential across them", () => {
    const { exchange, outcomes } = run(name, [say(0, "provide"), say(1, "r-key")], {
      secret: "provider-key",
    });
    expect(outcomes).toMatchObject([{ reason: "credential_in_response" }]);
    expect(exchange.written).toBe("");
  });

  test("whose texts do not come one after the other cannot be read", () => {
    const { exchange, outcomes } = run(name, [say(0, "S-12"), say(1, "x"), say(0, "3456")]);
    expect(outcomes).toMatchObject([{ reason: "response_unscannable" }]);
    expect(exchange.written).not.toContain("3456");
  });

  test("passes, text after text, when it is clean", () => {
    const frames = [say(0, "one "), say(1, "two "), say(1, "three "), say(2, "four "), say(5, "S")];
    const relayed = run(name, frames.slice(0, -1));
    expect(relayed.exchange.written).toBe(frames.slice(0, -1).join(""));
    relayed.sink.onData(Buffer.from(frames[4] as string));
    expect(relayed.outcomes).toEqual([]);
  });
});

const message = (...texts: string[]) => ({
  type: "message",
  role: "assistant",
  content: texts.map((one) => ({ type: "output_text", text: one, annotations: [] })),
});

const parts = (...texts: string[]) => texts.map((one) => ({ type: "text", text: one }));
const spoken = (content: unknown) => dataFrame({ choices: [{ index: 0, delta: { content } }] });

test.each<[string, readonly unknown[]]>([
  ["in one event", [parts("a S-12", "3456")]],
  ["in several", [parts("a", " S-12"), parts("34"), parts("5", "6")]],
  [
    "in thoughts",
    [[{ type: "thinking", thinking: parts("a S-12", "34") }], [{ thinking: parts("56") }]],
  ],
  ["as texts alone", [["a S-1"], ["2345"], "6"]],
])("what a chat's content says in parts is one text, %s", (_what, contents) => {
  const { exchange, outcomes } = run("openai", contents.map(spoken));
  expect(outcomes).toMatchObject([{ reason: "content_cut", rule: "secret" }]);
  expect(exchange.written).not.toContain("S-1");
});

test("a chat's content in parts passes as it came", () => {
  const frame = spoken([{ type: "thinking", thinking: parts("well") }, ...parts("a ", "b")]);
  const { exchange } = run("openai", [frame, spoken(null), dataFrame({ choices: [] })]);
  expect(exchange.written.startsWith(frame)).toBe(true);
});

test.each<[string, Name | "mcp" | "openai", object]>([
  ["parts of a chat", "openai", { choices: [{ message: { content: parts("a S-12", "3456") } }] }],
  ["parts of a message", "openai-responses", { output: [message("a S-12", "3456")] }],
  ["messages", "openai-responses", { output: [message("a S-12"), message("3456")] }],
  [
    "blocks",
    "anthropic",
    {
      type: "message",
      content: [
        { type: "text", text: "S-12" },
        { type: "text", text: "3456" },
      ],
    },
  ],
  [
    "parts of a result",
    "mcp",
    {
      jsonrpc: "2.0",
      id: 1,
      result: {
        content: [
          { type: "text", text: "S-12" },
          { type: "text", text: "3456" },
        ],
      },
    },
  ],
])("a whole answer is refused for a match across its texts: %s", (_what, name, answer) => {
  const { sink, outcomes } = relay(name, { stream: false });
  sink.onHead(200, ["content-type", "application/json"]);
  sink.onData(Buffer.from(JSON.stringify(answer)));
  sink.onEnd();
  expect(outcomes).toMatchObject([{ reason: "content_cut", rule: "secret" }]);
});

test("a streamed response is refused for a match in the order of its last event", () => {
  const frames = [text(0, 1, "3456"), text(1, 0, "x ")];
  const response = { output: [message("S-12", "3456"), message("x ")] };
  const last = namedFrame({ type: "response.completed", response });
  const { exchange, outcomes } = run("openai-responses", [...frames, last]);
  expect(outcomes).toMatchObject([{ reason: "content_cut" }]);
  expect(exchange.written).toBe(frames.join(""));
});

test("a result of a tool is refused for a match across its parts in a stream as well", () => {
  const content = ["S-12", "3456"].map((one) => ({ type: "text", text: one }));
  const { outcomes } = run("mcp", [dataFrame({ jsonrpc: "2.0", id: 1, result: { content } })]);
  expect(outcomes).toMatchObject([{ reason: "content_cut" }]);
});
