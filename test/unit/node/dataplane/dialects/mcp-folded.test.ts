import { expect, test } from "vitest";
import type { JsonObject } from "../../../../../node/dataplane/dialects/dialect.ts";
import { readMcpAnswer } from "../../../../../node/dataplane/dialects/mcp-answer.ts";
import { readMcpRequest } from "../../../../../node/dataplane/dialects/mcp-request.ts";

const asked = (method: string, params: JsonObject) =>
  readMcpRequest({ jsonrpc: "2.0", id: 1, method, params });

test.each<[string, string, JsonObject]>([
  ["a tool's name", "tools/call", { name: "search", Name: "delete_repo" }],
  ["arguments", "tools/call", { name: "search", arguments: {}, ARGUMENTS: { all: true } }],
  ["arguments by a long s", "tools/call", { name: "search", "argument\u017f": { all: true } }],
  ["a tool's name before a NUL", "tools/call", { name: "search", "name\0": "delete_repo" }],
  ["a resource", "resources/read", { uri: "file:///project/a", URI: "file:///private/b" }],
  ["a prompt", "prompts/get", { NAME: "takeover" }],
  ["a task", "tools/call", { name: "search", Task: {} }],
])("what a server may read for %s is spelt as it is judged", (_what, method, params) => {
  expect(asked(method, params)).toMatchObject({ missing: "malformed_request" });
});

test("a call that is to run on as a task is refused by name", () => {
  const params = { name: "search", task: { ttl: 60_000 } };
  expect(asked("tools/call", params)).toMatchObject({ unpricedParameter: "params.task" });
});

test("other parameters are the server's own affair", () => {
  const params = { name: "search", arguments: { Name: "x" }, _meta: { Name: "x" }, Cursor: "c" };
  expect(asked("tools/call", params)).toMatchObject({ tools: [{ name: "search" }] });
});

test.each<[string, JsonObject]>([
  ["a list", { result: { tools: [{ name: "search" }], Tools: [{ name: "delete_repo" }] } }],
  ["a list of templates", { result: { resourcetemplates: [] } }],
  ["what a tool says", { result: { Content: [{ type: "text", text: "x" }] } }],
  ["a result", { result: { tools: [] }, RESULT: { tools: [{ name: "delete_repo" }] } }],
])("%s that a client may read for another one makes an answer unreadable", (_what, said) => {
  expect(readMcpAnswer({ jsonrpc: "2.0", id: 1, ...said }, 1)).toBeUndefined();
});

test("an answer in its proper spelling is read", () => {
  expect(readMcpAnswer({ jsonrpc: "2.0", id: 1, result: { tools: [] } }, 1)).toBeDefined();
});

test("what is listed under a name in two spellings is left out", () => {
  const tools = [
    { name: "search", Name: "delete_repo" },
    { name: "search", title: "Search" },
  ];
  const resources = [{ uri: "file:///a", URI: "file:///b" }];
  const result = { tools, resources };
  const part = readMcpAnswer({ jsonrpc: "2.0", id: 1, result }, 1);
  expect(JSON.parse(part?.rewritten?.(() => true) ?? "")).toMatchObject({
    result: { tools: [tools[1]], resources: [] },
  });
});
