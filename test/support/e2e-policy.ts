/**
 * The policy of the end-to-end tests: a provider of every dialect at one origin, agents that may do
 * what they need, and one agent for each thing that may be refused.
 *
 * Refusals add no points: a file of tests refuses more in a second than an agent does in a week.
 */
export function e2ePolicy(providerOrigin: string): string {
  return `format: 1
providers:
  openai:
    dialect: openai
    base_url: ${providerOrigin}
    credential: openai
    region: US
    clearance: confidential
  anthropic:
    dialect: anthropic
    base_url: ${providerOrigin}
    credential: anthropic
    region: US
    clearance: confidential
  google:
    dialect: gemini
    base_url: ${providerOrigin}
    credential: google
    region: US
    clearance: confidential
  elsewhere:
    dialect: openai
    base_url: ${providerOrigin.replace("127.0.0.1", "localhost")}
    credential: openai
    region: US
    clearance: confidential
    price_list: openai
models:
  elsewhere/gpt-elsewhere: { upstream_name: gpt-5-mini }
  openai/gpt-5-mini: {}
  openai/gpt-4o-mini: {}
  openai/text-embedding-3-small: {}
  google/gemini-2.5-flash: {}
  anthropic/claude-haiku-4-5: {}
classification:
  levels: [public, internal, confidential, restricted]
  labels: { pii: confidential, secret: restricted }
  default_class: internal
content:
  - { id: project-name, pattern: 'project-nightjar-[0-9]{4}', action: refuse, severity: low }
  - { id: launch-code, pattern: 'launch-code-[0-9]{6}', action: refuse, severity: high }
  - { id: mail, detector: email-address, direction: request, action: label, severity: low, label: pii }
teams:
  research:
    budget: { usd: { day: "1000.00" } }
    defaults:
      budget: { usd: { day: "100.00" } }
      rate: { requests: 100000/minute burst 10000 }
      models: ${MODELS}
      tools: { web_search: [call], fetch_page: [call, read] }
      clearance: confidential
      max_output_tokens_default: 1024
    agents:
      worker-1: {}
      worker-2: {}
      worker-3: {}
  support:
    budget: { usd: { day: "1000.00" } }
    defaults:
      budget: { usd: { day: "100.00" } }
      models: ${MODELS}
      clearance: confidential
      max_output_tokens_default: 1024
    agents:
      triage: {}
  edges:
    budget: { usd: { day: "1000.00" } }
    defaults:
      budget: { usd: { day: "100.00" } }
      models: ${MODELS}
      clearance: confidential
      max_output_tokens_default: 1024
    agents:
      poor: { budget: { usd: { day: "0.01" } } }
      hasty: { rate: { requests: 60/hour burst 1 } }
      nightly: { hours: { timezone: UTC, windows: [${hoursWithoutNow()}] } }
      european: { regions: { processing: [DE] } }
      placeless: { regions: { source: [DE] } }
      uncleared: { clearance: internal }
      rascal: {}
      sluggish: {}
ladder:
  points:
    refusal: 0
    content_low: 0
    content_medium: 0
    tool_outside_grant: 0
limits:
  body_bytes_max: 16777216
  # On a machine that is busy with other tests the ledger may be slow to answer.
  reserve_wait_max_ms: 10000
overrun_limit_usd: "100.00"
`;
}

/** One model of each dialect. */
const MODELS =
  "[openai/gpt-5-mini, openai/text-embedding-3-small, anthropic/claude-haiku-4-5, google/gemini-2.5-flash]";

/** One hour of the week that begins three days from now. */
function hoursWithoutNow(): string {
  const days = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
  const day = days[(new Date().getUTCDay() + 3) % days.length];
  return `${day} 12:00-13:00`;
}

/** Provider keys, planted so that they can be looked for wherever they must not be. */
export const PROVIDER_KEYS = {
  OPENAI_API_KEY: "sk-canary-openai-0123456789abcdefghij",
  ANTHROPIC_API_KEY: "sk-ant-canary-0123456789abcdefghijklm",
  GEMINI_API_KEY: "AIza-canary-0123456789abcdefghijklmnopqr",
} as const;
