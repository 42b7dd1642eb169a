import { hash } from "node:crypto";
import { expect, test } from "vitest";
import { requestWorld } from "./request-world.ts";

const ANSWER = JSON.stringify({
  id: "x",
  object: "chat.completion",
  created: 1,
  model: "gpt-5-mini",
  choices: [{ index: 0, finish_reason: "stop", message: { role: "assistant", content: "hi" } }],
  usage: { prompt_tokens: 9, completion_tokens: 1, total_tokens: 10 },
});

const tool = (name: string) => ({ type: "function", function: { name } });

const small = "hello";
/** Larger than what is read in the loop itself. */
const large = "hello ".repeat(8_000);

test.each([
  ["in the loop", small],
  ["in the inspect pool", large],
])("tools left out %s are gone from what is sent, and on record", async (_where, content) => {
  const it = await requestWorld({
    reply: (response) => response.setHeader("content-type", "application/json").end(ANSWER),
    granted: { filtersTools: true },
  });
  const messages = [{ role: "user", content }];
  const body = { model: "gpt-5-mini", max_completion_tokens: 9, messages };
  const answer = await it.chat({ ...body, tools: [tool("drop"), tool("search"), tool("shell")] });
  expect([answer.status, answer.headers.get("x-altrace-tools-out")]).toEqual([200, "2"]);
  const [sent] = it.provider.received;
  // A length that is not the body's would have made the provider wait, or cut it.
  expect(sent?.headers["content-length"]).toBe(String(Buffer.byteLength(sent?.body ?? "")));
  const sentBody = JSON.parse(sent?.body ?? "");
  expect(sentBody).toEqual({ ...body, tools: [tool("search")] });
  // The same request without them goes out byte for byte alike.
  await (await it.chat({ ...body, tools: [tool("search")] })).text();
  const [, plain] = it.provider.received;
  expect(hash("sha256", sent?.body ?? "")).toBe(hash("sha256", plain?.body ?? "-"));
  const [record, other] = it.world.decisions;
  expect(record?.act).toMatchObject({ tools: ["search"], out: ["drop", "shell"] });
  expect(other?.act).toMatchObject({ tools: ["search"] });
  expect(other?.act).not.toHaveProperty("out");
  expect(it.faults).toEqual([]);
});

test("a choice that insists on what may not be offered is refused, and nothing is sent", async () => {
  const it = await requestWorld({
    reply: (response) => response.setHeader("content-type", "application/json").end(ANSWER),
    granted: { filtersTools: true },
  });
  const answer = await it.chat({
    model: "gpt-5-mini",
    messages: [{ role: "user", content: small }],
    tools: [tool("search"), tool("drop")],
    tool_choice: tool("drop"),
  });
  expect([answer.status, answer.headers.get("x-altrace-reason")]).toEqual([
    403,
    "tool_not_granted",
  ]);
  await answer.text();
  expect(it.provider.received).toEqual([]);
});

test("a list of tools that is named twice has no one reading, so nothing is left out of it", async () => {
  const it = await requestWorld({
    reply: (response) => response.setHeader("content-type", "application/json").end(ANSWER),
    granted: { filtersTools: true },
  });
  const twice = `{"model":"gpt-5-mini","messages":[],"tools":[],"\\u0074ools":[${JSON.stringify(tool("drop"))}]}`;
  const answer = await it.chat(Buffer.from(twice));
  expect(answer.headers.get("x-altrace-reason")).toBe("duplicate_key");
  await answer.text();
  expect(it.provider.received).toEqual([]);
});
