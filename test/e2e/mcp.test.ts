import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { Operator } from "../../bench/harness/operator.ts";
import { PROVIDER_KEYS } from "../support/e2e-policy.ts";
import { McpServer } from "../support/mcp-server.ts";
import { E2E_TIMEOUTS } from "../support/run-altrace.ts";
import { type Altrace, startAltrace } from "../support/start-altrace.ts";

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
teams:
  tools:
    budget: { usd: { day: "100.00" } }
    defaults:
      models: [github/mcp, plain/mcp]
      tools: { mcp/github/search: [call], mcp/plain/*: [call], mcp/plain/read_file: [read] }
      clearance: confidential
    agents:
      worker: {}
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
    await expect(client.listResources()).rejects.toMatchObject(refused);
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

test("a killed agent reaches no tool", async () => {
  await using client = closing(await connect("github", "tools/stopped"));
  await operator.kill("agent/tools/stopped");
  const before = server.calls.length;
  const called = client.callTool({ name: "search", arguments: { query: "still there?" } });
  await expect(called).rejects.toThrow("killed_agent");
  expect(server.calls.length).toBe(before);
});

test.each([
  ["a batch", [{ jsonrpc: "2.0", id: 1, method: "ping" }], 400],
  ["an answer to a server", { jsonrpc: "2.0", id: 1, result: {} }, 400],
  ["a call that nobody waits for", { jsonrpc: "2.0", method: "tools/call", params: {} }, 400],
  ["a call without a name", { jsonrpc: "2.0", id: "x", method: "tools/call", params: {} }, 200],
])("%s is refused in JSON-RPC", async (_what, body, status) => {
  const answer = await fetch(`${altrace.gateway}/mcp/github`, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: `Bearer ${altrace.key(AGENT)}` },
    body: JSON.stringify(body),
  });
  expect(answer.status).toBe(status);
  expect(answer.headers.get("x-altrace-decision")).toBe("deny");
  expect(await answer.json()).toMatchObject({ jsonrpc: "2.0", error: { code: -32_000 } });
});

test("a server's own stream and the end of a session are not served", async () => {
  const headers = { authorization: `Bearer ${altrace.key(AGENT)}` };
  for (const method of ["GET", "DELETE"]) {
    const answer = await fetch(`${altrace.gateway}/mcp/github`, { method, headers });
    expect(answer.status).toBe(405);
  }
});

function closing(client: Client): Client & AsyncDisposable {
  return Object.assign(client, { [Symbol.asyncDispose]: () => client.close() });
}
