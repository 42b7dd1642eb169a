import { expect, test } from "vitest";
import { DIALECTS } from "../../../../node/dataplane/dialects/registry.ts";
import { passedHeaders } from "../../../../node/dataplane/passed-headers.ts";
import { requestWorld } from "../request-world.ts";

const ALL = ["accept", "anthropic-version", "mcp-protocol-version"];

test.each([
  ["accept", "application/json"],
  ["accept", "*/*"],
  ["accept", "application/json, text/event-stream"],
  ["accept", "application/json, text/plain, */*"],
  ["accept", "text/event-stream;q=0.9 , application/json; q=1"],
  ["anthropic-version", "2023-06-01"],
  ["mcp-protocol-version", "2025-06-18"],
])("what clients say is passed on: %s %s", (name, value) => {
  expect(passedHeaders([name.toUpperCase(), value, "x-other", "1"], ALL)).toEqual([name, value]);
});

test.each([
  ["accept", "application/json; note=S-123456"],
  ["accept", "text/S-123456"],
  ["accept", "application/json, S-123456"],
  ["accept", "*/*;q=0.123456"],
  ["accept", Array.from({ length: 9 }, () => "*/*").join(",")],
  ["anthropic-version", "S-123456"],
  ["anthropic-version", "2023-06-01 S-123456"],
  ["mcp-protocol-version", "2025-06-18-S-123456"],
])("what could be anything is not: %s %s", (name, value) => {
  expect(passedHeaders([name, value], ALL)).toEqual([]);
});

test("no dialect passes on a header whose values are not known", () => {
  const named = Object.values(DIALECTS).flatMap(({ passedHeaders: passed }) => passed);
  expect([...new Set(named)].sort()).toEqual(ALL);
});

test("a text that no rule has looked at reaches no provider in a header", async () => {
  const { chat, provider } = await requestWorld({
    reply: (response) => {
      response.writeHead(200, { "content-type": "application/json" });
      response.end('{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1}}');
    },
  });
  const body = { model: "gpt-5-mini", max_tokens: 9, messages: [{ role: "user", content: "x" }] };
  const answer = await chat(body, { accept: "application/json;note=S-123456" });
  expect(answer.status).toBe(200);
  const [received] = provider.received;
  expect(received?.headers).not.toHaveProperty("accept");
  expect(received?.rawHeaders.join(" ")).not.toContain("S-123456");
});
