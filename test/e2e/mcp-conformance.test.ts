import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { Operator } from "../../bench/harness/operator.ts";
import { climbLadder } from "../support/climb-ladder.ts";
import {
  atEachLevel,
  canClimb,
  LEVELS,
  type Level,
  mcpConformancePolicy,
  saidAt,
} from "../support/conformance-policy.ts";
import { PROVIDER_KEYS } from "../support/e2e-policy.ts";
import { McpServer } from "../support/mcp-server.ts";
import { E2E_TIMEOUTS } from "../support/run-altrace.ts";
import { type Altrace, startAltrace } from "../support/start-altrace.ts";

// Every rule of tools at an MCP server, whether it answers with documents or with streams, at every level of
// the ladder, with the official client.

vi.setConfig(E2E_TIMEOUTS);

const FORMS = ["documents", "streams"] as const;
type Form = (typeof FORMS)[number];

let server: McpServer;
let altrace: Altrace;
let operator: Operator;

beforeAll(async () => {
  server = new McpServer();
  await server.listen();
  altrace = await startAltrace({
    policy: mcpConformancePolicy(server.origin),
    env: PROVIDER_KEYS,
  });
  operator = new Operator(altrace.ready);
  await climbLadder(operator, offend);
  await Promise.all(
    atEachLevel("hasty").map((agent) =>
      asked({ form: "documents", key: altrace.key(`edges/${agent}`) }),
    ),
  );
});
afterAll(async () => {
  operator?.[Symbol.dispose]();
  await altrace?.[Symbol.asyncDispose]();
  await server?.[Symbol.asyncDispose]();
});

/**
 * Asks for a list, which quarantine leaves, in words that break a rule. No session is opened: that would cost what
 * the poor do not have.
 */
async function offend(agent: string, cursor: string): Promise<void> {
  const { headers } = await fetch(`${altrace.gateway}/mcp/documents`, {
    method: "POST",
    headers: {
      "content-type": "application/json",
      authorization: `Bearer ${altrace.key(`edges/${agent}`)}`,
    },
    body: JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/list", params: { cursor } }),
  });
  expect(headers.get("x-altrace-reason")).toBe("content_refused");
}

type Ask = {
  readonly form: Form;
  readonly key: string;
  readonly tool?: string;
  readonly query?: string;
  /** The list of tools in place of a call. */
  readonly lists?: true;
};

type Told = { readonly said: string; readonly reason: string | undefined };

/** Opens a session as the official client does, asks one thing, and tells what that made of it. */
async function asked({ form, key, tool = "search", query = "hello", lists }: Ask): Promise<Told> {
  const client = new Client({ name: "agent", version: "1.0.0" });
  const headers = { authorization: `Bearer ${key}` };
  const url = new URL(`${altrace.gateway}/mcp/${form}`);
  const transport = new StreamableHTTPClientTransport(url, { requestInit: { headers } });
  try {
    await client.connect(transport as Parameters<Client["connect"]>[0]);
    const answer = lists
      ? (await client.listTools()).tools.map(({ name }) => name)
      : (await client.callTool({ name: tool, arguments: { query } })).content;
    return { said: JSON.stringify(answer), reason: undefined };
  } catch (error) {
    const { data, message } = error as { data?: { reason?: string }; message: string };
    const reason = data?.reason ?? /"reason":"([a-z_]+)"/.exec(message)?.[1];
    if (reason === undefined) throw error;
    return { said: message, reason };
  } finally {
    await client.close();
  }
}

type Rule = {
  readonly breaks: string;
  readonly agent?: string;
  readonly ask?: Partial<Ask>;
  readonly reason: string | undefined;
  /** What the client is told, where nothing is broken. */
  readonly said?: string;
  /** The server must be called, or must not be. */
  readonly reaches?: true;
  /** No session is opened, so that no tool is ever named. */
  readonly opensNone?: true;
};

const HELLO = '[{"type":"text","text":"hello"}]';

const RULES: readonly Rule[] = [
  { breaks: "nothing", reason: undefined, said: HELLO, reaches: true },
  { breaks: "nothing by a list", ask: { lists: true }, reason: undefined, said: '["search"]' },
  {
    breaks: "identity",
    ask: { key: `altk_unknown0000_${"x".repeat(43)}` },
    reason: "key_unknown",
  },
  {
    breaks: "identity, with a provider's key",
    ask: { key: PROVIDER_KEYS.OPENAI_API_KEY },
    reason: "foreign_credential",
  },
  { breaks: "time", agent: "nightly", reason: "outside_hours" },
  { breaks: "geography of processing", agent: "european", reason: "region_not_granted" },
  { breaks: "geography of the source", agent: "placeless", reason: "source_region_not_granted" },
  { breaks: "server", agent: "modelless", reason: "model_not_granted" },
  { breaks: "tool", ask: { tool: "delete_repo" }, reason: "tool_not_granted" },
  { breaks: "tool, by its verb", ask: { tool: "read_file" }, reason: "tool_not_granted" },
  {
    breaks: "a call's arguments",
    ask: { query: "x".repeat(101) },
    reason: "tool_argument_refused",
  },
  {
    breaks: "classification",
    agent: "uncleared",
    ask: { query: "write to jane.doe@example.org" },
    reason: "class_not_cleared",
  },
  {
    breaks: "content of the call",
    ask: { query: "say project-nightjar-2026" },
    reason: "content_refused",
  },
  {
    breaks: "content of what is brought back",
    ask: { query: "launch-code-123456" },
    reason: "content_cut",
    reaches: true,
  },
  { breaks: "rate", agent: "hasty", reason: "rate_requests", opensNone: true },
  { breaks: "budget", agent: "poor", reason: "budget_exhausted", opensNone: true },
];

function atLevel(rule: Rule, level: Level): Rule {
  const { agent = "plain", ask } = rule;
  const said = saidAt(level, !(ask?.lists || rule.opensNone));
  if (said === undefined) return { ...rule, agent: `${agent}-${level}` };
  return { breaks: rule.breaks, agent: `${agent}-${level}`, ...(ask && { ask }), reason: said };
}

const CLIMBING = RULES.filter(
  ({ agent = "plain", ask }) => ask?.key === undefined && canClimb(agent),
);

describe.each(FORMS)("a server that answers with %s", (form) => {
  test.each(RULES)("is asked for what breaks $breaks: $reason", async (rule) => {
    await expectTold(form, rule);
  });

  test.each(CLIMBING)(
    "is asked for what breaks $breaks at each level of the ladder, and so is told, or what the level says",
    async (rule) => {
      for (const level of LEVELS) await expectTold(form, atLevel(rule, level));
    },
  );
});

async function expectTold(form: Form, { agent = "plain", ask, ...rule }: Rule): Promise<void> {
  const before = server.calls.length;
  const told = await asked({ form, key: altrace.key(`edges/${agent}`), ...ask });
  expect([agent, told.reason]).toEqual([agent, rule.reason]);
  if (rule.said !== undefined) expect(told.said).toBe(rule.said);
  expect(told.said).not.toContain("123456");
  expect([agent, server.calls.length - before]).toEqual([agent, rule.reaches ? 1 : 0]);
}
