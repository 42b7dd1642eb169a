import { expect, test } from "vitest";
import type { AnswerPart } from "../../../../../node/dataplane/dialects/answer-part.ts";
import type {
  DialectName,
  JsonObject,
  JsonValue,
} from "../../../../../node/dataplane/dialects/dialect.ts";
import { DIALECTS } from "../../../../../node/dataplane/dialects/registry.ts";

// Some servers take the id of a call out of what the model wrote.

const ID = "functions.S-123456:0";

const calls = [{ index: 0, id: ID, type: "function", function: { name: "look", arguments: "{}" } }];
const block = { type: "tool_use", id: ID, name: "look", input: {} };
const item = { type: "function_call", id: "i", call_id: ID, name: "look", arguments: "" };
const itself = { ...item, id: ID, call_id: "c" };

const ANSWERS: readonly [DialectName, JsonObject][] = [
  ["openai", { choices: [{ message: { tool_calls: calls } }] }],
  ["anthropic", { type: "message", content: [block] }],
  ["openai-responses", { output: [item] }],
  ["openai-responses", { output: [itself] }],
  [
    "gemini",
    { candidates: [{ content: { parts: [{ functionCall: { id: ID, name: "look" } }] } }] },
  ],
];

const FRAMES: readonly [DialectName, JsonObject][] = [
  ["openai", { choices: [{ index: 0, delta: { tool_calls: calls } }] }],
  ["anthropic", { type: "content_block_start", index: 0, content_block: block }],
  ["openai-responses", { type: "response.output_item.added", output_index: 0, item }],
  ["openai-responses", { type: "response.output_item.done", output_index: 0, item: itself }],
];

test.each(ANSWERS)("the id of a call in an answer of %s is scanned", (name, answer) => {
  expectScanned(DIALECTS[name].readAnswer(answer));
});

test.each(FRAMES)("the id of a call in a stream of %s is scanned", (name, frame) => {
  const type = typeof frame.type === "string" ? frame.type : undefined;
  expectScanned(DIALECTS[name].streamReader(true).frame(type, JSON.stringify(frame)));
});

function expectScanned(part: AnswerPart | undefined): void {
  expect(part?.toolNames).toEqual(["look"]);
  expect(part?.aside).toContain(ID);
}

const piece = (id: JsonValue, given: string) =>
  JSON.stringify({
    choices: [
      { index: 0, delta: { tool_calls: [{ index: 0, id, function: { arguments: given } }] } },
    ],
  });

test.each<[string, JsonValue]>([
  ["its id again", ID],
  ["an empty one", ""],
  ["none", null],
])("a call goes on under %s", (_what, id) => {
  const reader = DIALECTS.openai.streamReader(true);
  reader.frame(
    undefined,
    JSON.stringify({ choices: [{ index: 0, delta: { tool_calls: calls } }] }),
  );
  expect(reader.frame(undefined, piece(id, " "))).toBeDefined();
});

/** What is read of a call and of pieces that follow, each as an id and what else stands there. */
function readCall(...pieces: readonly (readonly [string, JsonObject])[]) {
  const reader = DIALECTS.openai.streamReader(true);
  return pieces.map(([id, called]) => {
    const delta = { tool_calls: [{ index: 0, id, function: called }] };
    return reader.frame(undefined, JSON.stringify({ choices: [{ index: 0, delta }] }));
  });
}

test("a call goes on under new ids, as some servers make up for each piece", () => {
  const said = readCall(
    ["a", { name: "look", arguments: "" }],
    ["b", { arguments: '{"at":' }],
    ["c", { arguments: "1}" }],
  );
  expect(said).not.toContain(undefined);
});

test("to clients that go by ids an earlier one that goes on joins what does not stand together", () => {
  const said = readCall(
    ["a", { name: "look", arguments: '{"at":"S-12' }],
    ["b", { arguments: " " }],
    ["a", { arguments: '3456"}' }],
  );
  expect(said.map((part) => part !== undefined)).toEqual([true, true, false]);
});

test("a name under one id is no part of one under another", () => {
  expect(readCall(["a", { name: "lo" }], ["b", { name: "ok" }])).toContain(undefined);
  const said = readCall(["a", { name: "forbidden" }], ["b", { arguments: "{}" }]);
  expect(said.flatMap((part) => part?.toolNames ?? [])).toEqual(["forbidden"]);
});
