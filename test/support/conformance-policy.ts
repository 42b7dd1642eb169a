/** One model of each dialect's provider. */
const MODELS =
  "[openai/gpt-5-mini, openai/text-embedding-3-small, anthropic/claude-haiku-4-5, google/gemini-2.5-flash]";

/** Every level of the ladder above the normal one, as the names of its agents end. */
export const LEVELS = ["warned", "throttled", "quarantined", "blocked", "killed"] as const;
export type Level = (typeof LEVELS)[number];

const SAID_BY_LEVEL: Readonly<Partial<Record<Level, { any?: string; withTool?: string }>>> = {
  quarantined: { withTool: "quarantined" },
  blocked: { any: "blocked" },
  killed: { any: "killed_agent" },
};

/** What a level says before any rule is asked; undefined: nothing. */
export function saidAt(level: Level, usesTools: boolean): string | undefined {
  const { any, withTool } = SAID_BY_LEVEL[level] ?? {};
  return any ?? (usesTools ? withTool : undefined);
}

/** What policy says of the agents that can be brought to any level, by name. */
const CLIMBERS = {
  plain: "{}",
  filtered: "{ on_tool_not_granted: filter }",
  uncleared: "{ clearance: internal }",
  hasty: "{ rate: { requests: 1/hour burst 1 } }",
  poor: '{ budget: { usd: { day: "0.01" } } }',
};
export const CLIMBER_NAMES = Object.keys(CLIMBERS) as readonly (keyof typeof CLIMBERS)[];

/** Whether policy has one like this agent at each level. */
export function canClimb(agent: string): boolean {
  return Object.hasOwn(CLIMBERS, agent);
}

/** An agent and those like it, one at each level. */
export function atEachLevel(name: keyof typeof CLIMBERS): readonly string[] {
  return [name, ...LEVELS.map((level) => `${name}-${level}`)];
}

/**
 * A policy with an agent for each thing that a stage refuses, and of those that can be brought there one
 * more for each level of the ladder: `hasty`, `hasty-warned`, `hasty-throttled` and so on.
 *
 * Nothing decays while a test runs. One match of medium severity warns and four throttle; one of high
 * severity quarantines and three block. All else that is refused leaves an agent where it is.
 */
export function conformancePolicy(origin: string): string {
  const provider = (dialect: string, credential: string) =>
    `{ dialect: ${dialect}, base_url: "${origin}", credential: ${credential}, region: US, clearance: confidential }`;
  return `format: 1
providers:
  openai: ${provider("openai", "openai")}
  anthropic: ${provider("anthropic", "anthropic")}
  google: ${provider("gemini", "google")}
models:
  openai/gpt-5-mini: {}
  openai/gpt-4o-mini: {}
  openai/text-embedding-3-small: {}
  anthropic/claude-haiku-4-5: {}
  google/gemini-2.5-flash: {}
${CONTENT}tools:
  verbs: { wipe_disk: admin }
  arguments: { read_file: { path: { within: [/srv], required: true } } }
teams:
  edges:
    budget: { usd: { day: "1000.00" } }
    defaults:
      budget: { usd: { day: "100.00" } }
      rate: { requests: 100000/minute burst 10000 }
      models: ${MODELS}
      tools: { web_search: [call], wipe_disk: [call, write], read_file: [call] }
      clearance: confidential
      quarantine: { models: ${MODELS} }
      max_output_tokens_default: 1024
    agents:
${AGENTS}
      modelless: { models: [openai/gpt-4o-mini] }
${LADDER}`;
}

/**
 * The same of tools at an MCP server: `streams`, which answers with streams, and `documents`. Each call has its price.
 */
export function mcpConformancePolicy(origin: string): string {
  const server = (path: string) =>
    `{ dialect: mcp, base_url: "${origin}${path}", credential: openai, region: US, clearance: confidential }`;
  const price =
    '{ max_output_tokens: 0, price: { input_usd_per_mtok: "0", output_usd_per_mtok: "0", fixed_usd_per_call: "0.02" } }';
  return `format: 1
providers:
  streams: ${server("/mcp/stream")}
  documents: ${server("/mcp/json")}
  unused: ${server("")}
models:
  streams/mcp: ${price}
  documents/mcp: ${price}
  unused/mcp: ${price}
${CONTENT}  - { id: brought, pattern: 'launch-code-[0-9]{6}', action: refuse, severity: low, direction: response }
tools:
  verbs: { mcp/streams/read_file: admin, mcp/documents/read_file: admin }
  arguments:
    mcp/streams/search: { query: { chars_max: 100 } }
    mcp/documents/search: { query: { chars_max: 100 } }
teams:
  edges:
    budget: { usd: { day: "1000.00" } }
    defaults:
      budget: { usd: { day: "100.00" } }
      rate: { requests: 100000/minute burst 10000 }
      models: [streams/mcp, documents/mcp]
      tools:
        mcp/streams/search: [call]
        mcp/streams/read_file: [call]
        mcp/documents/search: [call]
        mcp/documents/read_file: [call]
      clearance: confidential
      quarantine: { models: [streams/mcp, documents/mcp] }
    agents:
${AGENTS}
      modelless: { models: [unused/mcp] }
${LADDER}`;
}

function climbers(): string {
  const rows = CLIMBER_NAMES.flatMap((name) =>
    atEachLevel(name).map((agent) => `      ${agent}: ${CLIMBERS[name]}`),
  );
  return rows.join("\n");
}

/** One hour of the week that begins three days from now. */
function hoursWithoutNow(): string {
  const days = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
  const day = days[(new Date().getUTCDay() + 3) % days.length];
  return `${day} 12:00-13:00`;
}

const CONTENT = `classification:
  levels: [public, internal, confidential, restricted]
  labels: { pii: confidential, secret: restricted }
  default_class: internal
content:
  - { id: free, pattern: 'project-nightjar-[0-9]{4}', action: refuse, severity: low }
  - { id: warns, pattern: 'offence-medium-[0-9]{4}', action: refuse, severity: medium }
  - { id: quarantines, pattern: 'offence-high-[0-9]{4}', action: refuse, severity: high }
  - { id: mail, detector: email-address, direction: request, action: label, severity: low, label: pii }
`;

const AGENTS = `${climbers()}
      nightly: { hours: { timezone: UTC, windows: [${hoursWithoutNow()}] } }
      european: { regions: { processing: [DE] } }
      placeless: { regions: { source: [DE] } }`;

/** On a machine that is busy with other tests the ledger may be slow to answer. */
const LADDER = `ladder:
  points: { refusal: 0, content_low: 0, content_medium: 3000, content_high: 100000, tool_outside_grant: 0, quarantine_breach: 0 }
  window: 1h
limits:
  reserve_wait_max_ms: 10000
overrun_limit_usd: "100.00"
`;
