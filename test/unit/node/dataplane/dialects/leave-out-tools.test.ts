import { describe, expect, test } from "vitest";
import { compileContentNow } from "../../../../../node/dataplane/content-scanners.ts";
import type { JsonObject } from "../../../../../node/dataplane/dialects/dialect.ts";
import { DIALECTS } from "../../../../../node/dataplane/dialects/registry.ts";
import { inspectBody } from "../../../../../node/dataplane/inspect-body.ts";
import { upstreamBytes } from "../../../../../node/dataplane/judged-body.ts";
import { contentRule } from "../relay-fixture.ts";

const OFFER = {
  verbs: new Map([["shell", "exec" as const]]),
  granted: new Map([
    ["search", ["call"]],
    ["shell", ["call"]],
  ]),
};
const RULE = contentRule({ id: "no-secrets", pattern: "secret-[0-9]{4}" });
const { request: set } = compileContentNow([RULE]);

/** What goes upstream of a request from which all but `search` is left out. */
function sent(name: "openai" | "openai-responses" | "anthropic" | "gemini", body: JsonObject) {
  const dialect = DIALECTS[name];
  const route = dialect.routes.find(({ kind }) => kind === "generate");
  if (route === undefined) throw new Error("a dialect generates");
  const inspected = inspectBody(Buffer.from(JSON.stringify(body)), {
    dialect,
    route,
    set,
    depthMax: 32,
    offer: OFFER,
    pastDeadline: () => false,
  });
  if ("missing" in inspected.request) throw new Error(JSON.stringify(inspected.request));
  const { read, body: judged, toolsOut } = inspected.request;
  const bytes = upstreamBytes(dialect, route, judged, { model: "m", maxOutputTokens: undefined });
  const parsed = JSON.parse(bytes.toString()) as JsonObject;
  return { body: parsed, tools: read.tools.map((tool) => tool.name), toolsOut, inspected };
}

const chatTool = (name: string) => ({ type: "function", function: { name } });
const chat = (over: JsonObject) => ({
  model: "m",
  messages: [{ role: "user", content: "hello" }],
  ...over,
});
const responses = (over: JsonObject) => ({ model: "m", input: "hello", ...over });
const messages = (over: JsonObject) => ({ ...chat(over), max_tokens: 5 });
const gemini = (over: JsonObject) => ({ contents: [{ parts: [{ text: "hello" }] }], ...over });

describe("what may not be offered is left out of", () => {
  test("a chat", () => {
    const tools = [
      chatTool("search"),
      chatTool("drop"),
      { type: "custom", custom: { name: "shell" } },
    ];
    const { body, ...read } = sent("openai", chat({ tools, tool_choice: "auto" }));
    expect(body.tools).toEqual([chatTool("search")]);
    expect(body.tool_choice).toBe("auto");
    expect(read).toMatchObject({ tools: ["search"], toolsOut: ["drop", "shell"] });
  });

  test("the older list of a chat", () => {
    const { body, toolsOut } = sent(
      "openai",
      chat({ functions: [{ name: "search" }, { name: "drop" }] }),
    );
    expect(body.functions).toEqual([{ name: "search" }]);
    expect(toolsOut).toEqual(["drop"]);
  });

  test("a response's request", () => {
    const tool = (name: string) => ({ type: "function", name });
    const { body, toolsOut } = sent(
      "openai-responses",
      responses({ tools: [tool("drop"), tool("search")] }),
    );
    expect(body.tools).toEqual([tool("search")]);
    expect(toolsOut).toEqual(["drop"]);
  });

  test("a message's request", () => {
    const tool = (name: string) => ({ name, input_schema: { type: "object" } });
    const { body, toolsOut } = sent(
      "anthropic",
      messages({ tools: [tool("drop"), tool("search")], tool_choice: { type: "auto" } }),
    );
    expect(body).toMatchObject({ tools: [tool("search")], tool_choice: { type: "auto" } });
    expect(toolsOut).toEqual(["drop"]);
  });

  test.each(["functionDeclarations", "function_declarations"])("gemini's %s", (list) => {
    const tools = [
      { [list]: [{ name: "drop" }] },
      { [list]: [{ name: "shell" }, { name: "search" }] },
    ];
    const { body, toolsOut } = sent("gemini", gemini({ tools }));
    expect(body.tools).toEqual([{ [list]: [{ name: "search" }] }]);
    expect(toolsOut).toEqual(["drop", "shell"]);
  });
});

describe("where nothing is left, what goes with tools is gone too:", () => {
  test("a chat", () => {
    const { body } = sent(
      "openai",
      chat({ tools: [chatTool("drop")], tool_choice: "auto", parallel_tool_calls: true }),
    );
    expect(Object.keys(body).toSorted()).toEqual(["messages", "model"]);
  });

  test("gemini", () => {
    const { body, toolsOut } = sent(
      "gemini",
      gemini({
        tools: [{ functionDeclarations: [{ name: "drop" }] }],
        toolConfig: { functionCallingConfig: { mode: "AUTO" } },
      }),
    );
    expect(Object.keys(body)).toEqual(["contents"]);
    expect(toolsOut).toEqual(["drop"]);
  });
});

describe("a request stays as it is, to be refused, when", () => {
  test("it insists on the tool", () => {
    const tool_choice = { type: "function", function: { name: "drop" } };
    const tools = [chatTool("drop"), chatTool("search")];
    const { tools: left, toolsOut } = sent("openai", chat({ tools, tool_choice }));
    expect(left).toEqual(["drop", "search"]);
    expect(toolsOut).toBeUndefined();
  });

  test("gemini insists on the tool", () => {
    const { tools, toolsOut } = sent(
      "gemini",
      gemini({
        tools: [{ functionDeclarations: [{ name: "drop" }] }],
        tool_config: { function_calling_config: { mode: "ANY", allowed_function_names: ["drop"] } },
      }),
    );
    expect(tools).toEqual(["drop"]);
    expect(toolsOut).toBeUndefined();
  });

  test.each([
    ["openai", chat({ tools: [chatTool("drop")], tool_choice: "required" })],
    ["anthropic", messages({ tools: [{ name: "drop" }], tool_choice: { type: "any" } })],
  ] as const)("it needs a tool, and none is left: %s", (name, body) => {
    expect(sent(name, body)).toMatchObject({ tools: ["drop"], toolsOut: undefined });
  });

  test("the tool has no name that can be judged", () => {
    const tools = [{ type: "function", function: {} }, chatTool("drop")];
    const read = sent("openai", chat({ tools }));
    expect(read).toMatchObject({ tools: [undefined], toolsOut: ["drop"] });
  });
});

test("what is left out is scanned all the same", () => {
  const tools = [{ type: "function", function: { name: "drop", description: "secret-1234" } }];
  const { inspected } = sent("openai", chat({ tools }));
  expect(inspected.scan).toMatchObject({ hits: [{ ruleId: "no-secrets" }] });
});

test("a contract leaves out what policy would let pass", () => {
  const dialect = DIALECTS.openai;
  const body = chat({ tools: [chatTool("search")] });
  const contract = new Map([["other", ["call" as const]]]);
  const left = inspectBody(Buffer.from(JSON.stringify(body)), {
    dialect,
    route: dialect.routes[0] as (typeof dialect.routes)[0],
    set,
    depthMax: 32,
    offer: { ...OFFER, contract },
    pastDeadline: () => false,
  });
  expect(left.request).toMatchObject({ toolsOut: ["search"], read: { tools: [] } });
});
