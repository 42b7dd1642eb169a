import { contentScanner } from "../../node/content-scanner.ts";
import { readPolicy } from "../../policy/read-policy.ts";
import type { Draw } from "./draw.ts";
import { INPUT_MICROS_PER_MTOK, OUTPUT_MICROS_PER_MTOK } from "./sim-provider.ts";

export const ORIGIN = "https://provider.sim";
export const MODEL = "gpt-sim";
/** Where all nodes and the provider are; contracts name it. */
export const REGION = "DE";
/** Levels of the policy's classes of data, as contracts name them. */
export const CLASS_SCHEME = "public.restricted";
export const OUTPUT_TOKENS_MAX = 4_096;
export const DISTRUST = 1.1;
export const OVERRUN_LIMIT_MICROS = 2_000_000;
const MICROS = 1_000_000;
/** Its agents ask for little, on one node after another, faster than their rate. */
export const QUICK_TEAM = "quick";
const QUICK_WORLDS = 0.4;
/** Its agents work under contracts alone, and ask as fast: the rates of those are all that they can hit. */
export const PACED_TEAM = "paced";
const PACED_WORLDS = 0.4;

/** What an agent may spend, and in which window. */
export type AgentBudget = {
  readonly usdMicros: number;
  readonly window: "total" | "hour";
  readonly calls: number | undefined;
  readonly clamps: boolean;
  readonly rate: RequestRate | undefined;
};

export type RequestRate = { readonly requestsPerMinute: number; readonly burst: number };

export type TeamBudget = {
  readonly usdMicros: number;
  readonly window: "total" | "hour";
  /** What its agents share, whatever their own rates add up to. */
  readonly rate: RequestRate | undefined;
  readonly agents: ReadonlyMap<string, AgentBudget>;
};

/** By team. */
export type Budgets = ReadonlyMap<string, TeamBudget>;

/** Budgets that a few seconds of an adversary empty, and siblings that fight over their team's. */
export function drawBudgets(draw: Draw, size: { readonly agentsMax: number }): Budgets {
  const teams = new Map<string, TeamBudget>();
  for (const team of ["red", "blue"]) {
    const usdMicros = Math.round(draw.between(0.4, 3) * MICROS);
    const agents = new Map<string, AgentBudget>();
    const most = Math.max(2, Math.floor(size.agentsMax / 2));
    const count = draw.chance(0.2) ? 1 : 2 + draw.below(most - 1);
    for (let no = 1; no <= count; no++) {
      agents.set(`a${no}`, {
        // Together they may spend more than their team.
        usdMicros: Math.round(usdMicros * draw.between(0.4, 1)),
        window: draw.chance(0.3) ? "hour" : "total",
        calls: draw.chance(0.3) ? 5 + draw.below(60) : undefined,
        clamps: draw.chance(0.4),
        rate: draw.chance(0.2) ? { requestsPerMinute: 30 + draw.below(30), burst: 10 } : undefined,
      });
    }
    const rate = draw.chance(0.2)
      ? { requestsPerMinute: 60 + draw.below(600), burst: 20 }
      : undefined;
    teams.set(team, { usdMicros, window: draw.chance(0.3) ? "hour" : "total", rate, agents });
  }
  if (draw.chance(QUICK_WORLDS)) teams.set(QUICK_TEAM, quickTeam(draw));
  if (draw.chance(PACED_WORLDS)) teams.set(PACED_TEAM, pacedTeam());
  return teams;
}

function pacedTeam(): TeamBudget {
  const budget = { usdMicros: 50 * MICROS, window: "total" as const, rate: undefined };
  const agent = { ...budget, calls: undefined, clamps: false };
  const agents = ["a1", "a2"].map((name) => [name, agent] as const);
  return { ...budget, agents: new Map(agents) };
}

/** Money is no matter there, so that its one agent's rate, or what several share, is all that they can hit. */
function quickTeam(draw: Draw): TeamBudget {
  const rate = { requestsPerMinute: 60 + draw.below(180), burst: 8 + draw.below(8) };
  const budget = { usdMicros: 50 * MICROS, window: "total" as const };
  const agent = { ...budget, calls: undefined, clamps: false };
  if (draw.chance(0.4))
    return { ...budget, rate: undefined, agents: new Map([["a1", { ...agent, rate }]]) };
  const agents = new Map<string, AgentBudget>();
  for (let no = 1; no <= 2 + draw.below(2); no++) {
    const own = { requestsPerMinute: 30 + draw.below(30), burst: 4 + draw.below(4) };
    agents.set(`a${no}`, { ...agent, rate: draw.chance(0.3) ? own : undefined });
  }
  return { ...budget, rate, agents };
}

/** The bundle that carries these budgets. */
export function bundleOf(budgets: Budgets): Uint8Array<ArrayBuffer> {
  const read = readPolicy(textOf(budgets), { file: "simulated policy", scanner: contentScanner });
  if (!read.ok) throw new Error(JSON.stringify(read.findings));
  return read.bundle;
}

function textOf(budgets: Budgets): string {
  const teams = [...budgets].map(([team, { usdMicros, window, rate, agents }]) => {
    const lines = [...agents].map(([agent, budget]) => `      ${agent}: ${agentText(budget)}`);
    return [
      `  ${team}:`,
      `    budget: { usd: { ${window}: "${usd(usdMicros)}" } }`,
      ...(rate === undefined ? [] : [`    ${rateText(rate)}`]),
      "    defaults:",
      `      models: [openai/${MODEL}]`,
      "      clearance: restricted",
      "    agents:",
      ...lines,
    ].join("\n");
  });
  return `format: 1
providers:
  openai: { dialect: openai, base_url: "${ORIGIN}", credential: openai, clearance: restricted, region: ${REGION} }
models:
  openai/${MODEL}:
    max_output_tokens: ${OUTPUT_TOKENS_MAX}
    distrust: "${DISTRUST}"
    price:
      input_usd_per_mtok: "${usd(INPUT_MICROS_PER_MTOK)}"
      output_usd_per_mtok: "${usd(OUTPUT_MICROS_PER_MTOK)}"
classification: { levels: [public, restricted], labels: {}, default_class: public }
teams:
${teams.join("\n")}
ladder:
  points: { refusal: 0, content_low: 0, content_medium: 0, tool_outside_grant: 0 }
limits:
  first_byte_timeout_ms: 4000
  idle_timeout_ms: 4000
  total_timeout_ms: 12000
  reserve_wait_max_ms: 1500
overrun_limit_usd: "${usd(OVERRUN_LIMIT_MICROS)}"
`;
}

function agentText({ usdMicros, window, calls, clamps, rate }: AgentBudget): string {
  const limits = [`usd: { ${window}: "${usd(usdMicros)}" }`];
  if (calls !== undefined) limits.push(`calls: { total: ${calls} }`);
  const members = [`budget: { ${limits.join(", ")} }`];
  if (clamps) members.push("on_unaffordable: clamp", "clamp_floor_tokens: 64");
  if (rate !== undefined) members.push(rateText(rate));
  return `{ ${members.join(", ")} }`;
}

function rateText({ requestsPerMinute, burst }: RequestRate): string {
  return `rate: { requests: ${requestsPerMinute}/minute burst ${burst} }`;
}

function usd(micros: number): string {
  return (micros / MICROS).toFixed(6);
}
