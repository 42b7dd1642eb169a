import { expect, test } from "vitest";
import type { JsonObject } from "../../../../../node/dataplane/dialects/dialect.ts";
import {
  mcpStreamReader,
  readMcpAnswer,
} from "../../../../../node/dataplane/dialects/mcp-answer.ts";
import { dataFrame, EVENT_STREAM, relay } from "../relay-fixture.ts";

type Asked = string | number | undefined;

const result = { tools: [] };
const error = { code: -32_700, message: "what?" };

/** Whether a message is taken for the answer, as a document and in a stream. */
function isAnswer(said: JsonObject, asked: Asked): boolean {
  const message = { jsonrpc: "2.0", ...said };
  const whole = readMcpAnswer(message, asked) !== undefined;
  const part = mcpStreamReader(true, asked).frame(undefined, JSON.stringify(message));
  expect(part?.last ?? false).toBe(whole);
  return whole;
}

test.each<[string, JsonObject, Asked]>([
  ["its id", { id: 7, result }, 7],
  ["its id, a text", { id: "a", result }, "a"],
  ["its id as a text, as some servers have it and clients take it", { id: "7", result }, 7],
  ["its id and an error", { id: 0, error }, 0],
  ["no id and an error: who could not read it does not know it", { id: null, error }, 7],
  ["none, where none was asked for", { id: null, result }, undefined],
])("an answer has %s", (_what, said, asked) => {
  expect(isAnswer(said, asked)).toBe(true);
});

test.each<[string, JsonObject, Asked]>([
  ["another id", { id: 8, result }, 7],
  ["another id and an error", { id: 8, error }, 7],
  ["no id and a result", { id: null, result }, 7],
  ["no member for it and a result", { result }, 7],
  ["an id, where nothing was asked", { id: 8, result }, undefined],
  ["a list for an id", { id: [7], result }, 7],
  ["a truth for an id", { id: true, result }, "true"],
  ["a word that no member is", { id: "undefined", result }, undefined],
])("no answer has %s", (_what, said, asked) => {
  expect(isAnswer(said, asked)).toBe(false);
});

test("behind an answer to something else nothing is dropped in silence", () => {
  const { exchange, sink, outcomes } = relay("mcp", { answersTo: 7 });
  sink.onHead(200, EVENT_STREAM);
  for (const id of [8, 7]) sink.onData(Buffer.from(dataFrame({ jsonrpc: "2.0", id, result })));
  sink.onEnd();
  expect(outcomes).toMatchObject([{ reason: "response_unscannable" }]);
  const told = exchange.answered?.body.toString() ?? exchange.lastFrame;
  expect(told).toContain("response_unscannable");
});
