import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { ToolListChangedNotificationSchema } from "@modelcontextprotocol/sdk/types.js";
import { fetch as fetchBy, ProxyAgent } from "undici";
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from "vitest";
import { Operator } from "../../bench/harness/operator.ts";
import { PROVIDER_KEYS } from "../support/e2e-policy.ts";
import { McpServer } from "../support/mcp-server.ts";
import { E2E_TIMEOUTS } from "../support/run-altrace.ts";
import { type Altrace, startAltrace } from "../support/start-altrace.ts";
import { waitUntil } from "../support/wait-until.ts";

vi.setConfig(E2E_TIMEOUTS);

const AGENT = "tools/worker";
let server: McpServer;
let altrace: Altrace;
let operator: Operator;

beforeAll(async () => {
  server = new McpServer();
  await server.listen();
  altrace = await startAltrace({ policy: policyFor(server.origin), env: PROVIDER_KEYS });
  operator = new Operator(altrace.ready);
});
afterAll(async () => {
  operator?.[Symbol.dispose]();
  await altrace?.[Symbol.asyncDispose]();
  await server?.[Symbol.asyncDispose]();
});

function policyFor(origin: string): string {
  const serverAt = (path: string) =>
    `{ dialect: mcp, base_url: "${origin}${path}", credential: openai, clearance: confidential }`;
  const free =
    '{ max_output_tokens: 0, price: { input_usd_per_mtok: "0", output_usd_per_mtok: "0", fixed_usd_per_call: "0.01" } }';
  return `format: 1
providers:
  github: ${serverAt("/mcp/stream")}
  plain: ${serverAt("/mcp/json")}
  other: ${serverAt("")}
models:
  github/mcp: ${free}
  plain/mcp: ${free}
  other/mcp: ${free}
content:
  - { id: name, pattern: 'project-nightjar-[0-9]{4}', action: refuse, severity: low, direction: request }
  - { id: code, pattern: 'launch-code-[0-9]{6}', action: refuse, severity: low, direction: response }
tools:
  arguments:
    mcp/github/search: { query: { chars_max: 100 }, folder: { within: [/project] } }
teams:
  tools:
    budget: { usd: { day: "100.00" } }
    defaults:
      models: [github/mcp, plain/mcp]
      tools:
        mcp/github/search: [call]
        mcp/github/file:/project/*: [read]
        mcp/github/review: [read]
        mcp/plain/*: [call]
        mcp/plain/read_file: [read]
      clearance: confidential
    agents:
      worker: {}
      other: {}
      stopped: {}
ladder: { points: { tool_outside_grant: 0, refusal: 0, content_low: 0 } }
limits: { reserve_wait_max_ms: 10000 }
`;
}

async function connect(name: string, agent = AGENT): Promise<Client> {
  const client = new Client({ name: "agent", version: "1.0.0" });
  const headers = { authorization: `Bearer ${altrace.key(agent)}` };
  const url = new URL(`${altrace.gateway}/mcp/${name}`);
  const transport = new StreamableHTTPClientTransport(url, { requestInit: { headers } });
  await client.connect(transport as Parameters<Client["connect"]>[0]);
  return client;
}

describe.each([
  { name: "github", form: "streams", tools: ["search"] },
  { name: "plain", form: "documents", tools: ["search", "read_file", "delete_repo"] },
])("a server that answers with $form", ({ name, tools }) => {
  test("is reached with its own credential, in a session", async () => {
    const before = server.heads.length;
    await using client = closing(await connect(name));
    await client.ping();
    const heads = server.heads.slice(before);
    expect(heads.map(({ authorization }) => authorization)).toEqual(
      heads.map(() => `Bearer ${PROVIDER_KEYS.OPENAI_API_KEY}`),
    );
    expect(heads.at(-1)?.["mcp-session-id"]).toMatch(/^[0-9a-f-]{36}$/);
  });

  test("shows the tools that are granted, and no others", async () => {
    await using client = closing(await connect(name));
    expect((await client.listTools()).tools.map((tool) => tool.name)).toEqual(tools);
  });

  test("is called", async () => {
    await using client = closing(await connect(name));
    const answer = await client.callTool({ name: "search", arguments: { query: `hello ${name}` } });
    expect(answer.content).toEqual([{ type: "text", text: `hello ${name}` }]);
  });

  test("does not get to see what breaks a rule", async () => {
    await using client = closing(await connect(name));
    const before = server.calls.length;
    const called = client.callTool({
      name: "search",
      arguments: { query: "project-nightjar-2026" },
    });
    await expect(called).rejects.toMatchObject({ data: { reason: "content_refused" } });
    expect(server.calls.length).toBe(before);
  });

  test("cannot bring back what breaks a rule", async () => {
    await using client = closing(await connect(name));
    const called = client.callTool({ name: "search", arguments: { query: "launch-code-123456" } });
    const failure = await called.then(
      () => undefined,
      (error: unknown) => error,
    );
    expect(failure).toMatchObject({ code: -32_000, data: { reason: "content_cut" } });
    expect(JSON.stringify([failure, (failure as Error).message])).not.toContain("123456");
  });

  test("is not asked what no grant speaks of", async () => {
    await using client = closing(await connect(name));
    const refused = { code: -32_601, data: { reason: "unpriced_parameter" } };
    const ref = { type: "ref/prompt" as const, name: "review" };
    const asked = client.complete({ ref, argument: { name: "x", value: "y" } });
    await expect(asked).rejects.toMatchObject(refused);
  });
});

