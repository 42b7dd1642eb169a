import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { Operator } from "../../bench/harness/operator.ts";
import { climbLadder } from "../support/climb-ladder.ts";
import {
  atEachLevel,
  canClimb,
  conformancePolicy,
  LEVELS,
  type Level,
  saidAt,
} from "../support/conformance-policy.ts";
import {
  type Ask,
  DIALECT_CLIENTS,
  type DialectClient,
  type Told,
} from "../support/dialect-clients.ts";
import { PROVIDER_KEYS } from "../support/e2e-policy.ts";
import { E2E_TIMEOUTS } from "../support/run-altrace.ts";
import { type Altrace, startAltrace } from "../support/start-altrace.ts";
import { type Provider, startProvider } from "../support/start-provider.ts";

// Every rule, in every dialect, whole and streamed, at every level of the ladder, with the official
// clients. What a rule does must not depend on the dialect, and a stream must never weaken it.

vi.setConfig(E2E_TIMEOUTS);

/** A match that comes in pieces, and none of whose pieces may be seen. */
const SECRET = ["project-ni", "ghtjar-", "20", "26"];
const ARGUMENTS = '{"table":"customers"}';

let provider: Provider;
let altrace: Altrace;
let operator: Operator;

beforeAll(async () => {
  provider = await startProvider();
  provider.script("secret", { pieces: ["before ", ...SECRET, " after"] });
  provider.script("secret-at-end", { pieces: SECRET });
  provider.script("drop", { tool: { name: "drop_table", json: ARGUMENTS } });
  provider.script("wipe", { tool: { name: "wipe_disk", json: ARGUMENTS } });
  provider.script("search", { tool: { name: "web_search", json: '{"q":"weather"}' } });
  provider.script("leak", { tool: { name: "web_search", json: `{"q":"${SECRET.join("")}"}` } });
  provider.script("read", { tool: { name: "read_file", json: '{"path":"/srv/a"}' } });
  provider.script("climb", { tool: { name: "read_file", json: '{"path":"/srv/../etc"}' } });
  provider.script("packed", { isCompressed: true });
  provider.script("packed-secret", { pieces: ["before ", ...SECRET], isCompressed: true });
  provider.script("broken", { pieces: ["begun "], breaksOff: true });
  altrace = await startAltrace({ policy: conformancePolicy(provider.origin), env: PROVIDER_KEYS });
  operator = new Operator(altrace.ready);
  await climb();
});
afterAll(async () => {
  operator?.[Symbol.dispose]();
  await altrace?.[Symbol.asyncDispose]();
  await provider?.[Symbol.asyncDispose]();
});

/** Brings each agent to the level that its name ends in, and lets the hasty ones ask once. */
async function climb(): Promise<void> {
  const [chat] = DIALECT_CLIENTS as [DialectClient];
  const ask = (agent: string, prompt: string) =>
    chat.ask(altrace, `edges/${agent}`, { prompt, stream: false });
  await Promise.all(atEachLevel("hasty").map((agent) => ask(agent, "the only one in an hour")));
  await climbLadder(operator, ask);
}

type Rule = {
  readonly breaks: string;
  readonly agent?: string;
  readonly ask?: Partial<Ask>;
  readonly reason: string | undefined;
  /** Of requests only that ask a model to write. */
  readonly writes?: true;
  /** Of those only that may offer tools. */
  readonly offers?: true;
  /** What of the answer may not be seen. */
  readonly unseen?: readonly string[];
  /** What may not be in the request that reaches the provider. */
  readonly unsent?: readonly string[];
  /** The key in place of the agent's own. */
  readonly key?: string;
  /** Whole answers are no streams that can break off. */
  readonly streamed?: true;
  /** The provider must be reached, or must not be. */
  readonly reaches?: true;
};

