import { isName } from "../proto/ids.ts";
import * as defaults from "./defaults.ts";
import type { DocumentNode } from "./document-node.ts";
import { descend, type Field, readEntries, readMap } from "./field-reader.ts";
import { covers, isNarrower } from "./pattern.ts";
import type {
  Budget,
  GrantDocument,
  ModelDocument,
  Rate,
  TeamDocument,
} from "./policy-document.ts";
import { readBudget, readRate } from "./read-budget.ts";
import { readGrant } from "./read-grant.ts";
import { didYouMean } from "./suggestion.ts";
import { isFaster, rateOf } from "./team-rates.ts";

export const TEAM_FIELDS = ["budget", "rate", "defaults", "agents"] as const;

type TeamReading = {
  readonly levels: readonly string[];
  readonly models: ReadonlyMap<string, ModelDocument>;
};

/** Where each part of a grant was written, for findings that only the whole grant shows. */
type Written = { readonly field: Field; readonly grant: GrantDocument };

/** Reads all teams; a step ends after each agent, for threads that may not be away for long. */
export function* readTeams(
  field: Field,
  reading: TeamReading,
): Generator<void, ReadonlyMap<string, TeamDocument>, void> {
  const teams = new Map<string, TeamDocument>();
  let agents = 0;
  for (const [name, entry] of readEntries(field) ?? []) {
    reportName(entry, name);
    const team = yield* readTeam(entry, reading);
    if (team !== undefined) teams.set(name, team);
    agents += team?.agents.size ?? 0;
  }
  if (teams.size > defaults.TEAMS_MAX) {
    field.findings.error(field, "too_large", `more than ${defaults.TEAMS_MAX} teams`);
  }
  if (agents > defaults.AGENTS_MAX) {
    field.findings.error(field, "too_large", `more than ${defaults.AGENTS_MAX} agents`);
  }
  return teams;
}

function* readTeam(
  field: Field,
  reading: TeamReading,
): Generator<void, TeamDocument | undefined, void> {
  const map = readMap(field, TEAM_FIELDS);
  if (map === undefined) return undefined;
  const budget = map.get("budget");
  const rate = map.get("rate");
  const common = map.get("defaults");
  const team = {
    budget: (budget && readBudget(budget)) ?? [],
    rate: (rate && readRate(rate)) ?? [],
    defaults: common === undefined ? { budget: [], rate: [] } : readGrant(common, reading.levels),
  };
  if (common !== undefined) {
    const written = { field: common, grant: team.defaults };
    reportModels(written, { ...reading, granted: team.defaults.models });
    reportBudget(written, team.budget);
    reportRate(written, team.rate);
    reportClamp(written, team.defaults);
  }
  yield;

  const agents = new Map<string, GrantDocument>();
  // Most agents of a large team are granted the same: what was read and found sound is that for all of them.
  const known = new Map<DocumentNode, GrantDocument>();
  const list = map.get("agents");
  for (const [name, entry] of (list && readEntries(list)) ?? []) {
    reportName(entry, name);
    const grant = known.get(entry.node) ?? readAgent(entry, reading, team);
    known.set(entry.node, grant);
    agents.set(name, grant);
    yield;
  }
  return { ...team, agents };
}

type Around = Omit<TeamDocument, "agents">;

function readAgent(field: Field, reading: TeamReading, team: Around): GrantDocument {
  const grant = readGrant(field, reading.levels);
  const written = { field, grant };
  reportModels(written, { ...reading, granted: grant.models ?? team.defaults.models ?? [] });
  reportBudget(written, team.budget);
  reportRate(written, team.rate);
  reportUnbounded(written, team);
  reportClamp(written, team.defaults);
  return grant;
}

/** Grants that no configured model answers to, and patterns that another one already covers. */
function reportModels(
  { field, grant }: Written,
  reading: TeamReading & { readonly granted: readonly string[] | undefined },
): void {
  const ids = [...reading.models.keys()];
  for (const [i, pattern] of (grant.models ?? []).entries()) {
    const at = descend(field, "models", i);
    if (!ids.some((id) => covers([pattern], id))) {
      const message = `no configured model is "${pattern}"${didYouMean(pattern, ids)}`;
      at.findings.error(at, "dead_rule", message);
    }
    if (grant.models?.some((other) => other !== pattern && isNarrower(pattern, other))) {
      at.findings.warning(at, "dead_rule", `another pattern already covers "${pattern}"`);
    }
  }
  const { granted } = reading;
  if (granted === undefined) return;
  for (const [i, pattern] of (grant.quarantineModels ?? []).entries()) {
    if (ids.some((id) => covers([pattern], id) && covers(granted, id))) continue;
    const at = descend(field, "quarantine", "models", i);
    at.findings.error(at, "dead_rule", `no model that is granted is "${pattern}"`);
  }
}

/** Limits that the team's own would always stop short of. */
function reportBudget({ field, grant }: Written, team: Budget): void {
  for (const limit of grant.budget) {
    const above = team.find(({ unit, window }) => unit === limit.unit && window === limit.window);
    if (above === undefined || above.limit >= limit.limit) continue;
    const unit = limit.unit === "usd_micros" ? "usd" : limit.unit;
    const at = descend(field, "budget", unit, limit.window);
    at.findings.error(at, "dead_rule", "is above its team's limit and can never be reached");
  }
}

/** Rates that the team's own never lets an agent come to. All of them may add up to more than it. */
function reportRate({ field, grant }: Written, team: Rate): void {
  for (const limit of grant.rate) {
    const above = rateOf(team, limit.metric);
    if (above === undefined) continue;
    if (!isFaster(limit, above) && limit.burst <= above.burst) continue;
    const at = descend(field, "rate", limit.metric === "usd_micros" ? "usd" : limit.metric);
    at.findings.error(at, "dead_rule", "is above its team's rate and can never be reached");
  }
}

/** Spending money without a bound is never what is meant. */
function reportUnbounded({ field, grant }: Written, team: Around): void {
  const limits = [...grant.budget, ...team.defaults.budget, ...team.budget];
  if (limits.some(({ unit }) => unit === "usd_micros")) return;
  const message = "neither the agent nor its team has a budget in usd";
  field.findings.error(field, "unbounded_budget", message);
}

function reportClamp({ field, grant }: Written, common: GrantDocument): void {
  const clamps = (grant.onUnaffordable ?? common.onUnaffordable) === "clamp";
  if (clamps && (grant.clampFloorTokens ?? common.clampFloorTokens) === undefined) {
    const at = descend(field, "on_unaffordable");
    const message = '"clamp" needs clamp_floor_tokens, the least that an answer is worth';
    at.findings.error(at, "missing_field", message);
  }
  if (!clamps && grant.clampFloorTokens !== undefined) {
    const at = descend(field, "clamp_floor_tokens");
    at.findings.error(at, "dead_rule", 'has no effect unless on_unaffordable is "clamp"');
  }
}

function reportName(field: Field, name: string): void {
  if (isName(name)) return;
  const message = "is not a name: up to 63 of [a-z0-9-], with a letter or digit at both ends";
  field.findings.error(field, "malformed", message);
}
