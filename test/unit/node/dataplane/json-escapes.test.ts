import { describe, expect, test } from "vitest";
import type { RelayInput } from "../../../../node/dataplane/client-leg.ts";
import type { RelayDialect } from "../../../../node/dataplane/dialects/answer-part.ts";
import { findRoute } from "../../../../node/dataplane/dialects/registry.ts";
import { JsonEscapes, withoutEscapes } from "../../../../node/dataplane/json-escapes.ts";
import { dataFrame, EVENT_STREAM, namedFrame, relay } from "./relay-fixture.ts";

const r = String.raw;

test.each([
  [r`a\u0053b`, "aSb"],
  [r`\\u0053`, r`\u0053`],
  [r`\\\u0041`, r`\A`],
  [r`x\ud83d\ude00y`, "x😀y"],
  [r`\n\t\b\f\r\"\/`, '\n\t\b\f\r"/'],
  [r`\q\u12`, r`\q\u12`],
  ["plain", "plain"],
])("%s is read as %j, however it is cut", (written, read) => {
  expect(withoutEscapes(written)).toBe(read);
  for (let one = 0; one <= written.length; one++) {
    for (let two = one; two <= written.length; two++) {
      const escapes = new JsonEscapes();
      const pieces = [written.slice(0, one), written.slice(one, two), written.slice(two)];
      const got = pieces.map((piece) => escapes.push(piece)).join("");
      // What is not complete is kept, and nothing else.
      expect(escapes.isMid ? read.startsWith(got) : got === read).toBe(true);
    }
  }
});

/** A match that no client sees before it has parsed the arguments. */
const HIDDEN = r`{"q":"\u0053-12345\u0036"}`;

const chunk = (delta: object, finish_reason: string | null = null) =>
  dataFrame({ choices: [{ index: 0, delta, finish_reason }] });
const chat = (text: string) => chunk({ tool_calls: [{ index: 0, function: { arguments: text } }] });
const block = { type: "tool_use", id: "x", name: "t", input: {} };
const call = { type: "function_call", id: "fc", call_id: "x", name: "t" };

const STREAMS: readonly {
  readonly name: RelayDialect["name"];
  readonly open: string;
  readonly piece: (text: string) => string;
}[] = [
  {
    name: "openai",
    open: chunk({ tool_calls: [{ index: 0, function: { name: "t", arguments: "" } }] }),
    piece: chat,
  },
  {
    name: "openai-responses",
    open: namedFrame({
      type: "response.output_item.added",
      ...{ output_index: 0, item: { ...call, arguments: "" } },
    }),
    piece: (delta) =>
      namedFrame({ type: "response.function_call_arguments.delta", output_index: 0, delta }),
  },
  {
    name: "anthropic",
    open: namedFrame({ type: "content_block_start", index: 0, content_block: block }),
    piece: (partial_json) =>
      namedFrame({
        type: "content_block_delta",
        index: 0,
        delta: { type: "input_json_delta", partial_json },
      }),
  },
];

describe.each(STREAMS)(
  "a match behind escapes in a call's arguments, in $name",
  ({ name, ...of }) => {
    test("is cut in a stream, and not one byte of it was seen, wherever it is cut", () => {
      for (let at = 1; at < HIDDEN.length; at++) {
        const { exchange, sink, outcomes } = relay(name);
        sink.onHead(200, EVENT_STREAM);
        const frames = [of.open, of.piece(HIDDEN.slice(0, at)), of.piece(HIDDEN.slice(at))];
        for (const frame of frames) sink.onData(Buffer.from(frame));
        expect(outcomes).toMatchObject([{ reason: "content_cut", rule: "secret" }]);
        const begins = HIDDEN.indexOf("\\");
        expect(exchange.written.includes(of.piece(HIDDEN.slice(0, at)))).toBe(at <= begins);
      }
    });

    test("and what only looks like one passes", () => {
      const { exchange, sink, outcomes } = relay(name);
      sink.onHead(200, EVENT_STREAM);
      const frames = [of.open, of.piece(r`{"q":"\\u0053-12345`), of.piece("x")];
      for (const frame of frames) sink.onData(Buffer.from(frame));
      expect(outcomes).toEqual([]);
      expect(exchange.written).toBe(frames.join(""));
    });
  },
);

test.each([
  [
    "openai",
    { choices: [{ message: { tool_calls: [{ function: { name: "t", arguments: HIDDEN } }] } }] },
  ],
  ["openai-responses", { output: [{ ...call, arguments: HIDDEN }] }],
] as const)("it is refused in a whole answer too, in %s", (name, body) => {
  const whole: Partial<RelayInput> = { stream: false };
  const { sink, outcomes } = relay(name, whole);
  sink.onHead(200, ["content-type", "application/json"]);
  sink.onData(Buffer.from(JSON.stringify(body)));
  sink.onEnd();
  expect(outcomes).toMatchObject([{ reason: "content_cut" }]);
});

test("what a model said before is scanned so in a request", () => {
  const message = {
    role: "assistant",
    content: null,
    tool_calls: [{ id: "x", type: "function", function: { name: "t", arguments: HIDDEN } }],
  };
  const item = { type: "function_call", call_id: "x", name: "t", arguments: HIDDEN };
  for (const [path, body] of [
    ["/v1/chat/completions", { model: "m", messages: [message] }],
    ["/v1/responses", { model: "m", input: [item] }],
  ] as const) {
    const found = findRoute("POST", path, []);
    if ("missing" in found) throw new Error(found.missing);
    const read = found.dialect.read(found.route, body as never);
    expect("texts" in read && read.texts.some((text) => text.includes("S-123456"))).toBe(true);
  }
});