const RULES: readonly Rule[] = [
  { breaks: "nothing", reason: undefined, reaches: true },
  {
    breaks: "nothing, with a tool",
    ask: { tool: "web_search", prompt: "script search" },
    offers: true,
    reason: undefined,
    reaches: true,
  },
  { breaks: "what is priced", ask: { unpriced: true }, reason: "unpriced_parameter" },
  { breaks: "identity", key: `altk_unknown0000_${"x".repeat(43)}`, reason: "key_unknown" },
  {
    breaks: "identity, with a provider's key",
    key: PROVIDER_KEYS.OPENAI_API_KEY,
    reason: "foreign_credential",
  },
  { breaks: "time", agent: "nightly", reason: "outside_hours" },
  { breaks: "geography of processing", agent: "european", reason: "region_not_granted" },
  { breaks: "geography of the source", agent: "placeless", reason: "source_region_not_granted" },
  { breaks: "model", agent: "modelless", reason: "model_not_granted" },
  {
    breaks: "tools offered",
    ask: { tool: "drop_table" },
    offers: true,
    reason: "tool_not_granted",
  },
  {
    breaks: "tools offered, by what calling them does",
    ask: { tool: "web_search,wipe_disk" },
    offers: true,
    reason: "tool_not_granted",
  },
  {
    breaks: "nothing, once tools were left out",
    agent: "filtered",
    ask: { tool: "drop_table,web_search,wipe_disk" },
    offers: true,
    reason: undefined,
    reaches: true,
    unsent: ["drop_table", "wipe_disk"],
  },
  {
    breaks: "tools called, though it was left out",
    agent: "filtered",
    ask: { prompt: "script drop", tool: "web_search,drop_table" },
    writes: true,
    reason: "tool_call_not_granted",
    unseen: ["drop_table", "customers"],
    reaches: true,
  },
  {
    breaks: "classification",
    agent: "uncleared",
    ask: { prompt: "write to jane.doe@example.org" },
    reason: "class_not_cleared",
  },
  {
    breaks: "content of the request",
    ask: { prompt: "say project-nightjar-2026" },
    reason: "content_refused",
  },
  { breaks: "rate", agent: "hasty", reason: "rate_requests" },
  {
    breaks: "budget",
    agent: "poor",
    ask: { tokensMax: 20_000 },
    writes: true,
    reason: "budget_exhausted",
  },
  {
    breaks: "content of the answer",
    ask: { prompt: "script secret" },
    writes: true,
    reason: "content_cut",
    unseen: SECRET,
    reaches: true,
  },
  {
    breaks: "content of the answer, in its last piece",
    ask: { prompt: "script secret-at-end" },
    writes: true,
    reason: "content_cut",
    unseen: SECRET,
    reaches: true,
  },
  {
    breaks: "content of a tool's arguments",
    ask: { prompt: "script leak", tool: "web_search" },
    writes: true,
    reason: "content_cut",
    unseen: SECRET.slice(0, 2),
    reaches: true,
  },
  {
    breaks: "tools called",
    ask: { prompt: "script drop", tool: "web_search" },
    writes: true,
    reason: "tool_call_not_granted",
    unseen: ["drop_table", "customers"],
    reaches: true,
  },
  {
    breaks: "tools called, by what calling them does",
    ask: { prompt: "script wipe", tool: "web_search" },
    writes: true,
    reason: "tool_call_not_granted",
    unseen: ["wipe_disk", "customers"],
    reaches: true,
  },
  {
    breaks: "nothing in a call's arguments",
    ask: { prompt: "script read", tool: "read_file" },
    writes: true,
    reason: undefined,
    reaches: true,
  },
  {
    breaks: "a call's arguments",
    ask: { prompt: "script climb", tool: "read_file" },
    writes: true,
    reason: "tool_argument_refused",
    unseen: ["etc"],
    reaches: true,
  },
  {
    breaks: "nothing, compressed",
    ask: { prompt: "script packed" },
    writes: true,
    reason: undefined,
    reaches: true,
  },
  {
    breaks: "content of a compressed answer",
    ask: { prompt: "script packed-secret" },
    writes: true,
    reason: "content_cut",
    unseen: SECRET.slice(0, 2),
    reaches: true,
  },
  {
    breaks: "off at the provider",
    ask: { prompt: "script broken" },
    writes: true,
    streamed: true,
    reason: "upstream_failed",
    reaches: true,
  },
];

function atLevel(rule: Rule, level: Level): Rule {
  const { agent = "plain", ask } = rule;
  const said = saidAt(level, ask?.tool !== undefined);
  const { reaches: _, unsent: __, ...unsent } = rule;
  return { ...(said ? { ...unsent, reason: said } : rule), agent: `${agent}-${level}` };
}

describe.each(DIALECT_CLIENTS)("$name", (client) => {
  const rules = RULES.filter(
    ({ writes, offers }) => (client.writes || !writes) && (client.offers || !offers),
  );
  const climbing = rules.filter(({ agent = "plain", key }) => key === undefined && canClimb(agent));

  test.each(rules)("that breaks $breaks is told $reason, streamed or not", async (rule) => {
    await expectTold(client, rule);
  });

  test.each(climbing)(
    "that breaks $breaks is told so at each level of the ladder, or what the level says",
    async (rule) => {
      for (const level of LEVELS) await expectTold(client, atLevel(rule, level));
    },
  );
});

/** Asks in each way that the client has, and judges what it and the provider came to see. */
async function expectTold(client: DialectClient, rule: Rule): Promise<void> {
  for (const stream of client.streams ? [false, true] : [false]) {
    if (!stream && rule.streamed) continue;
    const { told, reached, sent } = await asked(client, rule, stream);
    const who = `${rule.agent ?? "plain"}, ${stream ? "streamed" : "whole"}`;
    expect([who, told.reason]).toEqual([who, rule.reason]);
    for (const part of rule.unsent ?? []) expect(sent).not.toContain(part);
    for (const part of rule.unseen ?? []) expect(told.said).not.toContain(part);
    // What was refused before it was sent has not reached the provider in part either.
    expect([who, reached]).toEqual([who, rule.reaches ? 1 : 0]);
    if (rule.reason === undefined) expect(told.said).not.toBe("");
  }
}

async function asked(
  client: DialectClient,
  rule: Rule,
  stream: boolean,
): Promise<{ readonly told: Told; readonly reached: number; readonly sent: string }> {
  const { key, agent = "plain", ask = {} } = rule;
  const at = key === undefined ? altrace : { gateway: altrace.gateway, key: () => key };
  const before = provider.received.length;
  const told = await client.ask(at, `edges/${agent}`, { prompt: "hello", stream, ...ask });
  const sent = provider.received.slice(before).map(({ body }) => body);
  return { told, reached: sent.length, sent: sent.join("") };
}
