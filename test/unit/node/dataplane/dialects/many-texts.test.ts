import { expect, test } from "vitest";
import type { DialectName, JsonValue } from "../../../../../node/dataplane/dialects/dialect.ts";
import { DIALECTS } from "../../../../../node/dataplane/dialects/registry.ts";

const MANY = 200_000;

const listOf = (one: JsonValue): JsonValue => Array.from({ length: MANY }, () => one);
const turns = (): JsonValue =>
  Array.from({ length: MANY }, () => [{ text: "a" }, { text: "b" }, 0]).flat();

// A call has no room for as many arguments as a long answer has words.
test.each<[DialectName, () => JsonValue]>([
  ["openai", () => ({ choices: [{ message: { content: "a" }, logprobs: listOf("a") }] })],
  [
    "openai-responses",
    () => ({
      output: [{ type: "message", content: [{ type: "output_text", logprobs: listOf("a") }] }],
    }),
  ],
  [
    "anthropic",
    () => ({ type: "message", content: [{ type: "text", text: "a", more: listOf("a") }] }),
  ],
  [
    "gemini",
    () => ({ candidates: [{ content: { parts: [{ text: "a" }] }, logprobsResult: listOf("a") }] }),
  ],
  ["mcp", () => ({ jsonrpc: "2.0", id: 1, result: { content: turns() } })],
])("an answer of %s may have many words", (name, answer) => {
  const part = DIALECTS[name].readAnswer(answer(), 1);
  expect(part?.aside.length).toBeGreaterThanOrEqual(MANY);
});