test("a tool that is not granted is refused by the id of its request, and not called", async () => {
  await using client = closing(await connect("github"));
  const before = server.calls.length;
  const called = client.callTool({ name: "delete_repo", arguments: {} });
  await expect(called).rejects.toMatchObject({
    code: -32_000,
    data: { reason: "tool_not_granted" },
  });
  expect(server.calls.length).toBe(before);
});

test("a server that is not granted, and one that nobody knows, are refused", async () => {
  await expect(connect("other")).rejects.toMatchObject({ data: { reason: "model_not_granted" } });
  await expect(connect("unheard-of")).rejects.toMatchObject({ data: { reason: "model_unknown" } });
});

test("a call whose arguments break a rule never reaches its server", async () => {
  await using client = closing(await connect("github"));
  const before = server.calls.length;
  for (const given of [
    { query: "x".repeat(101) },
    { query: 7 },
    { query: "x", other: true },
    { folder: "/project/../etc" },
    // Larger than what is read in the loop itself.
    { folder: `/project/${"a".repeat(20_000)}` },
    Object.fromEntries(Array.from({ length: 100 }, (_, at) => [`a${at}`, 1])),
  ]) {
    const called = client.callTool({ name: "search", arguments: given });
    await expect(called, JSON.stringify(given).slice(0, 60)).rejects.toMatchObject({
      data: { reason: "tool_argument_refused" },
    });
  }
  expect(server.calls.length).toBe(before);
  await client.callTool({ name: "search", arguments: { query: "x", folder: "/project/src" } });
  expect(server.calls.length).toBe(before + 1);
});

test("a killed agent reaches no tool", async () => {
  await using client = closing(await connect("github", "tools/stopped"));
  await operator.kill("agent/tools/stopped");
  const before = server.calls.length;
  const called = client.callTool({ name: "search", arguments: { query: "still there?" } });
  await expect(called).rejects.toThrow("killed_agent");
  expect(server.calls.length).toBe(before);
});

test("resources and prompts are shown and read by the verb `read` alone", async () => {
  await using client = closing(await connect("github"));
  const { resources } = await client.listResources();
  expect(resources.map(({ uri }) => uri)).toEqual(["file:///project/notes.md"]);
  const { resourceTemplates } = await client.listResourceTemplates();
  expect(resourceTemplates.map((one) => one.uriTemplate)).toEqual(["file:///project/{path}"]);
  const { prompts } = await client.listPrompts();
  expect(prompts.map((one) => one.name)).toEqual(["review"]);
  const read = await client.readResource({ uri: "file:///project/notes.md" });
  expect(read.contents).toMatchObject([{ text: "content of file:///project/notes.md" }]);
  expect((await client.getPrompt({ name: "review" })).messages).toHaveLength(1);
  const before = server.calls.length;
  const refused = { code: -32_000, data: { reason: "tool_not_granted" } };
  for (const uri of ["file:///private/keys.md", "file:///project/../private/keys.md"]) {
    await expect(client.readResource({ uri })).rejects.toMatchObject(refused);
  }
  const opaque = client.readResource({ uri: "memo:opaque" });
  await expect(opaque).rejects.toMatchObject({ data: { reason: "tool_unreadable" } });
  await expect(client.getPrompt({ name: "takeover" })).rejects.toMatchObject(refused);
  // What may be read may not be called, nor the other way round.
  const called = client.callTool({ name: "review", arguments: {} });
  await expect(called).rejects.toMatchObject(refused);
  expect(server.calls.length).toBe(before);
});

