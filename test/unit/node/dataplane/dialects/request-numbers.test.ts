import { expect, test } from "vitest";
import type { DialectName, JsonObject } from "../../../../../node/dataplane/dialects/dialect.ts";
import { DIALECTS, findRoute } from "../../../../../node/dataplane/dialects/registry.ts";
import { REQUESTS } from "./whole-values.ts";

/** A card's. */
const NUMBER = 4_111_111_111_111_111;

const PARAMETERS: readonly [DialectName, JsonObject][] = [
  ["openai", { seed: NUMBER }],
  ["openai", { temperature: NUMBER }],
  ["openai", { top_logprobs: NUMBER }],
  ["openai", { max_tokens: NUMBER }],
  ["openai", { logit_bias: { 17: NUMBER } }],
  ["openai-responses", { top_p: NUMBER }],
  ["openai-responses", { max_tool_calls: NUMBER }],
  ["openai-embeddings", { dimensions: NUMBER }],
  ["anthropic", { top_k: NUMBER }],
  ["anthropic", { thinking: { type: "enabled", budget_tokens: NUMBER } }],
  ["anthropic-count-tokens", { thinking: { type: "enabled", budget_tokens: NUMBER } }],
  ["gemini", { generationConfig: { seed: NUMBER } }],
  ["gemini", { generationConfig: { thinkingConfig: { thinkingBudget: NUMBER } } }],
];

test.each(PARAMETERS)(
  "a number that stands for nothing but itself is scanned: %s %j",
  (name, over) => {
    expect(textsOf(name, over)).toContain(String(NUMBER));
  },
);

test("a fraction is not scanned, and hides nothing before it", () => {
  expect(textsOf("openai", { top_p: 0.550_000_000_000_000_4 }).join(" ")).not.toContain("55000");
  expect(textsOf("openai", { seed: NUMBER + 0.5 })).toContain(String(NUMBER));
});

test("a short one is not: no rule means it", () => {
  expect(textsOf("openai", { seed: 12_345 })).not.toContain("12345");
  expect(textsOf("openai", { seed: 123_456 })).toContain("123456");
});

function textsOf(name: DialectName, over: JsonObject): readonly string[] {
  const { path, body } = REQUESTS[name];
  const found = findRoute("POST", path.includes("stream") ? `${path}?alt=sse` : path, []);
  if ("missing" in found) throw new Error(`${path} is no route`);
  const read = DIALECTS[name].read(found.route, { ...body, ...over });
  if ("missing" in read) throw new Error(`${read.missing}: ${read.detail}`);
  expect(read.unpricedParameter).toBeUndefined();
  return read.texts;
}
