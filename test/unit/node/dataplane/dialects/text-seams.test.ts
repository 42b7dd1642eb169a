import { describe, expect, test } from "vitest";
import type { DialectName, JsonObject } from "../../../../../node/dataplane/dialects/dialect.ts";
import { DIALECTS, findRoute } from "../../../../../node/dataplane/dialects/registry.ts";
import { textSeams } from "../../../../../node/dataplane/dialects/text-seams.ts";
import { SCAN_LIMITS } from "../../../../../node/dataplane/scan/scan-limits.ts";
import { requestWorld } from "../../request-world.ts";
import { contentRule } from "../relay-fixture.ts";

const REACH = SCAN_LIMITS.streamMatchBytesMax;

const parts = (...texts: readonly string[]) => texts.map((text) => ({ type: "text", text }));

describe("the seams of a message's parts", () => {
  test("are none of a single part", () => {
    expect(textSeams([])).toEqual([]);
    expect(textSeams(parts("one"))).toEqual([]);
  });

  test("hold short parts whole, however many there are", () => {
    expect(textSeams(parts(..."S-123456"))).toEqual(["S-123456"]);
    expect(textSeams(parts("S-1", "", "23456"))).toEqual(["S-123456"]);
  });

  test("end where something else than a text stands between two", () => {
    const between = [...parts("a", "b"), { type: "image" }, ...parts("c", "d"), "x", ...parts("e")];
    expect(textSeams(between)).toEqual(["ab", "cd"]);
  });

  test("hold of long parts as much as a match can reach, on both sides of each", () => {
    const long = "l".repeat(2 * REACH + 1);
    const cut = long.slice(0, REACH);
    expect(textSeams(parts(long, long, "z"))).toEqual([cut + cut, `${cut}z`]);
    expect(textSeams(parts("a", long.slice(1), "z"))).toEqual([`a${long.slice(1)}z`]);
  });

  test("bring a match that lies across them, wherever it is cut and however far it reaches", () => {
    const match = `<${"m".repeat(REACH - 2)}>`;
    for (const cut of [1, 2, REACH / 2, REACH - 1]) {
      for (const around of [0, 1, REACH, 3 * REACH]) {
        const fill = "x".repeat(around);
        const list = parts(fill + match.slice(0, cut), match.slice(cut) + fill, fill);
        expect(textSeams(list).some((seam) => seam.includes(match))).toBe(true);
      }
    }
  });
});

const HALVES = ["S-12", "3456"] as const;
const typed = (type: string) => HALVES.map((text) => ({ type, text }));
const user = (content: JsonObject[]) => [{ role: "user", content }];
const result = { type: "tool_result", tool_use_id: "t", content: typed("text") };
const document = { type: "document", source: { type: "content", content: typed("text") } };

const REQUESTS: readonly [string, DialectName, JsonObject][] = [
  ["/v1/chat/completions", "openai", { messages: user(typed("text")) }],
  ["/v1/responses", "openai-responses", { input: user(typed("input_text")) }],
  [
    "/v1/responses",
    "openai-responses",
    { input: [{ type: "function_call_output", call_id: "c", output: typed("input_text") }] },
  ],
  [
    "/v1/responses",
    "openai-responses",
    { input: [{ type: "reasoning", summary: typed("summary_text") }] },
  ],
  ["/v1/messages", "anthropic", { messages: user(typed("text")) }],
  ["/v1/messages", "anthropic", { messages: user([result]) }],
  ["/v1/messages", "anthropic", { messages: user([document]) }],
  ["/v1/messages", "anthropic", { messages: user([]), system: typed("text") }],
  [
    "/v1beta/models/m:generateContent",
    "gemini",
    { contents: [{ parts: HALVES.map((text) => ({ text })) }] },
  ],
];

test.each(REQUESTS)("%s %s scans parts as the one text that they are", (path, name, of) => {
  const body = name === "gemini" ? of : { model: "m", max_tokens: 9, ...of };
  const route = findRoute("POST", path, []);
  if ("missing" in route) throw new Error("no such route");
  if (name === "openai-responses") delete (body as { max_tokens?: number }).max_tokens;
  const read = DIALECTS[name].read(route.route, body);
  if ("missing" in read) throw new Error(`${read.missing}: ${read.detail}`);
  expect(read.unpricedParameter).toBeUndefined();
  expect(read.texts).toContain("S-123456");
});

test("a request whose secret lies in two parts is refused", async () => {
  const { chat, provider } = await requestWorld({
    reply: (response) => response.end(),
    policy: { content: [contentRule()] },
  });
  const answer = await chat({ model: "gpt-5-mini", max_tokens: 9, messages: user(typed("text")) });
  expect(answer.status).toBe(403);
  expect(answer.headers.get("x-altrace-reason")).toBe("content_refused");
  expect(provider.received).toEqual([]);
});