test("a server says something without being asked, on its own stream", async () => {
  const before = server.heads.length;
  await using client = closing(await connect("github"));
  let told = 0;
  client.setNotificationHandler(ToolListChangedNotificationSchema, () => void told++);
  await waitUntil("the server's stream", () =>
    server.heads.slice(before).some(({ accept }) => accept === "text/event-stream"),
  );
  await waitUntil("word of the server", async () => {
    await server.announce();
    return told > 0;
  });
});

test("a session that its client ends is ended at the server", async () => {
  const client = await connect("github");
  const before = server.sessionIds.length;
  await (client.transport as unknown as StreamableHTTPClientTransport).terminateSession();
  expect(server.sessionIds.length).toBe(before - 1);
  await client.close();
});

test("a session's id is worth nothing to another agent, nor the server's own", async () => {
  const ask = (agent: string, session: string, name = "github", method = "POST") =>
    fetch(`${altrace.gateway}/mcp/${name}`, {
      method,
      headers: {
        accept: "application/json, text/event-stream",
        "mcp-session-id": session,
        authorization: `Bearer ${altrace.key(agent)}`,
        ...(method === "POST" && { "content-type": "application/json" }),
      },
      ...(method === "POST" && {
        body: JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/list" }),
      }),
    });
  await using client = closing(await connect("github"));
  const { sessionId = "" } = client.transport as unknown as StreamableHTTPClientTransport;
  const own = server.sessionIds.find((id) => sessionId.endsWith(id)) ?? "";
  expect(own).not.toBe("");
  expect(sessionId).not.toBe(own);
  expect((await ask(AGENT, sessionId)).status).toBe(200);
  const before = server.heads.length;
  const tries = [
    ask("tools/other", sessionId),
    ask("tools/other", own),
    ask("tools/other", sessionId, "github", "DELETE"),
    ask("tools/other", sessionId, "github", "GET"),
    ask(AGENT, own),
    ask(AGENT, sessionId, "plain"),
    ask(AGENT, `${sessionId.startsWith("A") ? "B" : "A"}${sessionId.slice(1)}`),
  ];
  for (const answer of await Promise.all(tries)) {
    expect([answer.status, answer.headers.get("x-altrace-reason")]).toEqual([
      404,
      "session_unknown",
    ]);
  }
  expect(server.heads.length).toBe(before);
  expect(server.sessionIds).toContain(own);
});

test("a server is reached through the forward proxy by its own address", async () => {
  const token = `Basic ${Buffer.from(`${AGENT}:${altrace.key(AGENT)}`).toString("base64")}`;
  const proxy = new ProxyAgent({ uri: altrace.ready.forward, token, proxyTunnel: false });
  onTestFinished(() => proxy.close());
  const client = new Client({ name: "agent", version: "1.0.0" });
  const transport = new StreamableHTTPClientTransport(new URL(`${server.origin}/mcp/stream`), {
    fetch: (url, init) => fetchBy(String(url), { ...init, dispatcher: proxy } as never) as never,
  });
  await client.connect(transport as Parameters<Client["connect"]>[0]);
  await using _ = closing(client);
  expect((await client.listTools()).tools.map((tool) => tool.name)).toEqual(["search"]);
  const called = client.callTool({ name: "delete_repo", arguments: {} });
  await expect(called).rejects.toMatchObject({ data: { reason: "tool_not_granted" } });
  const answer = await client.callTool({ name: "search", arguments: { query: "by proxy" } });
  expect(answer.content).toEqual([{ type: "text", text: "by proxy" }]);
});

test.each([
  ["a batch", [{ jsonrpc: "2.0", id: 1, method: "ping" }], 400, "batch_unsupported"],
  ["an answer to a server", { jsonrpc: "2.0", id: 1, result: {} }, 400, "malformed_request"],
  [
    "a call that nobody waits for",
    { jsonrpc: "2.0", method: "tools/call", params: {} },
    400,
    "malformed_request",
  ],
  [
    "a call without a name",
    { jsonrpc: "2.0", id: "x", method: "tools/call", params: {} },
    200,
    "tool_unreadable",
  ],
])("%s is refused in JSON-RPC", async (_what, body, status, reason) => {
  const answer = await fetch(`${altrace.gateway}/mcp/github`, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: `Bearer ${altrace.key(AGENT)}` },
    body: JSON.stringify(body),
  });
  expect(answer.status).toBe(status);
  expect(answer.headers.get("x-altrace-decision")).toBe("deny");
  const error = { code: -32_000, data: { reason } };
  expect(await answer.json()).toMatchObject({ jsonrpc: "2.0", error });
});

function closing(client: Client): Client & AsyncDisposable {
  return Object.assign(client, { [Symbol.asyncDispose]: () => client.close() });
}
