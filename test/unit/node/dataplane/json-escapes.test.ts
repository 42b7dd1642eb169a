import { describe, expect, test } from "vitest";
import type { RelayInput } from "../../../../node/dataplane/client-leg.ts";
import { findRoute } from "../../../../node/dataplane/dialects/registry.ts";
import { JsonEscapes, withoutEscapes } from "../../../../node/dataplane/json-escapes.ts";
import { CALL_STREAMS, RESPONSES_CALL } from "./call-streams.ts";
import { EVENT_STREAM, relay } from "./relay-fixture.ts";

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

describe.each(CALL_STREAMS)(
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
  ["openai-responses", { output: [{ ...RESPONSES_CALL, arguments: HIDDEN }] }],
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
