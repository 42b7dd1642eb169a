import { expect, test } from "vitest";
import type { Relayed } from "./relay-fixture.ts";
import { dataFrame, EVENT_STREAM, namedFrame, relay, streamOf } from "./relay-fixture.ts";

/** The relay of some frames before the rest of a stream. */
function relayed(name: "openai" | "anthropic", first: string): Relayed {
  const all = relay(name);
  all.sink.onHead(200, EVENT_STREAM);
  for (const frame of [first, ...streamOf(name, ["hi"])]) all.sink.onData(Buffer.from(frame));
  all.sink.onEnd();
  return all;
}

function expectRefused({ exchange, outcomes }: Relayed): void {
  expect(outcomes).toMatchObject([{ reason: "response_unscannable" }]);
  expect(exchange.written).not.toContain("forbidden");
}

const called = { name: "forbidden", arguments: "{}" };
const delta = { tool_calls: [{ index: 0, id: "c", type: "function", function: called }] };
const CALL = JSON.stringify({ choices: [{ index: 0, delta }] });

/** As `str.splitlines` of Python has them beside those of the format, by which httpx reads streams. */
const OTHER_ENDS = ["\v", "\f", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029"];

test.each(OTHER_ENDS)("no event stands in a comment behind the line end %j", (end) => {
  expectRefused(relayed("openai", `: note${end}data: ${CALL}${end}${end}\n\n`));
});

test.each(OTHER_ENDS)("no event stands in another one's name behind the line end %j", (end) => {
  const type = `ping${end}data: {"type":"forbidden"}${end}${end}`;
  expectRefused(relayed("anthropic", namedFrame({ type })));
  expectRefused(relayed("openai", `event: ${type}\ndata: {"choices":[]}\n\n`));
});

test.each([
  ["a space before its line", ` data: ${CALL}`],
  ["a tabulator", `id: 1\n\t data:${CALL}`],
  ["another byte order mark", `: note\n\ufeffdata: ${CALL}`],
  ["capitals", `DATA: ${CALL}`],
  ["a space before its colon", `data : ${CALL}`],
  ["a name of its own that is none", `Event: forbidden\ndata: {"choices":[]}`],
])("no event has %s", (_what, lines) => {
  expectRefused(relayed("openai", `${lines}\n\n`));
});

test.each([
  ["an object", CALL],
  ["a list", `[${CALL}]`],
  ["an object and spaces", ` ${CALL}\t`],
])("%s in a line of an event of several is no event of its own", (_what, line) => {
  expectRefused(relayed("openai", `data: {"choices":[],"x":\ndata:${line}\ndata: }\n\n`));
});

test("lines between which a document is broken, comments, ids and unknown fields pass", () => {
  const document = JSON.stringify(
    { choices: [], x: [{}, [], [[1, 2]], { a: { b: [] } }] },
    null,
    2,
  );
  const lines = document.split("\n").map((line) => `data: ${line}`);
  const frame = [": a note of data: none", "id: data-1", "retry: 5", "database: x", ...lines];
  const text = dataFrame({ choices: [{ index: 0, delta: { content: "one\u2028two\x85" } }] });
  const first = `${frame.join("\n")}\n\n${text}`;
  const { exchange, outcomes } = relayed("openai", first);
  expect(outcomes).toMatchObject([{ kind: "done" }]);
  expect(exchange.written.startsWith(first)).toBe(true);
});

const block = { type: "tool_use", id: "c", name: "forbidden", input: {} };
const BLOCK = JSON.stringify({ type: "ping", index: 1, content_block: block });

test.each([
  ["in it", `event: content_block_start\ndata: ${BLOCK}\nevent: ping\n\n`],
  ["in it, before an empty one", `event: content_block_start\nevent:\ndata: ${BLOCK}\n\n`],
  ["in one without data", `event: content_block_start\n\ndata: ${BLOCK}\n\n`],
  ["in one before", `${namedFrame({ type: "vendor" })}data: ${BLOCK}\n\n`],
  [
    "before one that comes late",
    `${namedFrame({ type: "vendor" })}data: ${BLOCK}\nevent: ping\n\n`,
  ],
])("an event is none of another name that some clients keep: %s", (_what, first) => {
  expectRefused(relayed("anthropic", first));
});

test.each([
  ["have none", 'data: {"type":"ping"}\n\ndata: {"type":"vendor"}\n\n'],
  ["say theirs behind their data", 'data: {"type":"ping"}\nevent: ping\n\n'],
  ["go on under the same", 'event: ping\n\ndata: {"type":"ping"}\n\n'],
])("events that %s pass", (_what, first) => {
  const { exchange, outcomes } = relayed("anthropic", first);
  expect(outcomes).toMatchObject([{ kind: "done" }]);
  expect(exchange.written.startsWith(first)).toBe(true);
});

test("events of a dialect that goes by no names have those that they have", () => {
  const first = 'event: keepalive\n\ndata: {"choices":[]}\n\n';
  expect(relayed("openai", first).outcomes).toMatchObject([{ kind: "done" }]);
});
